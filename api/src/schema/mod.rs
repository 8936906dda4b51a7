//! The graph of the served types: which fields a type has, what they hold, how lists and maps merge, and whether Go's
//! encoder writes a zero value.
//!
//! It is read from `api/schema/types.txt`, a text of 100 kB that `api/schema/generate.py` makes, on first use, into some
//! 250 kB of flat tables that live as long as the process. Names are slices of the text. The decoder, the encoder and
//! strategic merge patches walk this graph; field ownership and OpenAPI will.

pub(crate) mod go;
mod parse;
#[cfg(test)]
pub(crate) mod tape;

use std::sync::OnceLock;

static TEXT: &str = include_str!("../../schema/types.txt");

/// One type, such as `core.v1.PodSpec`.
#[derive(Debug)]
pub struct Type {
    /// The last three parts of its OpenAPI name.
    pub name: &'static str,
    /// Whether it is owned and merged as a whole.
    pub atomic: bool,
    /// In the order in which they are encoded.
    pub fields: Box<[Field]>,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Its key in JSON.
    pub name: &'static str,
    pub shape: Shape,
    pub presence: Presence,
    pub merge: Merge,
}

/// What a field, an element or an entry holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    String,
    Bool,
    Int32,
    Int64,
    Float,
    /// Bytes, in base64.
    Bytes,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// Any JSON, which nothing is known of.
    Any,
    Object(TypeId),
    List(&'static Shape),
    Map(&'static Shape),
}

/// The number of a type in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(u16);

/// When a field is written. Source: the pointers and `omitempty` tags of Kubernetes' Go types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Written when set, whatever it is set to: a pointer in Go.
    WhenSet,
    /// Left out when it is empty, zero or false: `omitempty` on a value.
    WhenNotZero,
    /// Written always, as the zero value if need be: no `omitempty`, or a struct by value, which it never leaves out.
    Always,
    /// Written always, as `null` when not set: a pointer without `omitempty`.
    OrNull,
}

impl Presence {
    /// Whether the field stands in every object.
    #[must_use]
    pub fn is_always(self) -> bool {
        matches!(self, Self::Always | Self::OrNull)
    }
}

/// How two versions of a field are merged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Merge {
    pub list: ListType,
    /// The keys of a [`ListType::Map`], separated by commas.
    keys: &'static str,
    /// Whether a strategic merge patch merges the elements of the list, or else replaces it.
    pub patch_merges: bool,
    /// Whether a strategic merge patch replaces the object instead of merging it.
    pub patch_replaces: bool,
    /// Whether a strategic merge patch removes the fields that it doesn't name when told to (`$retainKeys`).
    pub patch_retains_keys: bool,
    /// The field by which a strategic merge patch tells the elements of a list apart; empty for scalars.
    pub merge_key: &'static str,
    /// Whether the map is owned and merged as a whole.
    pub map_atomic: bool,
    /// Whether the object is owned and merged in parts, although others of its type are not.
    pub map_granular: bool,
}

impl Merge {
    /// Of what nothing is said.
    pub const PLAIN: Merge = Merge {
        list: ListType::Atomic,
        keys: "",
        patch_merges: false,
        patch_replaces: false,
        patch_retains_keys: false,
        merge_key: "",
        map_atomic: false,
        map_granular: false,
    };

    /// The fields by which the elements of a [`ListType::Map`] are told apart.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.keys.split(',').filter(|k| !k.is_empty())
    }
}

/// How server-side apply sees a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    Map,
}

impl Type {
    /// The field of this name. `hint` is where it is expected: one after the last found, in a text in canonical order.
    #[must_use]
    pub fn position(&self, name: &str, hint: usize) -> Option<usize> {
        if self.fields.get(hint).is_some_and(|f| f.name == name) {
            return Some(hint);
        }
        self.fields.iter().position(|f| f.name == name)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name, 0).map(|i| &self.fields[i])
    }

    /// The name without group and version, as Go has it: `PodSpec`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

impl TypeId {
    /// The type of this number.
    #[must_use]
    pub fn get(self) -> &'static Type {
        &graph().types[usize::from(self.0)]
    }
}

#[derive(Debug)]
struct Graph {
    /// Sorted by name.
    types: Vec<Type>,
}

fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| parse::graph(TEXT))
}

/// The type of this name (`core.v1.Pod`).
#[must_use]
pub fn find(name: &str) -> Option<TypeId> {
    let types = &graph().types;
    types
        .binary_search_by(|t| t.name.cmp(name))
        .ok()
        .map(|i| TypeId(u16::try_from(i).expect("the parser counted them")))
}

/// The type of a kind, by group (`events.k8s.io`), version and kind.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<TypeId> {
    let package = match group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    find(&format!("{package}.{version}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_link_to_each_other() {
        let pod = find_kind("", "v1", "Pod").expect("a pod").get();
        let Shape::Object(spec) = pod.field("spec").expect("a spec").shape else { panic!("an object") };
        let containers = spec.get().field("containers").expect("containers");
        assert_eq!(containers.merge.keys().collect::<Vec<_>>(), ["name"]);
        assert!(containers.merge.patch_merges);
        assert_eq!(containers.presence, Presence::Always);
        assert_eq!(spec.get().short_name(), "PodSpec");
        assert!(find_kind("events.k8s.io", "v1", "Event").is_some());
        assert!(find("core.v1.Nothing").is_none());
    }

    /// Every list and map that Kubernetes says a word about is merged as it says.
    #[test]
    fn fields_are_merged_by_the_published_keys() {
        let (mut types, mut seen) = (0, 0);
        for line in include_str!("../../schema/keys.tsv").lines().skip(1) {
            let mut words = line.split('\t').chain(std::iter::repeat("")).take(7);
            let [type_, field, list, keys, strategy, merge_key, map] =
                std::array::from_fn(|_| words.next().unwrap_or_default());
            let short: Vec<&str> = type_.rsplit('.').take(3).collect();
            let Some(found) = find(&format!("{}.{}.{}", short[2], short[1], short[0])) else {
                assert!(type_.starts_with("io.k8s.apimachinery."), "{type_}");
                continue;
            };
            if field.is_empty() {
                assert!(found.get().atomic, "{type_}");
                types += 1;
                continue;
            }
            let merge = found.get().field(field).unwrap_or_else(|| panic!("{type_}.{field}")).merge;
            let expected = match list {
                "map" => ListType::Map,
                "set" => ListType::Set,
                _ => ListType::Atomic,
            };
            let strategies = |one: &str| strategy.split(',').any(|strategy| strategy == one);
            assert_eq!((merge.list, merge.keys, merge.merge_key), (expected, keys, merge_key), "{type_}.{field}");
            assert_eq!(
                (merge.patch_merges, merge.patch_replaces, merge.patch_retains_keys),
                (strategies("merge"), strategies("replace"), strategies("retainKeys")),
                "{type_}.{field}"
            );
            assert_eq!((merge.map_atomic, merge.map_granular), (map == "atomic", map == "granular"), "{type_}.{field}");
            seen += 1;
        }
        assert!(types > 20 && seen > 390, "{types} {seen}");
    }

    #[test]
    fn fields_fit_the_decoders_bitset() {
        assert!(graph().types.iter().all(|t| t.fields.len() <= 128));
    }
}
