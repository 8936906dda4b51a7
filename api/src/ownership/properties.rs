//! What must hold of the owners of any object of any kind.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::schema::tape::{object, tape, typed};

/// Names as they may stand in a step.
const NAMES: [&str; 8] = ["a", "b", "", "é\"\\\n", "f:", ".", "a.b/c[0]", "0"];

fn scalar() -> impl Strategy<Value = Scalar<'static>> {
    prop_oneof![
        any::<i64>().prop_map(|whole| Scalar::Number(Number::Whole(whole))),
        (-3_i64..3).prop_map(|whole| Scalar::Number(Number::Whole(whole))),
        any::<f64>().prop_filter("JSON has it", |f| f.is_finite()).prop_map(|real| Scalar::Number(Number::Real(real))),
        prop::sample::select(&NAMES[..]).prop_map(|text| Scalar::String(text.into())),
        any::<bool>().prop_map(Scalar::Bool),
        Just(Scalar::Null),
    ]
}

fn step() -> impl Strategy<Value = Step<'static>> {
    let keys = prop::collection::btree_map(prop::sample::select(&NAMES[..]), scalar(), 1..3);
    prop_oneof![
        4 => prop::sample::select(&NAMES[..]).prop_map(|name| Step::Field(name.into())),
        1 => keys.prop_map(|keys| Step::Key(keys.into_iter().map(|(name, value)| (name.into(), value)).collect())),
        1 => scalar().prop_map(Step::Value),
        1 => (0_i64..4).prop_map(Step::Index),
    ]
}

type Paths = BTreeSet<Vec<Step<'static>>>;

fn paths() -> impl Strategy<Value = Paths> {
    prop::collection::btree_set(prop::collection::vec(step(), 1..4), 0..12)
}

fn set(paths: &Paths) -> Set<'_> {
    let mut set = Set::default();
    paths.iter().for_each(|path| set.insert(path));
    set
}

/// The paths of a set.
fn told(set: &Set<'_>) -> Paths {
    fn tell(set: &Set<'_>, prefix: &[Step<'static>], told: &mut Paths) {
        for node in set.nodes() {
            let path = [prefix, &[node.step.clone().into_owned()]].concat();
            tell(&node.below, &path, told);
            if node.is_member {
                told.insert(path);
            }
        }
    }
    let mut all = Paths::new();
    tell(set, &[], &mut all);
    all
}

/// A configuration without anything empty: upstream too makes a map null that it has emptied, though the applier has it
/// empty, and then applies it once more.
fn dense(value: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Object(all) => all.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(all) => {
            all.into_iter().map(|(name, one)| (name, dense(one))).filter(|(_, one)| !is_empty(one)).collect()
        }
        Value::Array(all) => all.into_iter().map(dense).filter(|one| !is_empty(one)).collect(),
        scalar => scalar,
    }
}

/// Whether one set has all steps of another.
fn leads(set: &Set<'_>, other: &Set<'_>) -> bool {
    other.nodes().iter().all(|node| {
        let own = set.get(&node.step);
        own.is_some_and(|own| node.below.is_empty() || leads(&own.below, &node.below))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_set_is_the_set_of_its_paths(one in paths(), other in paths()) {
        let (a, b) = (set(&one), set(&other));
        prop_assert_eq!(&told(&a), &one);
        let mut text = Vec::new();
        a.write(&mut text);
        let text = String::from_utf8(text).unwrap();
        let read = Set::read(&text).unwrap();
        // Of nothing is written what is written of a root that is a member.
        prop_assert_eq!(told(&read), one.clone(), "{}", text);

        let mut united = a.clone();
        united.unite(b.clone());
        prop_assert_eq!(told(&united), one.union(&other).cloned().collect());
        prop_assert_eq!(told(&a.intersection(&b)), one.intersection(&other).cloned().collect());
        let mut less = a.clone();
        less.subtract(&b);
        prop_assert_eq!(told(&less), one.difference(&other).cloned().collect());
        let mut least = a.clone();
        least.subtract_recursively(&b);
        let below = |path: &&Vec<Step<'_>>| !other.iter().any(|above| path.starts_with(above));
        prop_assert_eq!(told(&least), one.iter().filter(below).cloned().collect());
    }

    #[test]
    fn to_apply_the_same_again_changes_nothing_of_any_kind(
        kind: prop::sample::Index, first in tape(), second in tape(), third in tape(), same: bool,
    ) {
        let kind = *kind.get(&typed());
        let type_ = Type::of(kind.model.schema().unwrap());
        let make = |tape: &[u8]| {
            let mut config = dense(object(kind, tape));
            config["metadata"]["name"] = "x".into();
            config
        };
        let api_version = kind.api_version();
        let request = |manager, seconds| Request {
            manager, api_version: &api_version, subresource: "", seconds, type_,
            reset: Reset::Except(&[&["status"]]), versions: &OneVersion,
        };
        // As it is stored.
        let stored = |object: &Value| -> Value {
            let object = kind.model.decode(object.to_string().as_bytes()).unwrap();
            serde_json::from_slice(&object.encode_alone()).unwrap()
        };
        // Not every value of the type graph is one: a schema may be a boolean, but no text.
        let is_one = |tape: &[u8]| kind.model.decode(make(tape).to_string().as_bytes()).is_ok();
        prop_assume!([&first, &second, &third].into_iter().all(|tape| is_one(tape)));
        let zero = stored(&serde_json::json!({"metadata": {}}));
        // One applies; another writes the whole; a third applies what may be much the same as the first.
        let mut object = zero.clone();
        let mut managed = Vec::new();
        let apply = |object: &mut Value, managed: &mut Vec<u8>, manager, seconds, config: &Value| {
            let live = object.clone();
            let applied = request(manager, seconds).apply(&zero, &live, managed, config, true)?;
            let new = applied.object.map_or(live, |object| stored(&object));
            // As no write is made of a change of times alone.
            let with = |object: &Value, managed: &[u8]| codec::join_managed(object.to_string().into(), managed);
            if !same_but_times(&with(object, managed), &with(&new, &applied.managed)) {
                (*object, *managed) = (new, applied.managed);
            }
            Ok::<_, ApplyError>(())
        };
        let config = make(&first);
        apply(&mut object, &mut managed, "one", 1, &config).unwrap();
        let other = stored(&make(if same { &first } else { &second }));
        let (before, after) = (object.to_string(), other.to_string());
        let live = State { json: before.as_bytes(), managed: &managed };
        let kept = request("two", 2).updated(live, State { json: after.as_bytes(), managed: b"" });
        (object, managed) = (other, kept);
        for (manager, seconds, config) in [("one", 3, make(&third)), ("three", 5, make(&second)), ("one", 7, config)] {
            apply(&mut object, &mut managed, manager, seconds, &config).unwrap();
            let before = (object.clone(), managed.clone());
            apply(&mut object, &mut managed, manager, seconds + 1, &config).unwrap();
            prop_assert_eq!(&object, &before.0);
            prop_assert_eq!(String::from_utf8(managed.clone()), String::from_utf8(before.1));
            // And what was applied is there.
            let told = fields_of::fields_of(&config, type_).unwrap();
            let there = fields_of::fields_of(&object, type_).unwrap();
            prop_assert!(leads(&there, &told), "{:?} in {}", told.paths(), object);
        }
    }
}
