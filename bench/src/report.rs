//! What leaves the program: one JSON line a result.

use std::io::Write;

use serde_json::Value;

/// Writes a result. `null` members are left out: they were not measured.
///
/// # Errors
/// When stdout is closed.
pub fn print(mut result: Value) -> anyhow::Result<()> {
    if let Value::Object(members) = &mut result {
        members.retain(|_, value| !value.is_null());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{result}")?;
    Ok(out.flush()?)
}

/// A rate, to one decimal.
pub fn per_second(count: usize, seconds: f64) -> f64 {
    (count as f64 / seconds * 10.0).round() / 10.0
}

/// Seconds, to the millisecond.
pub fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
