//! The contract of watches: ordered, no gap, no repetition, resumable.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_apiserver::limits;
use serde_json::json;
use support::{Server, config_map, pod, revision};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn changes_are_told_in_their_order() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let mut watch = client.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.told().await, "ADDED a");
    client.post(MAPS, config_map("b", "1")).await.is(201);
    client.merge(&format!("{MAPS}/a"), json!({"data": {"k": "w"}})).await.is(200);
    let deleted = client.delete(&format!("{MAPS}/b")).await.is(200);
    assert_eq!(deleted["status"], "Success");
    for expected in ["ADDED b", "MODIFIED a", "DELETED b"] {
        assert_eq!(watch.told().await, expected);
    }
}

#[tokio::test]
async fn who_comes_to_be_selected_is_added_and_who_leaves_is_deleted() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let mut watch = client.watch(&format!("{MAPS}?watch=1&labelSelector=l%3D2")).await;
    for label in ["2", "2", "3", "2"] {
        let patch = json!({"metadata": {"labels": {"l": label}}, "data": {"k": uuid()}});
        client.merge(&format!("{MAPS}/a"), patch).await.is(200);
    }
    for expected in ["ADDED a", "MODIFIED a", "DELETED a", "ADDED a"] {
        assert_eq!(watch.told().await, expected);
    }
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[tokio::test]
async fn a_kubelet_hears_of_its_own_pods() {
    let server = Server::start().await;
    let client = server.client();
    let pods = "/api/v1/namespaces/default/pods";
    let mut watch = client.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1").await;
    for (name, node) in [("a", "n2"), ("b", "n1")] {
        client.post(pods, pod(name)).await.is(201);
        client.post(&format!("{pods}/{name}/binding"), json!({"target": {"name": node}})).await.is(201);
    }
    client.delete(&format!("{pods}/b?gracePeriodSeconds=0")).await.is(200);
    for expected in ["ADDED b", "DELETED b"] {
        assert_eq!(watch.told().await, expected);
    }
}

#[tokio::test]
async fn a_streamed_list_is_ended_by_a_bookmark() {
    let server = Server::start().await;
    let client = server.client();
    let made = revision(&client.post(MAPS, config_map("a", "1")).await.is(201));
    let options = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{MAPS}?{options}")).await;
    assert_eq!(watch.told().await, "ADDED a");
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(revision(&object) >= made);
    client.post(MAPS, config_map("b", "1")).await.is(201);
    assert_eq!(watch.told().await, "ADDED b");
}

#[tokio::test]
async fn the_past_is_replayed_until_it_is_forgotten() {
    let server = Server::start().await;
    let client = server.client();
    let first = revision(&client.post(MAPS, config_map("a", "1")).await.is(201));
    let second = revision(&client.merge(&format!("{MAPS}/a"), json!({"data": {"k": "0"}})).await.is(200));
    let mut watch = client.watch(&format!("{MAPS}?watch=1&resourceVersion={first}")).await;
    assert_eq!(revision(&watch.next().await.unwrap().1), second);
    for n in 0..limits::RECENT_EVENTS_PER_KIND {
        client.merge(&format!("{MAPS}/a"), json!({"data": {"k": format!("x{n}")}})).await.is(200);
    }
    let mut watch = client.watch(&format!("{MAPS}?watch=1&resourceVersion={first}")).await;
    let (kind, status) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), status["code"].as_i64()), ("ERROR", Some(410)));
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_in_its_time_and_is_told_how_far_it_came() {
    let server = Server::start().await;
    let client = server.client();
    let path = format!("{MAPS}?watch=1&timeoutSeconds=90&allowWatchBookmarks=true&resourceVersion=1");
    let mut watch = client.watch(&path).await;
    let started = tokio::time::Instant::now();
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), object["kind"].as_str()), ("BOOKMARK", Some("ConfigMap")));
    assert_eq!(started.elapsed().as_secs(), limits::BOOKMARK_INTERVAL.as_secs());
    assert_eq!(watch.told().await, "BOOKMARK ");
    assert!(watch.next().await.is_none());
    assert_eq!(started.elapsed().as_secs(), 90);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_holds_nobody_up() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let mut watch = client.watch(&format!("{MAPS}?watch=1")).await;
    for n in 0..=limits::EVENTS_PER_WATCHER_MAX {
        client.merge(&format!("{MAPS}/a"), json!({"data": {"k": format!("{n}")}})).await.is(200);
    }
    let mut told = 0;
    while watch.next().await.is_some() {
        told += 1;
    }
    assert!(told <= limits::EVENTS_PER_WATCHER_MAX, "{told}");
}

/// Many write at once; each of several watchers, some of which break off and resume, sees every change once, in the
/// order of revisions, and ends up with what a list has.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_sees_every_change_once() {
    const WRITERS: usize = 8;
    const WRITES: usize = 60;
    let server = Server::start().await;
    let client = server.client();
    let start = revision(&client.get(MAPS).await.is(200));
    let watchers: Vec<_> = (0..4)
        .map(|index| {
            let client = client.clone();
            tokio::spawn(async move { follow(client, start, index * 7).await })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..WRITES {
                    let name = format!("m{}", (writer + n) % 5);
                    let path = format!("{MAPS}/{name}");
                    match n % 4 {
                        0 => drop(client.post(MAPS, config_map(&name, "1")).await),
                        3 => drop(client.delete(&path).await),
                        _ => drop(client.merge(&path, json!({"data": {"k": format!("{writer}-{n}")}})).await),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    client.post(MAPS, config_map("end", "1")).await.is(201);
    let list = client.get(MAPS).await.is(200);
    let listed: BTreeMap<String, u64> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), revision(item)))
        .collect();
    let mut histories = Vec::new();
    for watcher in watchers {
        let (history, state) = watcher.await.unwrap();
        assert_eq!(state, listed);
        histories.push(history);
    }
    assert!(histories.windows(2).all(|pair| pair[0] == pair[1]), "watchers saw different histories");
    assert!(histories[0].is_sorted_by(|a, b| a < b), "out of order, or repeated");
}

/// Watches until the object `end` is there, breaking off after every `patience` events (0: never).
async fn follow(client: support::Client, start: u64, patience: usize) -> (Vec<u64>, BTreeMap<String, u64>) {
    let (mut history, mut state) = (Vec::new(), BTreeMap::new());
    let mut at = start;
    loop {
        let mut watch = client.watch(&format!("{MAPS}?watch=1&resourceVersion={at}")).await;
        let mut seen = 0;
        while patience == 0 || seen < patience {
            let next = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("the watch goes on");
            let (kind, object) = next.expect("nobody is that slow");
            let (name, revision) = (object["metadata"]["name"].as_str().unwrap().to_owned(), revision(&object));
            history.push(revision);
            at = revision;
            seen += 1;
            match kind.as_str() {
                "DELETED" => drop(state.remove(&name)),
                _ => drop(state.insert(name.clone(), revision)),
            }
            if name == "end" {
                return (history, state);
            }
        }
    }
}
