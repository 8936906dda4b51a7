//! `$(NAME)` in values, commands and paths. Source: `third_party/forked/golang/expansion`.

use std::collections::BTreeSet;

/// Replaces `$(NAME)` by what `find` knows of it; `$$` stands for `$`, and a name that is not known stays as it is.
pub fn expand<'a>(text: &str, find: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match find(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// What a variable is, the last of its name.
pub fn find<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// As [`expand`] for a `subPathExpr`, in which every name must be known and not be empty.
///
/// # Errors
/// Names those that are not. Source: kubelet, `ExpandContainerVolumeMounts`.
pub fn expand_all(text: &str, env: &[(String, String)]) -> Result<String, String> {
    let missing = std::cell::RefCell::new(BTreeSet::new());
    let expanded = expand(text, |name| {
        let found = find(env, name).filter(|value| !value.is_empty());
        if found.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        found
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if missing.is_empty() { Ok(expanded) } else { Err(format!("missing value for {}", missing.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_is_upstreams() {
        let env = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())];
        let table = [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NO)", "$(NO)"),
            ("$A", "$A"),
            ("$", "$"),
            ("$$", "$"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("$(A)$(A)", "11"),
            ("ü$(A)", "ü1"),
            ("", ""),
        ];
        for (text, want) in table {
            assert_eq!(expand(text, |name| find(&env, name)), want, "{text}");
        }
    }

    #[test]
    fn a_path_needs_all_of_its_names() {
        let env = [("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())];
        assert_eq!(expand_all("x/$(A)/$$", &env), Ok("x/1/$".into()));
        assert_eq!(expand_all("$(Z)/$(E)/$(A)/$(Z)", &env), Err("missing value for E, Z".into()));
    }
}
