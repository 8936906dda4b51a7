//! Times and durations.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::super::duration;
use super::super::eval::{Error, Evaluator, Result};
use super::super::value::Value;
use super::{Answer, traversal};

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Duration, Int, String, Timestamp as Time};
    Some(match (name, args) {
        ("duration", [Duration(nanos)]) => Ok(Duration(*nanos)),
        ("duration", [String(text)]) => e.charge(traversal(text.len())).and_then(|()| {
            let invalid = || Error::new(format!("type conversion error from '{}' to duration", &**text));
            duration::parse(text).map(Duration).ok_or_else(invalid)
        }),
        ("timestamp", [Time(time)]) => Ok(Time(*time)),
        ("timestamp", [Int(seconds)]) => {
            Timestamp::from_second(*seconds).map(Time).map_err(|_| Error::new("timestamp overflow"))
        }
        ("timestamp", [String(text)]) => e.charge(traversal(text.len())).and_then(|()| {
            let invalid = |_| Error::new(format!("type conversion error from '{}' to timestamp", &**text));
            text.parse().map(Time).map_err(invalid)
        }),
        (_, [Time(time)]) => return part(*time, &TimeZone::UTC, name),
        (_, [Time(time), String(zone)]) if name.starts_with("get") => match zone_named(zone) {
            Ok(zone) => return part(*time, &zone, name),
            Err(error) => Err(error),
        },
        (_, [Duration(nanos)]) => return duration_part(*nanos, name),
        _ => return None,
    })
}

/// Whether a text that is written out stands for a duration or a time.
pub(in super::super) fn is_literal(function: &str, text: &str) -> bool {
    if function == "duration" { duration::parse(text).is_some() } else { text.parse::<Timestamp>().is_ok() }
}

/// A part of a time as clocks show it in a zone.
fn part<'a>(time: Timestamp, zone: &TimeZone, name: &str) -> Answer<'a> {
    let time = time.to_zoned(zone.clone());
    Some(Ok(Value::Int(match name {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getDayOfWeek" => i64::from(time.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return None,
    })))
}

/// UTC, or an offset from it such as `+02:00`. What others are would have to be read from the machine.
fn zone_named(name: &str) -> Result<TimeZone> {
    let unknown = || Error::new(format!("unknown time zone {name}"));
    if matches!(name, "" | "UTC" | "Z") {
        return Ok(TimeZone::UTC);
    }
    let (sign, rest) = match name.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some(("+", rest)) => (1, rest),
        _ => (1, name),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(unknown)?;
    let number = |text: &str| text.parse::<u16>().map(i32::from).map_err(|_| unknown());
    let seconds = sign * (number(hours)? * 3600 + number(minutes)? * 60);
    Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|_| unknown())
}

fn duration_part<'a>(nanos: i64, name: &str) -> Answer<'a> {
    Some(Ok(Value::Int(match name {
        "getHours" => nanos / 3_600_000_000_000,
        "getMinutes" => nanos / 60_000_000_000,
        "getSeconds" => nanos / 1_000_000_000,
        "getMilliseconds" => nanos / 1_000_000 % 1000,
        _ => return None,
    })))
}
