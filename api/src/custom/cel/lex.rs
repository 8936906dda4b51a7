//! Source to tokens.

use super::Failure;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(String),
    /// A name between backticks, which may be of any letters.
    Quoted(String),
    Int(i64),
    /// The least integer without its sign, which is read before it.
    IntMin,
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "[?", "{?", "+", "-", "*", "/", "%", "<", ">", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// Reads a source into tokens and where each begins.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, Failure> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += blank(&source[at..]);
        if at >= source.len() {
            tokens.push((Token::End, source.len()));
            return Ok(tokens);
        }
        let (token, length) = token(&source[at..]).map_err(|message| Failure { at, message })?;
        tokens.push((token, at));
        at += length;
    }
}

/// How many bytes of spaces and comments begin the rest.
fn blank(rest: &str) -> usize {
    let mut at = 0;
    loop {
        let spaces = rest[at..].len() - rest[at..].trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
        at += spaces;
        if !rest[at..].starts_with("//") {
            return at;
        }
        at += rest[at..].find('\n').unwrap_or(rest.len() - at);
    }
}

fn token(rest: &str) -> Result<(Token, usize), String> {
    let first = rest.chars().next().unwrap_or('\0');
    if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
        return number(rest);
    }
    if let Some((prefix, quoted)) = text_prefix(rest) {
        return text(prefix, quoted).map(|(token, length)| (token, length + prefix.len()));
    }
    if first == '`' {
        let end = rest[1..].find('`').ok_or("unterminated identifier")?;
        return Ok((Token::Quoted(rest[1..=end].to_owned()), end + 2));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok((Token::Ident(rest[..end].to_owned()), end));
    }
    let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
    sign.map(|sign| (Token::Sign(sign), sign.len()))
        .ok_or_else(|| format!("Syntax error: token recognition error at: '{first}'"))
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let bad = |text: &str| format!("invalid number {text:?}");
    if let Some(hex) = rest.strip_prefix("0x").or(rest.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let value = u64::from_str_radix(&hex[..end], 16).map_err(|_| bad(&hex[..end]))?;
        if hex[end..].starts_with(['u', 'U']) {
            return Ok((Token::Uint(value), end + 3));
        }
        return Ok((Token::Int(i64::try_from(value).map_err(|_| bad(&hex[..end]))?), end + 2));
    }
    let digits = |from: usize| rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| from + n);
    let mut end = digits(0);
    let mut is_double = false;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        is_double = true;
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        if rest[end + 1 + sign..].starts_with(|c: char| c.is_ascii_digit()) {
            is_double = true;
            end = digits(end + 1 + sign);
        }
    }
    let text = &rest[..end];
    if is_double {
        return Ok((Token::Double(text.parse().map_err(|_| bad(text))?), end));
    }
    if rest[end..].starts_with(['u', 'U']) {
        return Ok((Token::Uint(text.parse().map_err(|_| bad(text))?), end + 1));
    }
    match text.parse::<u64>() {
        Ok(n) if n == i64::MIN.unsigned_abs() => Ok((Token::IntMin, end)),
        Ok(n) => Ok((Token::Int(i64::try_from(n).map_err(|_| "invalid int literal".to_owned())?), end)),
        Err(_) => Err("invalid int literal".to_owned()),
    }
}

/// The letters before a quote (`r`, `b`, both or none), and what follows them.
fn text_prefix(rest: &str) -> Option<(&str, &str)> {
    let end = rest.bytes().take(3).position(|b| matches!(b, b'"' | b'\''))?;
    let (prefix, quoted) = rest.split_at_checked(end)?;
    matches!(prefix.to_ascii_lowercase().as_str(), "" | "r" | "b" | "br" | "rb").then_some((prefix, quoted))
}

fn text(prefix: &str, quoted: &str) -> Result<(Token, usize), String> {
    let is_raw = prefix.contains(['r', 'R']);
    let is_bytes = prefix.contains(['b', 'B']);
    let quote =
        ["\"\"\"", "'''", "\"", "'"].into_iter().find(|q| quoted.starts_with(q)).ok_or("unterminated string")?;
    let mut out: Vec<u8> = Vec::new();
    let mut at = quote.len();
    loop {
        let rest = &quoted[at..];
        if rest.starts_with(quote) {
            at += quote.len();
            break;
        }
        let c = rest.chars().next().ok_or("Syntax error: unterminated string")?;
        match c {
            '\n' | '\r' if quote.len() == 1 => return Err("Syntax error: unterminated string".to_owned()),
            '\\' if !is_raw => at += escape(rest, is_bytes, &mut out)?,
            _ => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += c.len_utf8();
            }
        }
    }
    let token = if is_bytes {
        Token::Bytes(out)
    } else {
        Token::String(String::from_utf8(out).map_err(|_| "invalid UTF-8 in string")?)
    };
    Ok((token, at))
}

/// Writes what an escape stands for, and gives its length.
fn escape(rest: &str, is_bytes: bool, out: &mut Vec<u8>) -> Result<usize, String> {
    let bad = || "unable to unescape string".to_owned();
    let c = rest[1..].chars().next().ok_or_else(bad)?;
    let plain = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => c as u8,
        _ => 0,
    };
    if plain != 0 {
        out.push(plain);
        return Ok(2);
    }
    let (from, length, radix) = match c {
        'x' | 'X' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        '0'..='3' => (1, 3, 8),
        _ => return Err(bad()),
    };
    let digits = rest.get(from..from + length).ok_or_else(bad)?;
    let code = u32::from_str_radix(digits, radix).map_err(|_| bad())?;
    if is_bytes && length < 4 {
        out.push(u8::try_from(code).map_err(|_| bad())?);
    } else {
        let c = char::from_u32(code).ok_or_else(bad)?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(from + length)
}
