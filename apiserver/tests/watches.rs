//! The contract of watches: ordered, no gap, no repetition, resumable.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use coracle_apiserver::limits;
use http::Request;
use serde_json::{Value, json};
use support::{Server, Watch, config_map, pod, revision};
use tower::Service as _;

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

/// The next event as its type and what is to be seen of its object.
async fn seen(watch: &mut Watch, what: impl Fn(&Value) -> Value) -> (String, Value) {
    let (kind, object) = watch.next().await.unwrap();
    (kind, what(&object))
}

#[tokio::test]
async fn a_watch_from_nowhere_ends_what_was_present_with_a_bookmark() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    client.post("/api/v1/namespaces/default/pods", pod("p")).await.is(201);
    let marks = |object: &Value| object["metadata"]["annotations"]["k8s.io/initial-events-end"].clone();
    for query in ["resourceVersion=0", "resourceVersion=", "sendInitialEvents=1&resourceVersionMatch=NotOlderThan"] {
        let mut watch = client.watch(&format!("{MAPS}?watch&allowWatchBookmarks=true&{query}")).await;
        assert_eq!(watch.told().await, "ADDED a", "{query}");
        assert_eq!(seen(&mut watch, marks).await, ("BOOKMARK".to_owned(), json!("true")), "{query}");
    }
    // It is an object of the kind, with what Go writes of one that has nothing.
    let mut watch = client.watch("/api/v1/pods?watch=1&allowWatchBookmarks=true").await;
    assert_eq!(watch.told().await, "ADDED p");
    let (_, mut bookmark) = watch.next().await.unwrap();
    bookmark["metadata"].as_object_mut().unwrap().remove("resourceVersion").unwrap();
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"annotations": {"k8s.io/initial-events-end": "true"}},
        "spec": {"containers": null},
        "status": {},
    });
    assert_eq!(bookmark, expected);
    // Nobody said that bookmarks are wanted; and the older path says nothing of what was present.
    for path in
        [format!("{MAPS}?watch=1"), "/api/v1/watch/namespaces/default/configmaps?allowWatchBookmarks=1".to_owned()]
    {
        let mut watch = client.watch(&path).await;
        assert_eq!(watch.told().await, "ADDED a", "{path}");
        client.merge(&format!("{MAPS}/a"), json!({"data": {"k": uuid()}})).await.is(200);
        assert_eq!(watch.told().await, "MODIFIED a", "{path}");
    }
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let server = Server::start().await;
    let client = server.client();
    for name in ["a", "b"] {
        client.post(MAPS, config_map(name, "1")).await.is(201);
    }
    let older = "/api/v1/watch/namespaces/default/configmaps/a";
    for path in [format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Da"), older.to_owned()] {
        let mut watch = client.watch(&path).await;
        assert_eq!(watch.told().await, "ADDED a", "{path}");
        for name in ["b", "a"] {
            client.merge(&format!("{MAPS}/{name}"), json!({"data": {"k": uuid()}})).await.is(200);
        }
        assert_eq!(watch.told().await, "MODIFIED a", "{path}");
    }
    // The name of an object says that it is wanted, and not what becomes of it.
    assert_eq!(client.get(&format!("{MAPS}/a?watch=1")).await.is(200)["kind"], "ConfigMap");
    let refused = client.get(&format!("{older}?fieldSelector=metadata.name%3Db")).await.is(400);
    assert_eq!(refused["message"], "fieldSelector metadata.name doesn't match requested name");
}

#[tokio::test]
async fn a_watch_is_shown_as_a_list_is() {
    let server = Server::start().await;
    let client = server.client();
    client.post(MAPS, config_map("a", "1")).await.is(201);
    let open = async |accept: &str, query: &str| {
        let request =
            Request::builder().uri(format!("{MAPS}?watch=1&allowWatchBookmarks=1{query}")).header("accept", accept);
        let Ok(response) = client.0.clone().call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        Watch::of(response)
    };
    let row = |table: &Value| {
        let heads = table["columnDefinitions"].as_array().map_or(0, Vec::len);
        let object = &table["rows"][0]["object"];
        json!([table["kind"], heads, table["rows"][0]["cells"][0], object["kind"], object["metadata"]["annotations"]])
    };
    let end = json!({"k8s.io/initial-events-end": "true"});
    for (query, beside, at_end) in [
        ("", json!("PartialObjectMetadata"), json!("PartialObjectMetadata")),
        ("&includeObject=Object", json!("ConfigMap"), json!("ConfigMap")),
        ("&includeObject=None", Value::Null, json!("PartialObjectMetadata")),
    ] {
        let mut watch = open("application/json;as=Table;g=meta.k8s.io;v=v1", query).await;
        assert_eq!(
            seen(&mut watch, row).await,
            ("ADDED".to_owned(), json!(["Table", 3, "a", beside, null])),
            "{query}"
        );
        let bookmark = seen(&mut watch, row).await;
        assert_eq!(bookmark, ("BOOKMARK".to_owned(), json!(["Table", 0, "", at_end, end])), "{query}");
        client.merge(&format!("{MAPS}/a"), json!({"data": {"k": uuid()}})).await.is(200);
        assert_eq!(seen(&mut watch, row).await.1, json!(["Table", 0, "a", beside, null]), "{query}");
    }
    let kinds = |object: &Value| json!([object["kind"], object["data"].is_object()]);
    for (form, expected) in [
        ("PartialObjectMetadata", json!(["PartialObjectMetadata", false])),
        // What is no list has no such form, and is shown as it is.
        ("PartialObjectMetadataList", json!(["ConfigMap", true])),
    ] {
        let mut watch = open(&format!("application/json;as={form};g=meta.k8s.io;v=v1"), "").await;
        assert_eq!(seen(&mut watch, kinds).await, ("ADDED".to_owned(), expected), "{form}");
    }
    for (accept, code) in [("application/yaml", 406), ("application/json;stream=watch", 200), ("text/html", 406)] {
        let request = Request::builder().uri(format!("{MAPS}?watch=1&timeoutSeconds=1")).header("accept", accept);
        let Ok(response) = client.0.clone().call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), code, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn why_there_is_no_watch_is_told_in_it() {
    let server = Server::start().await;
    let client = server.client();
    let future = "watch=1&resourceVersion=99999&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut watch = client.watch(&format!("{MAPS}?{future}")).await;
    let (kind, status) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &status["code"], &status["reason"]), ("ERROR", &json!(504), &json!("Timeout")));
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert!(watch.next().await.is_none());
    // What is not there yet can be waited for; and nobody waits for less than no time.
    let started = tokio::time::Instant::now();
    for (query, seconds) in [("timeoutSeconds=5&resourceVersion=99999", 5), ("timeoutSeconds=-1", 0)] {
        let before = started.elapsed();
        let mut watch = client.watch(&format!("/api/v1/namespaces/none/configmaps?watch=1&{query}")).await;
        assert!(watch.next().await.is_none(), "{query}");
        assert_eq!((started.elapsed() - before).as_secs(), seconds, "{query}");
    }
    // Otherwise a watch lasts between the shortest time and its double.
    let (before, mut watch) = (started.elapsed(), client.watch("/api/v1/namespaces/none/configmaps?watch=1").await);
    assert!(watch.next().await.is_none());
    let lasted = started.elapsed() - before;
    assert!(lasted >= limits::WATCH_DURATION_MIN && lasted <= limits::WATCH_DURATION_MIN * 2, "{lasted:?}");
}
