//! `fileKeyRef`: a variable from a file that an init container wrote.
//!
//! The file is strict: `NAME='value'`, the value in single quotes and taken as it is, over several lines if need be;
//! comments and empty lines between. Source: kubelet, `pkg/kubelet/util/env`.

/// The value of `key`; `None` where the file does not set it, or sets it to nothing.
///
/// # Errors
/// When a line before that is not as it must be.
pub fn find(text: &str, key: &str) -> Result<Option<String>, ()> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(())?;
        if name.is_empty() || name.ends_with([' ', '\t']) {
            return Err(());
        }
        if value.starts_with([' ', '\t']) {
            // As in a shell, `NAME= 'value'` sets it to nothing.
            if name == key {
                return Ok(None);
            }
            continue;
        }
        let value = quoted(value.strip_prefix('\'').ok_or(())?, &mut lines)?;
        if name == key {
            return Ok(Some(value).filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

fn quoted<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> Result<String, ()> {
    let mut value = String::new();
    let mut rest = first;
    loop {
        if let Some((last, after)) = rest.split_once('\'') {
            value.push_str(last);
            let after = after.trim_start_matches([' ', '\t']);
            return if after.is_empty() || after.starts_with('#') { Ok(value) } else { Err(()) };
        }
        value.push_str(rest);
        value.push('\n');
        rest = lines.next().ok_or(())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_upstream_reads_it() {
        let table = [
            ("A='1'\nB='2'", "B", Ok(Some("2"))),
            ("A='1'\nA='2'", "A", Ok(Some("1"))),
            ("\n # note\n\t A='x $B # \\n \"' # after\n", "A", Ok(Some("x $B # \\n \""))),
            ("A='two\nlines'\nB='2'", "A", Ok(Some("two\nlines"))),
            ("A='two\nlines'\nB='2'", "B", Ok(Some("2"))),
            ("A=''", "A", Ok(None)),
            ("A= 'x'\nB='2'", "A", Ok(None)),
            ("A= 'x'\nB='2'", "B", Ok(Some("2"))),
            ("A='1'", "no", Ok(None)),
            ("", "A", Ok(None)),
            ("A ='1'", "A", Err(())),
            ("A=1", "A", Err(())),
            ("A=\"1\"", "A", Err(())),
            ("A='1' x", "A", Err(())),
            ("A='1", "A", Err(())),
            ("A", "A", Err(())),
            ("='1'", "A", Err(())),
            ("A='1'\nbroken", "A", Ok(Some("1"))),
        ];
        for (text, key, want) in table {
            assert_eq!(find(text, key), want.map(|value| value.map(str::to_owned)), "{text:?} {key}");
        }
    }
}
