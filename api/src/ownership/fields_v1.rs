//! A set as JSON: `{"f:spec":{".":{},"f:replicas":{}}}`.
//!
//! A member is named by its step. One that has no others below it is an empty object; in one that has, it is itself `.`.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/fieldpath`, `Set.ToJSON` and `Set.FromJSON`.

use super::Error;
use super::set::Set;
use super::step::Step;
use super::tree::{Form, Node, Tape, Tree as _};

impl Set<'_> {
    /// Writes the set.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(false, out);
    }

    fn write_with(&self, is_member: bool, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        if is_member && !self.is_empty() {
            out.extend_from_slice(b"\".\":{}");
            first = false;
        }
        for node in self.nodes() {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            node.step.write(out);
            out.push(b':');
            node.below.write_with(node.is_member, out);
        }
        out.push(b'}');
    }
}

impl<'a> Set<'a> {
    /// Reads a set, whose names it borrows from the text where they need no change.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &'a str) -> Result<Self, Error> {
        Self::of_node(Tape::read(text.as_bytes())?.root())
    }

    pub(super) fn of_node(node: Node<'a, '_>) -> Result<Self, Error> {
        below(node).map(|(set, _)| set)
    }
}

/// What is below a step, and whether the step itself is in the set.
fn below<'a>(node: Node<'a, '_>) -> Result<(Set<'a>, bool), Error> {
    let mut set = Set::default();
    let mut is_member = false;
    match node.form() {
        Form::Null => {}
        Form::Map => {
            for (name, child) in node.entries() {
                if name == "." {
                    is_member = true;
                } else if let Some(step) = Step::parse(name).map_err(|error| Error::new(error.to_string()))? {
                    let (deeper, is_member) = below(child)?;
                    set.add(step, is_member, deeper);
                }
            }
        }
        Form::Scalar | Form::List => return Err(Error::new("this is not a set of fields")),
    }
    let is_member = is_member || set.is_empty();
    Ok((set, is_member))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(set: &Set<'_>) -> String {
        let mut out = Vec::new();
        set.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_read_is_written_again_in_upstreams_order() {
        for (given, expected) in [
            ("{}", "{}"),
            (r#"{"f:a":{}}"#, r#"{"f:a":{}}"#),
            (r#"{"f:b":{"f:x":{},".":{}},"f:a":{}}"#, r#"{"f:a":{},"f:b":{".":{},"f:x":{}}}"#),
            // Keys by their values, numbers as numbers.
            (
                r#"{"k:{\"p\":8080,\"a\":\"TCP\"}":{},"k:{\"a\":\"TCP\",\"p\":443}":{},"f:z":{}}"#,
                r#"{"f:z":{},"k:{\"a\":\"TCP\",\"p\":443}":{},"k:{\"a\":\"TCP\",\"p\":8080}":{}}"#,
            ),
            (
                r#"{"v:\"b\"":{},"v:2":{},"v:true":{},"v:\"a\"":{}}"#,
                r#"{"v:2":{},"v:\"a\"":{},"v:\"b\"":{},"v:true":{}}"#,
            ),
            // A field with a quote; a step of a kind that nobody knows.
            (r#"{"f:a\"b":{},"x:y":{"f:a":{}}}"#, r#"{"f:a\"b":{}}"#),
            (r#"{"f:a":null,"i:3":{}}"#, r#"{"f:a":{},"i:3":{}}"#),
        ] {
            let set = Set::read(given).unwrap();
            assert_eq!(written(&set), expected);
            let again = Set::read(expected).unwrap();
            assert_eq!(again, set);
        }
        for bad in ["[]", "1", r#"{"a":{}}"#, r#"{"fa":{}}"#, r#"{"k:1":{}}"#, r#"{"i:x":{}}"#, r#"{"f:a":1}"#] {
            assert!(Set::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sets_are_united_intersected_and_subtracted() {
        let set = |text: &'static str| Set::read(text).unwrap();
        let (a, b) =
            (r#"{"f:a":{".":{},"f:x":{},"f:y":{}},"f:b":{}}"#, r#"{"f:a":{".":{},"f:y":{}},"f:c":{"f:z":{}}}"#);
        let mut united = set(a);
        united.unite(set(b));
        assert_eq!(written(&united), r#"{"f:a":{".":{},"f:x":{},"f:y":{}},"f:b":{},"f:c":{"f:z":{}}}"#);
        assert_eq!(written(&set(a).intersection(&set(b))), r#"{"f:a":{".":{},"f:y":{}}}"#);
        let (mut less, mut least) = (set(a), set(a));
        less.subtract(&set(b));
        assert_eq!(written(&less), r#"{"f:a":{"f:x":{}},"f:b":{}}"#);
        least.subtract_recursively(&set(b));
        assert_eq!(written(&least), r#"{"f:b":{}}"#);
        let mut kept =
            set(r#"{"f:s":{"f:c":{"k:{\"n\":\"a\"}":{".":{},"f:r":{"f:l":{}},"f:i":{}}},"f:d":{}},"f:t":{}}"#);
        kept.keep(&[&["s", "c", "*", "r"]]);
        assert_eq!(written(&kept), r#"{"f:s":{"f:c":{"k:{\"n\":\"a\"}":{".":{},"f:r":{"f:l":{}}}}}}"#);
        kept.cut(&["s", "c"]);
        assert!(kept.is_empty());
        assert_eq!(set(b).paths(), [".a", ".a.y", ".c.z"]);
    }
}
