//! How long ago, as kubectl says it.

use coracle_api::table::human_duration;
use jiff::{SignedDuration, Timestamp};

/// A duration in two units at most, the coarser the longer it is: as the server's tables say it.
pub fn human(seconds: i64) -> String {
    human_duration(SignedDuration::from_secs(seconds))
}

/// The age of an RFC 3339 time; `<unknown>` when it is none.
pub fn since(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human(Timestamp::now().duration_since(time).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let table = [
            (-2, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
        ];
        for (seconds, text) in table {
            assert_eq!(human(seconds), text, "{seconds} s");
        }
    }
}
