//! The parts of a URL that are somebody's text.

use std::fmt::Write;

/// Percent-encodes what is not plain.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

/// A path with those parameters that have a value.
pub fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut whole = path.to_owned();
    for (name, value) in parameters.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        let separator = if whole.contains('?') { '&' } else { '?' };
        write!(whole, "{separator}{name}={}", encode(value)).expect("a string takes everything");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_a_value_are_left_out() {
        let parameters = [("watch", None), ("labelSelector", Some("app in (a,b)")), ("limit", Some("5"))];
        assert_eq!(query("/api/v1/pods", &parameters), "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&limit=5");
    }
}
