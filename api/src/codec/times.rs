//! Conditions that do not say since when they hold, and series of events that do not say when they were last seen. Go
//! reads none as the zero of times, for validation to refuse; the types here have no such zero, so that it is written down
//! before they are read.

use serde_json::Value;

/// What stands for no time.
const ZERO: &str = "1970-01-01T00:00:00Z";
const OF_CONDITIONS: &str = "lastTransitionTime";
const OF_SERIES: &str = "lastObservedTime";

/// The text with a time for all that has none; `None` if each has one.
pub(crate) fn with_zero_times(json: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    fill(&mut value).then(|| value.to_string().into_bytes())
}

/// Fills in what is missing, as deep as the text is read, and tells whether something was.
fn fill(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            let mut filled = false;
            for (name, value) in map {
                filled |= match value {
                    Value::Array(list) if name == "conditions" => {
                        list.iter_mut().fold(false, |filled, condition| filled | date(condition, OF_CONDITIONS))
                    }
                    series @ Value::Object(_) if name == "series" => date(series, OF_SERIES),
                    value => fill(value),
                };
            }
            filled
        }
        Value::Array(list) => list.iter_mut().fold(false, |filled, value| filled | fill(value)),
        _ => false,
    }
}

fn date(value: &mut Value, name: &str) -> bool {
    let Value::Object(dated) = value else { return false };
    if dated.get(name).is_some_and(|time| !time.is_null()) {
        return false;
    }
    dated.insert(name.to_owned(), ZERO.into());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_get_a_time() {
        let filled =
            |json: &str| with_zero_times(json.as_bytes()).map(|json| String::from_utf8(json).expect("JSON is text"));
        let one = r#"{"status":{"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","type":"A"}]}}"#;
        assert_eq!(filled(r#"{"status":{"conditions":[{"type":"A"}]}}"#).as_deref(), Some(one));
        assert_eq!(
            filled(r#"{"status":{"conditions":[{"lastTransitionTime":null,"type":"A"}]}}"#).as_deref(),
            Some(one)
        );
        let series = r#"{"series":{"count":2,"lastObservedTime":"1970-01-01T00:00:00Z"}}"#;
        assert_eq!(filled(r#"{"series":{"count":2,"lastObservedTime":null}}"#).as_deref(), Some(series));
        assert_eq!(filled(one), None);
        assert_eq!(filled("[1"), None);
    }
}
