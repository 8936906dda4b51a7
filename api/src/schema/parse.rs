//! Reads `types.txt`: a line `@name` opens a type, each line below is a field as `name shape presence [key=value]…`.
//!
//! The text is compiled in and made by a script, so a line that can't be read is a bug, which the tests of the crate find.

use std::collections::HashMap;

use super::{Field, Graph, ListType, Merge, Presence, Shape, Type, TypeId};

/// Builds the graph; types are in the text's order, which is that of their names.
pub(super) fn graph(text: &'static str) -> Graph {
    let ids: HashMap<&str, TypeId> = text
        .lines()
        .filter_map(|line| line.strip_prefix('@'))
        .enumerate()
        .map(|(i, head)| (name_of(head), TypeId(u16::try_from(i).expect("fewer than 65,536 types"))))
        .collect();
    let types = text.split('@').skip(1).map(|block| read_type(block, &ids)).collect();
    Graph { types }
}

fn name_of(head: &str) -> &str {
    head.split(' ').next().unwrap_or(head)
}

fn read_type(block: &'static str, ids: &HashMap<&str, TypeId>) -> Type {
    let mut lines = block.lines();
    let head = lines.next().unwrap_or_default();
    Type { name: name_of(head), atomic: head.ends_with(" atomic"), fields: lines.map(|l| read_field(l, ids)).collect() }
}

fn read_field(line: &'static str, ids: &HashMap<&str, TypeId>) -> Field {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (name, shape, presence) = (word(), word(), word());
    let presence = match presence {
        "p" => Presence::WhenSet,
        "o" => Presence::WhenNotZero,
        "n" => Presence::OrNull,
        _ => Presence::Always,
    };
    Field { name, shape: read_shape(shape, ids), presence, merge: read_merge(words) }
}

fn read_shape(text: &str, ids: &HashMap<&str, TypeId>) -> Shape {
    match text.split_at(1) {
        ("[", element) => Shape::List(element_of(element, ids)),
        ("{", element) => Shape::Map(element_of(element, ids)),
        ("#", name) => Shape::Object(ids[name]),
        ("s", _) => Shape::String,
        ("b", _) => Shape::Bool,
        ("i", _) => Shape::Int32,
        ("l", _) => Shape::Int64,
        ("f", _) => Shape::Float,
        ("y", _) => Shape::Bytes,
        ("q", _) => Shape::Quantity,
        ("t", _) => Shape::Time,
        ("u", _) => Shape::MicroTime,
        ("x", _) => Shape::IntOrString,
        _ => Shape::Any,
    }
}

/// Elements are leaked: the graph lives as long as the process, and there are a few hundred.
fn element_of(text: &str, ids: &HashMap<&str, TypeId>) -> &'static Shape {
    Box::leak(Box::new(read_shape(text, ids)))
}

fn read_merge(words: std::str::Split<'static, char>) -> Merge {
    let mut merge = Merge::default();
    for (key, value) in words.filter_map(|w| w.split_once('=')) {
        match key {
            "list" => {
                merge.list = match value {
                    "set" => ListType::Set,
                    "map" => ListType::Map,
                    _ => ListType::Atomic,
                }
            }
            "keys" => merge.keys = value,
            "patch" => {
                merge.patch_merges = value.split(',').any(|s| s == "merge");
                merge.patch_replaces = value == "replace";
                merge.patch_retains_keys = value.split(',').any(|s| s == "retainKeys");
            }
            "merge" => merge.merge_key = value,
            _ => (merge.map_atomic, merge.map_granular) = (value == "atomic", value == "granular"),
        }
    }
    merge
}
