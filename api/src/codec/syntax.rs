//! What is wrong with a text that is no JSON, in the words of Go's decoder.
//!
//! It is asked only when something else has failed already, so it reads byte by byte. What it takes for JSON may still be
//! refused by a decoder that is stricter: one that wants UTF-8.
//!
//! Source: the scanner of `encoding/json`.

/// Checks that `text` is one JSON value.
///
/// # Errors
/// What Go says of the first byte that it does not expect.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    let mut reader = Reader { text, at: 0, inside: Vec::new() };
    match reader.all() {
        Ok(()) => Ok(()),
        Err(Stop::End) => Err("unexpected end of JSON input".to_owned()),
        Err(Stop::Byte(byte, context)) => Err(format!("invalid character {} {context}", quoted(byte))),
    }
}

enum Stop {
    /// The text ends too soon.
    End,
    Byte(u8, String),
}

/// What a value is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Object,
    Array,
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    inside: Vec<Inside>,
}

fn stop<T>(byte: u8, context: &str) -> Result<T, Stop> {
    Err(Stop::Byte(byte, context.to_owned()))
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Result<u8, Stop> {
        let byte = self.peek().ok_or(Stop::End)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Result<u8, Stop> {
        loop {
            let byte = self.take()?;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(byte);
            }
        }
    }

    fn all(&mut self) -> Result<(), Stop> {
        let mut first = self.next()?;
        loop {
            if self.value(first)? {
                if let Some(inside) = self.first_inside()? {
                    first = inside;
                    continue;
                }
                self.inside.pop();
            }
            match self.after_value()? {
                Some(next) => first = next,
                None => return Ok(()),
            }
        }
    }

    /// Reads a value that is none of many, or the beginning of one that is: then it is told so.
    fn value(&mut self, first: u8) -> Result<bool, Stop> {
        match first {
            b'{' => self.inside.push(Inside::Object),
            b'[' => self.inside.push(Inside::Array),
            b'"' => return self.string().map(|()| false),
            b't' => return self.word("true").map(|()| false),
            b'f' => return self.word("false").map(|()| false),
            b'n' => return self.word("null").map(|()| false),
            b'-' | b'0'..=b'9' => return self.number(first).map(|()| false),
            other => return stop(other, "looking for beginning of value"),
        }
        Ok(true)
    }

    /// The first byte of the first value inside of what has begun; none when it is empty.
    fn first_inside(&mut self) -> Result<Option<u8>, Stop> {
        match (self.inside.last().copied(), self.next()?) {
            (Some(Inside::Object), b'}') | (Some(Inside::Array), b']') => Ok(None),
            (Some(Inside::Object), byte) => self.key(byte).map(Some),
            (_, byte) => Ok(Some(byte)),
        }
    }

    /// Reads a key and its colon: the first byte of the value that follows.
    fn key(&mut self, first: u8) -> Result<u8, Stop> {
        if first != b'"' {
            return stop(first, "looking for beginning of object key string");
        }
        self.string()?;
        match self.next()? {
            b':' => self.next(),
            other => stop(other, "after object key"),
        }
    }

    /// Reads on behind a value: the first byte of the next one, or none at the end of all.
    fn after_value(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            let Some(inside) = self.inside.last().copied() else {
                return match self.next() {
                    Err(Stop::End) => Ok(None),
                    Err(other) => Err(other),
                    Ok(byte) => stop(byte, "after top-level value"),
                };
            };
            match (inside, self.next()?) {
                (Inside::Object, b'}') | (Inside::Array, b']') => drop(self.inside.pop()),
                (Inside::Object, b',') => {
                    let first = self.next()?;
                    return self.key(first).map(Some);
                }
                (Inside::Array, b',') => return self.next().map(Some),
                (Inside::Object, other) => return stop(other, "after object key:value pair"),
                (Inside::Array, other) => return stop(other, "after array element"),
            }
        }
    }

    fn string(&mut self) -> Result<(), Stop> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.take()?;
                            if !digit.is_ascii_hexdigit() {
                                return stop(digit, "in \\u hexadecimal character escape");
                            }
                        }
                    }
                    other => return stop(other, "in string escape code"),
                },
                control @ 0..=0x1f => return stop(control, "in string literal"),
                _ => {}
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        for expected in word.bytes().skip(1) {
            let byte = self.take()?;
            if byte != expected {
                return stop(byte, &format!("in literal {word} (expecting {})", quoted(expected)));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), Stop> {
        let first = if first == b'-' { self.take()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            other => return stop(other, "in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.first_digit("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.first_digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn first_digit(&mut self, context: &str) -> Result<(), Stop> {
        match self.take()? {
            b'0'..=b'9' => {
                self.digits();
                Ok(())
            }
            other => stop(other, context),
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }
}

/// A byte as Go shows it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        other => format!("'{}'", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_says() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            ("  ", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (r#"{"a":"#, "unexpected end of JSON input"),
            (r#""abc"#, "unexpected end of JSON input"),
            ("{nope", "invalid character 'n' looking for beginning of object key string"),
            ("<x/>", "invalid character '<' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u00g0""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("nil", "invalid character 'i' in literal null (expecting 'u')"),
        ] {
            assert_eq!(check(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
        for text in ["null", " {} ", r#"{"a":[1,-2.5e3,{"b":[]},"x\u00e9\n"],"c":{}}"#, "[[],[{}]]", "0"] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
