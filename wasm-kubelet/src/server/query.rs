//! The query of a request: `a=b&c=d`, percent-encoded.

/// The value of `name`, decoded; empty counts as not given.
pub fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decode(value)).filter(|value| !value.is_empty())
}

/// Every value of `name`, decoded.
pub fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

/// Whether `name` is given as `true` or `1`.
pub fn flag(query: &str, name: &str) -> bool {
    matches!(value(query, name).as_deref(), Some("true" | "1"))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let hex = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        rest = match (hex, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                &after[2..]
            }
            (None, b'+') => {
                bytes.push(b' ');
                after
            }
            (None, byte) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = "follow=true&sinceTime=2026-01-02T03%3A04%3A05Z&tailLines=&x=a+b%2";
        assert!(flag(query, "follow") && !flag(query, "previous"));
        let table =
            [("sinceTime", Some("2026-01-02T03:04:05Z")), ("tailLines", None), ("x", Some("a b%2")), ("y", None)];
        for (name, want) in table {
            assert_eq!(value(query, name).as_deref(), want, "{name}");
        }
    }
}
