//! Random histories of writes: what a watch replays from any version makes of the list of that version the list of now,
//! for every selector; and to apply what was just applied writes nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Client, Server, revision};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const EVERYWHERE: &str = "/api/v1/configmaps";
/// What is asked for, and in which of the two places; each of them selects the object that is made last.
const SELECTORS: [(&str, &str); 6] = [
    (MAPS, ""),
    (EVERYWHERE, ""),
    (MAPS, "&labelSelector=l%3D1"),
    (MAPS, "&labelSelector=l%21%3D2"),
    (EVERYWHERE, "&labelSelector=l%20in%20(0,1)"),
    (MAPS, "&fieldSelector=metadata.name%21%3Dm1"),
];
const APPLY: &str = "application/apply-patch+yaml";

/// A write of one of a few objects.
#[derive(Clone, Debug)]
enum Write {
    Create(u8, u8),
    Label(u8, u8),
    Data(u8, u8),
    Delete(u8),
    /// As a manager, with force or without; and once more.
    Apply(u8, u8, bool, Value),
    /// With a finalizer, which delays its end; and without.
    Finalize(u8, bool),
}

/// What is applied. No empty maps: they are owned and not stored, so that Kubernetes itself finds another object when it
/// is told the same again.
fn config() -> impl Strategy<Value = Value> {
    let pairs = || prop::collection::btree_map("[abc]", "[xyz]", 1..3);
    (prop::option::of(pairs()), prop::option::of(pairs()), prop::option::of(0..3_u8)).prop_map(
        |(data, notes, label)| {
            let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap"});
            if let Some(data) = data {
                config["data"] = json!(data);
            }
            if let Some(notes) = notes {
                config["metadata"]["annotations"] = json!(notes);
            }
            if let Some(label) = label {
                config["metadata"]["labels"] = json!({"l": label.to_string()});
            }
            config
        },
    )
}

fn write() -> impl Strategy<Value = Write> {
    let name = || 0..4_u8;
    prop_oneof![
        3 => (name(), 0..3_u8).prop_map(|(name, label)| Write::Create(name, label)),
        2 => (name(), 0..3_u8).prop_map(|(name, label)| Write::Label(name, label)),
        1 => (name(), 0..3_u8).prop_map(|(name, data)| Write::Data(name, data)),
        2 => name().prop_map(Write::Delete),
        3 => (name(), 0..2_u8, any::<bool>(), config()).prop_map(|(name, by, force, config)| Write::Apply(name, by, force, config)),
        1 => (name(), any::<bool>()).prop_map(|(name, with)| Write::Finalize(name, with)),
    ]
}

async fn run(client: &Client, write: &Write) {
    let path = |name: &u8| format!("{MAPS}/m{name}");
    match write {
        Write::Create(name, label) => {
            client.post(MAPS, support::config_map(&format!("m{name}"), &label.to_string())).await;
        }
        Write::Label(name, label) => {
            client.merge(&path(name), json!({"metadata": {"labels": {"l": label.to_string()}}})).await;
        }
        Write::Data(name, data) => {
            client.merge(&path(name), json!({"data": {"k": data.to_string()}})).await;
        }
        Write::Delete(name) => {
            client.delete(&path(name)).await;
        }
        Write::Finalize(name, with) => {
            let finalizers = if *with { json!(["a.test/b"]) } else { Value::Null };
            client.merge(&path(name), json!({"metadata": {"finalizers": finalizers}})).await;
        }
        Write::Apply(name, by, force, config) => {
            let mut config = config.clone();
            config["metadata"]["name"] = json!(format!("m{name}"));
            let path = format!("{}?fieldManager=m{by}&force={force}", path(name));
            let apply = || client.call("PATCH", &path, APPLY, config.to_string());
            let first = apply().await;
            assert!(matches!(first.code, 200 | 201 | 409), "{first:?}");
            if first.code != 409 {
                let again = apply().await.is(200);
                assert_eq!(again, first.body, "applied again: {config}");
            }
        }
    }
}

/// Objects by their names, as a list and a watch both show them: an entry of a list does not say its kind.
type Objects = BTreeMap<String, (Value, Value)>;

fn put(objects: &mut Objects, object: &Value) -> Option<(Value, Value)> {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    objects.insert(name, (object["metadata"].clone(), object["data"].clone()))
}

async fn list(client: &Client, path: &str, query: &str) -> Objects {
    let list = client.get(&format!("{path}?{query}")).await.is(200);
    let mut objects = Objects::new();
    list["items"].as_array().unwrap().iter().for_each(|item| assert!(put(&mut objects, item).is_none()));
    objects
}

/// What a watch from `version` makes of the list of `version`, once it was told of `end`.
async fn replayed(client: &Client, (path, selector): (&str, &str), version: u64, end: u64) -> Objects {
    let mut objects =
        list(client, path, &format!("resourceVersion={version}&resourceVersionMatch=Exact{selector}")).await;
    if version == end {
        return objects;
    }
    let mut watch = client.watch(&format!("{path}?watch=1&resourceVersion={version}{selector}")).await;
    let mut at = version;
    while at < end {
        let (kind, object) = watch.next().await.unwrap();
        assert!(revision(&object) > at, "told of {} after {at}", revision(&object));
        at = revision(&object);
        match kind.as_str() {
            "ADDED" => assert!(put(&mut objects, &object).is_none(), "added what was there: {object}"),
            "MODIFIED" => assert!(put(&mut objects, &object).is_some(), "modified what was not there: {object}"),
            "DELETED" => assert!(objects.remove(object["metadata"]["name"].as_str().unwrap()).is_some()),
            other => panic!("{other}: {object}"),
        }
    }
    objects
}

/// What a watch says that begins with everything.
async fn initial(client: &Client, (path, selector): (&str, &str)) -> Objects {
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{path}?{query}{selector}")).await;
    let mut objects = Objects::new();
    loop {
        let (kind, object) = watch.next().await.unwrap();
        if kind == "BOOKMARK" {
            return objects;
        }
        assert_eq!(kind, "ADDED");
        assert!(put(&mut objects, &object).is_none());
    }
}

async fn holds(writes: Vec<Write>) {
    let server = Server::start().await;
    let client = server.client();
    let start = revision(&client.get(MAPS).await.is(200));
    let mut versions = vec![start];
    let mut history = client.watch(&format!("{MAPS}?watch=1&resourceVersion={start}")).await;
    for write in &writes {
        run(&client, write).await;
    }
    let end = revision(&client.post(MAPS, support::config_map("end", "1")).await.is(201));
    while versions.last() != Some(&end) {
        versions.push(revision(&history.next().await.unwrap().1));
    }
    for selector in SELECTORS {
        let now = list(&client, selector.0, selector.1).await;
        for version in &versions {
            assert_eq!(replayed(&client, selector, *version, end).await, now, "{selector:?} from {version}");
        }
        assert_eq!(initial(&client, selector).await, now, "{selector:?} from nothing");
        // The same in pages.
        let (mut pages, mut next) = (Objects::new(), String::new());
        loop {
            let page = client.get(&format!("{}?limit=2&continue={next}{}", selector.0, selector.1)).await.is(200);
            page["items"].as_array().unwrap().iter().for_each(|item| assert!(put(&mut pages, item).is_none()));
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => next = token.to_owned(),
                _ => break,
            }
        }
        assert_eq!(pages, now, "{selector:?} in pages");
    }
    server.shutdown.cancel();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_told_from_any_version(writes in prop::collection::vec(write(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(holds(writes));
    }
}
