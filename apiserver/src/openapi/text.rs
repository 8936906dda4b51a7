//! Reads what is published of the built-in types (`api/schema/openapi.txt`; `openapi.py` beside it says how it is
//! written).
//!
//! The text is compiled in packed, and unpacked for as long as a document is being made.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read as _};

use flate2::read::GzDecoder;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.txt.gz"));

/// The whole text.
///
/// # Errors
/// When it was packed wrongly, which the tests would find.
pub(super) fn unpack() -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(PACKED).read_to_string(&mut text)?;
    Ok(text)
}

/// Every built-in type, in the order of their names.
pub(super) struct Definitions<'a> {
    all: Vec<Definition<'a>>,
    /// By the last three parts of the name, as the text refers to them.
    by_short_name: HashMap<&'a str, usize>,
}

/// One type.
pub(super) struct Definition<'a> {
    /// `io.k8s.api.core.v1.PodSpec`.
    pub(super) name: &'a str,
    /// Group, version and kind, if it is one.
    pub(super) kind: Option<(&'a str, &'a str, &'a str)>,
    /// Whether it is owned and merged as a whole.
    pub(super) is_atomic: bool,
    /// The JSON form of a type that is not made of fields.
    pub(super) form: Option<&'a str>,
    /// Which of its fields says which of the others there is, and what it then says.
    pub(super) union: Option<Union<'a>>,
    about: &'a str,
    pub(super) properties: Vec<Property<'a>>,
}

/// A type of which one field is there at a time.
pub(super) struct Union<'a> {
    /// The field that says which, if one does.
    pub(super) which: Option<&'a str>,
    /// Each field, and what is said of it.
    pub(super) members: Vec<(&'a str, &'a str)>,
}

/// One field.
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    /// `s`, `[s`, `{#core.v1.Container`: see `generate.py`.
    pub(super) shape: &'a str,
    /// Whether it is always written, as a zero if need be.
    pub(super) is_written_always: bool,
    pub(super) is_required: bool,
    /// The texts that it, or its elements, can be, if they are few.
    pub(super) values: Option<Vec<Cow<'a, str>>>,
    /// What it is when nobody says, in JSON.
    pub(super) default: Option<&'a str>,
    /// How lists and maps are merged: `list`, `keys`, `patch`, `merge`, `map`, each with its value.
    pub(super) merge: Vec<(&'a str, &'a str)>,
    about: &'a str,
}

impl<'a> Definitions<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut all: Vec<Definition<'a>> = Vec::new();
        for line in text.lines() {
            if let Some(head) = line.strip_prefix('@') {
                all.push(Definition::parse(head));
            } else if let Some(definition) = all.last_mut() {
                match line.strip_prefix(": ") {
                    Some(about) => match definition.properties.last_mut() {
                        Some(property) => property.about = about,
                        None => definition.about = about,
                    },
                    None => definition.properties.push(Property::parse(line)),
                }
            }
        }
        let by_short_name = all.iter().enumerate().map(|(i, definition)| (short(definition.name), i)).collect();
        Self { all, by_short_name }
    }

    /// The type that the text calls so: `core.v1.PodSpec`.
    pub(super) fn get(&self, short_name: &str) -> Option<&Definition<'a>> {
        self.by_short_name.get(short_name).map(|i| &self.all[*i])
    }

    /// The type of this full name.
    pub(super) fn named(&self, name: &str) -> Option<&Definition<'a>> {
        self.get(short(name)).filter(|definition| definition.name == name)
    }

    /// The type of a kind.
    pub(super) fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Definition<'a>> {
        self.all.iter().find(|definition| definition.kind == Some((group, version, kind)))
    }
}

impl<'a> Definition<'a> {
    fn parse(head: &'a str) -> Self {
        let mut words = head.split(' ');
        let mut definition = Self {
            name: words.next().unwrap_or_default(),
            kind: None,
            is_atomic: false,
            form: None,
            union: None,
            about: "",
            properties: Vec::new(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("gvk", kind)) => {
                    let mut parts = kind.split('/');
                    let mut part = || parts.next().unwrap_or_default();
                    definition.kind = Some((part(), part(), part()));
                }
                Some(("union", told)) => {
                    let (which, members) = told.split_once(';').unwrap_or(("", told));
                    let members = members.split(',').filter_map(|member| member.split_once(':')).collect();
                    definition.union = Some(Union { which: Some(which).filter(|which| !which.is_empty()), members });
                }
                Some((_, form)) => definition.form = Some(form),
                None => definition.is_atomic = true,
            }
        }
        definition
    }

    pub(super) fn about(&self) -> Cow<'a, str> {
        unescaped(self.about)
    }
}

impl<'a> Property<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (name, shape, presence) = (word(), word(), word());
        let rest: Vec<&str> = words.collect();
        let told = || rest.iter().filter_map(|word| word.split_once('='));
        let about = |name: &str| told().find(|(key, _)| *key == name).map(|(_, value)| value);
        Self {
            name,
            shape,
            is_written_always: presence == "v",
            is_required: rest.contains(&"required"),
            values: about("enum").map(|values| values.split(',').map(with_blanks).collect()),
            default: about("default"),
            merge: told().filter(|(key, _)| !matches!(*key, "enum" | "default")).collect(),
            about: "",
        }
    }

    pub(super) fn about(&self) -> Cow<'a, str> {
        unescaped(self.about)
    }

    /// The type that it refers to, be it of its elements.
    pub(super) fn reference(&self) -> Option<&'a str> {
        self.shape.trim_start_matches(['[', '{']).strip_prefix('#')
    }
}

/// In a word, a blank is a plus.
fn with_blanks(word: &str) -> Cow<'_, str> {
    if word.contains('+') { word.replace('+', " ").into() } else { word.into() }
}

/// The last three parts of a name.
fn short(name: &str) -> &str {
    name.rmatch_indices('.').nth(2).map_or(name, |(dot, _)| &name[dot + 1..])
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_type() {
        let text = "@io.k8s.api.a.v1.Thing gvk=g/v1/Thing atomic union=usage;list:List\n: One\\ntwo \\\\three\nlist [#a.v1.Part v required list=map keys=a,b\n: Parts\nusage s o enum=,cert+sign default=\"any\"\n@io.k8s.api.a.v1.Part is=any\n";
        let definitions = Definitions::parse(text);
        let thing = definitions.of_kind("g", "v1", "Thing").expect("it is there");
        assert_eq!((thing.name, thing.is_atomic, thing.form), ("io.k8s.api.a.v1.Thing", true, None));
        assert_eq!(thing.about(), "One\ntwo \\three");
        let list = &thing.properties[0];
        assert_eq!(
            (list.name, list.shape, list.is_required, list.is_written_always),
            ("list", "[#a.v1.Part", true, true)
        );
        assert_eq!((list.merge.as_slice(), &*list.about()), (&[("list", "map"), ("keys", "a,b")][..], "Parts"));
        let usage = &thing.properties[1];
        assert_eq!(usage.values.as_deref(), Some(&["".into(), "cert sign".into()][..]));
        assert_eq!((usage.default, usage.merge.len()), (Some("\"any\""), 0));
        let union = thing.union.as_ref().expect("it is one");
        assert_eq!((union.which, union.members.as_slice()), (Some("usage"), &[("list", "List")][..]));
        let part = list.reference().and_then(|name| definitions.get(name)).expect("it is there");
        assert_eq!(part.form, Some("any"));
        assert!(definitions.named("io.k8s.api.other.a.v1.Part").is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = unpack().expect("it was packed when this was built");
        let definitions = Definitions::parse(&text);
        for definition in &definitions.all {
            for name in definition.properties.iter().filter_map(Property::reference) {
                assert!(definitions.get(name).is_some(), "{} refers to {name}", definition.name);
            }
        }
    }
}
