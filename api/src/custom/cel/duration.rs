//! Durations as Go writes them: `1h30m`, `1.5s`, `-300ms`.

/// Nanoseconds of each unit, longest name first where one begins another.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// The most digits that a number is read with: more would not fit.
const DIGITS_MAX: usize = 30;

/// The nanoseconds of a duration. Source: Go's `time.ParseDuration`.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if (whole.is_empty() && fraction.is_empty()) || whole.len() > DIGITS_MAX {
            return None;
        }
        let unit = after.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or_default();
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(number(whole)?.checked_mul(*scale)?)?;
        let fraction = &fraction[..fraction.len().min(18)];
        nanos += number(fraction)? * scale / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        rest = &after[unit.len()..];
    }
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<i128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// As [`parse`], and also a number and a unit in words: `22 ns`, `3 days`. Source: `strfmt.ParseDuration`.
#[must_use]
pub fn parse_lenient(text: &str) -> Option<i64> {
    parse(text).or_else(|| {
        let (amount, unit) = digits(text.trim());
        let scale: i128 = match unit.trim() {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            "w" | "wk" | "week" | "weeks" => 604_800_000_000_000,
            _ => return None,
        };
        i64::try_from(amount.parse::<i128>().ok()?.checked_mul(scale)?).ok()
    })
}

#[allow(dead_code, reason = "rules print it")]
/// A duration as Go prints it: `1h30m0s`, `1.5s`, `0s`.
#[must_use]
pub fn print(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let decimal = |n: u64, scale: u64| {
        let (whole, rest) = (n / scale, n % scale);
        let width = scale.ilog10() as usize;
        let fraction = if rest == 0 { String::new() } else { format!(".{rest:0width$}") };
        format!("{whole}{}", fraction.trim_end_matches('0'))
    };
    let text = match n {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 1_000_000)),
        _ => {
            let seconds = decimal(n % 60_000_000_000, 1_000_000_000);
            let (hours, minutes) = (n / 3_600_000_000_000, n / 60_000_000_000 % 60);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        for (text, nanos, printed) in [
            ("0", Some(0), "0s"),
            ("1h30m", Some(5_400_000_000_000), "1h30m0s"),
            ("1.5s", Some(1_500_000_000), "1.5s"),
            ("-300ms", Some(-300_000_000), "-300ms"),
            (".5us", Some(500), "500ns"),
            ("1m0.25s", Some(60_250_000_000), "1m0.25s"),
            ("", None, ""),
            ("5", None, ""),
            ("1x", None, ""),
            ("9999999999h", None, ""),
        ] {
            assert_eq!(parse(text), nanos, "{text}");
            if let Some(nanos) = nanos {
                assert_eq!(print(nanos), printed);
            }
        }
        assert_eq!(parse_lenient("3 days"), Some(259_200_000_000_000));
        assert_eq!(parse_lenient("22 ns"), Some(22));
    }
}
