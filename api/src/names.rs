//! What things may be called. Each check gives the list of what is wrong with a name, worded as upstream, empty when
//! nothing is.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation`.

use std::borrow::Cow;

pub const LABEL_BYTES_MAX: usize = 63;
pub const SUBDOMAIN_BYTES_MAX: usize = 253;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const WILDCARD_SUBDOMAIN: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const EMPTY: &str = "must be non-empty";

/// The message for a name that is too long.
#[must_use]
pub fn longer_than(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The message for a number outside of a range.
#[must_use]
pub fn not_between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether `text` has only bytes that are `inner`, and begins and ends with one that is `outer`.
fn framed(text: &str, outer: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(outer)
        && bytes.last().copied().is_some_and(outer)
        && bytes.iter().copied().all(inner)
}

fn is_label(text: &str) -> bool {
    framed(text, lower_or_digit, |b| lower_or_digit(b) || b == b'-')
}

fn is_qualified(text: &str) -> bool {
    framed(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn checked(text: &str, bytes_max: usize, right: bool, message: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > bytes_max {
        errors.push(longer_than(bytes_max));
    }
    if !right {
        errors.push(message.to_owned());
    }
    errors
}

/// A DNS label: namespaces, containers, ports.
#[must_use]
pub fn dns_label(text: &str) -> Vec<String> {
    checked(text, LABEL_BYTES_MAX, is_label(text), LABEL)
}

/// A DNS subdomain: the names of most kinds.
#[must_use]
pub fn dns_subdomain(text: &str) -> Vec<String> {
    checked(text, SUBDOMAIN_BYTES_MAX, text.split('.').all(is_label), SUBDOMAIN)
}

/// A DNS subdomain whose labels may have underscores, and begin with one: where names are searched.
#[must_use]
pub fn dns_subdomain_with_underscore(text: &str) -> Vec<String> {
    let inner = |b: u8| lower_or_digit(b) || b == b'-' || b == b'_';
    let is_label = |label: &str| framed(label.strip_prefix('_').unwrap_or(label), lower_or_digit, inner);
    checked(text, SUBDOMAIN_BYTES_MAX, text.split('.').all(is_label), SUBDOMAIN)
}

/// A DNS label that starts with a letter.
#[must_use]
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let right = is_label(text) && text.as_bytes()[0].is_ascii_lowercase();
    checked(text, LABEL_BYTES_MAX, right, LABEL_1035)
}

/// A DNS subdomain whose first label is `*`.
#[must_use]
pub fn wildcard_dns_subdomain(text: &str) -> Vec<String> {
    let right = text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    checked(text, SUBDOMAIN_BYTES_MAX, right, WILDCARD_SUBDOMAIN)
}

/// A name with an optional prefix, `example.com/name`: keys of labels and annotations, finalizers, resources.
#[must_use]
pub fn qualified(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (prefix, name) = match parts.as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut errors = match prefix {
        None => Vec::new(),
        Some("") => vec![format!("prefix part {EMPTY}")],
        Some(prefix) => dns_subdomain(prefix).into_iter().map(|e| format!("prefix part {e}")).collect(),
    };
    if name.is_empty() {
        errors.push(format!("name part {EMPTY}"));
    } else if name.len() > LABEL_BYTES_MAX {
        errors.push(format!("name part {}", longer_than(LABEL_BYTES_MAX)));
    }
    if !is_qualified(name) {
        errors.push(format!("name part {QUALIFIED}"));
    }
    errors
}

/// The value of a label.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    checked(text, LABEL_BYTES_MAX, text.is_empty() || is_qualified(text), LABEL_VALUE)
}

/// A key of a ConfigMap or Secret, which may become the name of a file.
#[must_use]
pub fn config_key(text: &str) -> Vec<String> {
    let right = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let mut errors = checked(text, SUBDOMAIN_BYTES_MAX, right, CONFIG_KEY);
    errors.extend(never_a_path(text));
    errors
}

/// `.` and `..`, and what starts with `..`, are no names of files.
fn never_a_path(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        text if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of an environment variable.
#[must_use]
pub fn env_name(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec![format!("environment variable name {EMPTY}")];
    }
    let right = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    checked(text, usize::MAX, right, ENV_NAME)
}

/// The name of a port, as IANA has them.
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut check = |wrong: bool, message: &str| {
        if wrong {
            errors.push(message.to_owned());
        }
    };
    check(text.len() > 15, "must be no more than 15 characters");
    check(
        text.is_empty() || !text.bytes().all(|b| lower_or_digit(b) || b == b'-'),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    check(!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    check(text.contains("--"), "must not contain consecutive hyphens");
    check(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    errors
}

/// The number of a port.
#[must_use]
pub fn port_number(port: i32) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![not_between(1, 65535)] }
}

/// A part of a path in the API: neither `.` nor `..`, without `/` and `%`.
#[must_use]
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].into_iter().filter(|c| text.contains(c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A domain and a path below it, `example.com/a/b`: who is meant by the controller of an ingress class.
#[must_use]
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    let Some((host, path)) = text.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty()) else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let mut errors = dns_subdomain(host);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/%:@-._~!$&'()*+,;=".contains(&b);
    if !path.bytes().all(allowed) {
        errors.push(PATH.to_owned());
    }
    errors
}

/// A DNS subdomain of at least three labels: the name of a webhook.
#[must_use]
pub fn fully_qualified(text: &str) -> Vec<String> {
    let errors = dns_subdomain(text);
    if errors.is_empty() && text.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".to_owned()];
    }
    errors
}

/// An identifier as the C language has them: attributes of devices.
#[must_use]
pub fn c_identifier(text: &str) -> Vec<String> {
    let right = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.as_bytes()[0].is_ascii_digit();
    if right { Vec::new() } else { vec![IDENTIFIER.to_owned()] }
}

/// Why a condition is as it is, in a word: `MinimumReplicasAvailable`.
#[must_use]
pub fn condition_reason(text: &str) -> Vec<String> {
    let right =
        framed(text, |b| b.is_ascii_alphanumeric() || b == b'_', |b| b.is_ascii_alphanumeric() || b"_,:".contains(&b))
            && text.as_bytes()[0].is_ascii_alphabetic();
    if right { Vec::new() } else { vec![REASON.to_owned()] }
}

/// What a name may become when it is a prefix to be extended: a trailing dash doesn't matter.
#[must_use]
pub fn without_trailing_dash(prefix: &str) -> Cow<'_, str> {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => Cow::Owned(format!("{rest}a")),
        _ => Cow::Borrowed(prefix),
    }
}

const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_BYTES: usize = 5;

/// Makes a name of a prefix and randomness. Source: `SimpleNameGenerator`, whose letters form no words.
#[must_use]
pub fn generate(prefix: &str, random: u64) -> String {
    let mut end = prefix.len().min(LABEL_BYTES_MAX - SUFFIX_BYTES);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &prefix[..end], safe_letters(random))
}

/// Five letters and digits of randomness.
fn safe_letters(mut random: u64) -> String {
    (0..SUFFIX_BYTES)
        .map(|_| {
            let letter = SUFFIX_LETTERS[usize::try_from(random % 27).expect("less than 27")];
            random /= 27;
            char::from(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged() {
        type Check = fn(&str) -> Vec<String>;
        for (check, name, errors) in [
            (dns_label as Check, "a-1", 0),
            (dns_label, "", 1),
            (dns_label, "a.b", 1),
            (dns_label, "-a", 1),
            (dns_label, &"A".repeat(64), 2),
            (dns_subdomain, "a.b-c.d", 0),
            (dns_subdomain, "Not_A_Name!", 1),
            (dns_subdomain, "a..b", 1),
            (dns_1035_label, "1a", 1),
            (dns_1035_label, "", 1),
            (qualified, "example.com/Name_1", 0),
            (qualified, "a/b/c", 1),
            (qualified, "/x", 1),
            (qualified, "A!/", 3),
            (label_value, "", 0),
            (label_value, "!!", 1),
            (config_key, "..", 1),
            (config_key, "a b", 1),
            (env_name, "A B", 0),
            (env_name, "A=B", 1),
            (port_name, "http-2", 0),
            (port_name, "80", 1),
            (port_name, "a--b-", 2),
            (path_segment, "a/b%", 2),
            (wildcard_dns_subdomain, "*.a.b", 0),
        ] {
            assert_eq!(check(name).len(), errors, "{name:?}: {:?}", check(name));
        }
    }

    #[test]
    fn generated_names_are_labels() {
        assert_eq!(generate("p-", 0), "p-bbbbb");
        let name = generate(&"x".repeat(70), u64::MAX);
        assert_eq!(name.len(), LABEL_BYTES_MAX);
        assert!(dns_label(&name).is_empty());
        assert_eq!(generate("é".repeat(40).as_str(), 1).chars().count(), 34);
    }
}
