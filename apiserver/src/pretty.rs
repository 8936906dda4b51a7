//! JSON for people: the same, a member a line.
//!
//! Source: Go's `json.MarshalIndent` with two spaces, which upstream uses for those who read with their own eyes.

/// A JSON text, indented. Text that is no JSON stays as wild as it is.
pub(crate) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut at) = (0_usize, 0);
    while at < json.len() {
        let end = match json[at] {
            b'"' => string_end(json, at),
            _ => at + 1,
        };
        match json[at] {
            open @ (b'{' | b'[') => {
                let next = json[end..].iter().position(|byte| !byte.is_ascii_whitespace());
                let is_empty = next.is_some_and(|next| matches!(json[end + next], b'}' | b']'));
                out.push(open);
                depth += 1;
                if !is_empty {
                    begin_line(&mut out, depth);
                }
            }
            close @ (b'}' | b']') => {
                depth = depth.saturating_sub(1);
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    begin_line(&mut out, depth);
                }
                out.push(close);
            }
            b',' => {
                out.push(b',');
                begin_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            blank if blank.is_ascii_whitespace() => {}
            _ => out.extend_from_slice(&json[at..end]),
        }
        at = end;
    }
    out
}

fn begin_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

/// Where the string that begins at `start` ends.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_a_line() {
        for (json, expected) in [
            (r#"{}"#, "{}"),
            (r#"[ ]"#, "[]"),
            (
                r#"{"a":1,"b":[1,{"c":"x, {\"y\":\\"}],"d":{}}"#,
                "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    {\n      \"c\": \"x, {\\\"y\\\":\\\\\"\n    }\n  ],\n  \"d\": {}\n}",
            ),
            ("\"", "\""),
            ("\"\\", "\"\\"),
            ("}]", "\n}\n]"),
        ] {
            assert_eq!(String::from_utf8_lossy(&indented(json.as_bytes())), expected, "{json}");
        }
    }
}
