//! The contract of watches under concurrent writers and restarts, as etcd's own tests put it: ordered, no gap, no
//! repetition, resumable; and what is replayed from any version is what is listed later.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_apiserver::{ApiServer, Config, Identity, NoNodes, Pki};
use coracle_store::MemoryStore;
use serde_json::{Value, json};
use support::{Client, config_map, revision};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 6;
const WRITES: usize = 80;
const RESTARTS: usize = 3;
/// Selectors of the watchers, all objects or those that come and go as their label changes, each with the last object
/// that it selects.
const SELECTORS: [(&str, &str); 3] =
    [("", "end-2"), ("&labelSelector=l%3D1", "end-1"), ("&labelSelector=l%21%3D1", "end-2")];

/// A server that is stopped and started again over one store, and whoever is its client now.
struct Restarted {
    store: Arc<MemoryStore>,
    pki: Arc<Pki>,
    running: Option<(ApiServer, CancellationToken)>,
    client: Arc<Mutex<Client>>,
}

impl Restarted {
    async fn start() -> Self {
        let (store, pki) = (Arc::new(MemoryStore::new()), Arc::new(Pki::in_memory().unwrap()));
        let (server, shutdown) = Self::run(&store, &pki).await;
        let client = Arc::new(Mutex::new(Client(server.in_process(Identity::admin()))));
        Self { store, pki, running: Some((server, shutdown)), client }
    }

    async fn run(store: &Arc<MemoryStore>, pki: &Arc<Pki>) -> (ApiServer, CancellationToken) {
        let mut config = Config::new(pki.clone());
        config.require_service_accounts = false;
        config.listen = None;
        let shutdown = CancellationToken::new();
        let server = coracle_apiserver::start(config, store.clone(), Arc::new(NoNodes), shutdown.clone());
        (server.await.unwrap(), shutdown)
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap().clone()
    }

    async fn restart(&mut self) {
        let (server, shutdown) = self.running.take().unwrap();
        shutdown.cancel();
        server.stopped().await.unwrap();
        let (server, shutdown) = Self::run(&self.store, &self.pki).await;
        *self.client.lock().unwrap() = Client(server.in_process(Identity::admin()));
        self.running = Some((server, shutdown));
    }
}

/// What a watcher was told: the revisions in their order, and the objects that it ends up with.
#[derive(Default)]
struct Told {
    revisions: Vec<u64>,
    objects: BTreeMap<String, Value>,
}

impl Told {
    fn take(&mut self, kind: &str, object: Value) {
        self.revisions.push(revision(&object));
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match kind {
            "ADDED" => assert!(self.objects.insert(name, object).is_none(), "added what was there"),
            "MODIFIED" => assert!(self.objects.insert(name, object).is_some(), "modified what was not there"),
            "DELETED" => assert!(self.objects.remove(&name).is_some(), "deleted what was not there"),
            other => panic!("{other}: {object}"),
        }
    }
}

/// Watches from `start` until the object `end` was told, over however many watches that takes.
async fn follow(client: Arc<Mutex<Client>>, (selector, end): (&str, &str), start: u64) -> Told {
    let mut told = Told::default();
    let mut at = start;
    while !told.objects.contains_key(end) {
        let current = client.lock().unwrap().clone();
        let path = format!("{MAPS}?watch=1&resourceVersion={at}{selector}");
        // It may be just being restarted.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let response = current.send("GET", &path, "application/json", "").await;
        if response.status() != 200 {
            continue;
        }
        let mut watch = support::Watch::of(response);
        while let Some((kind, object)) = watch.next().await {
            at = revision(&object);
            told.take(&kind, object);
            if told.objects.contains_key(end) {
                break;
            }
        }
    }
    told
}

/// Creates, changes, labels and deletes a few objects that others write too; gives the revisions of what was
/// acknowledged.
async fn write(client: Arc<Mutex<Client>>, writer: usize) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for n in 0..WRITES {
        let client = client.lock().unwrap().clone();
        let name = format!("m{}", (writer * 3 + n) % 7);
        let path = format!("{MAPS}/{name}");
        let answer = match (writer + n) % 5 {
            0 => client.post(MAPS, config_map(&name, "1")).await,
            1 => client.merge(&path, json!({"metadata": {"labels": {"l": format!("{}", n % 2)}}})).await,
            4 => client.delete(&path).await,
            _ => client.merge(&path, json!({"data": {"k": format!("{writer}-{n}")}})).await,
        };
        if matches!(answer.code, 200 | 201) && answer.body["kind"] == "ConfigMap" {
            acknowledged.push(revision(&answer.body));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    acknowledged
}

async fn list(client: &Client, query: &str) -> BTreeMap<String, Value> {
    let list = client.get(&format!("{MAPS}?{query}")).await.is(200);
    let items = list["items"].as_array().unwrap().iter().cloned();
    items.map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), item)).collect()
}

/// Objects as a list and a watch both show them: an entry of a list does not say its kind.
fn shown(objects: &BTreeMap<String, Value>) -> BTreeMap<&str, (&Value, &Value)> {
    objects.iter().map(|(name, object)| (&**name, (&object["metadata"], &object["data"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watches_hold_their_contract_over_restarts() {
    let mut server = Restarted::start().await;
    let start = revision(&server.client().get(MAPS).await.is(200));
    let watchers: Vec<_> = SELECTORS
        .iter()
        .chain(&SELECTORS)
        .map(|selector| tokio::spawn(follow(server.client.clone(), *selector, start)))
        .collect();
    let mut writers: JoinSet<_> = (0..WRITERS).map(|writer| write(server.client.clone(), writer)).collect();
    for _ in 0..RESTARTS {
        tokio::time::sleep(Duration::from_millis(60)).await;
        server.restart().await;
    }
    let mut acknowledged = BTreeSet::new();
    while let Some(revisions) = writers.join_next().await {
        acknowledged.extend(revisions.unwrap());
    }
    let client = server.client();
    for label in ["1", "2"] {
        client.post(MAPS, config_map(&format!("end-{label}"), label)).await.is(201);
    }

    let mut histories = Vec::new();
    for (watcher, (selector, _)) in watchers.into_iter().zip(SELECTORS.iter().cycle()) {
        let told = tokio::time::timeout(Duration::from_secs(30), watcher).await.expect("the watch goes on").unwrap();
        assert!(told.revisions.is_sorted_by(|a, b| a < b), "out of order, or repeated: {selector}");
        assert_eq!(shown(&told.objects), shown(&list(&client, selector).await), "{selector}");
        histories.push(told.revisions);
    }
    assert_eq!(histories[..3], histories[3..], "watchers of the same were told differently");
    let all: BTreeSet<u64> = histories[0].iter().copied().collect();
    assert!(acknowledged.is_subset(&all), "acknowledged, but not told: {:?}", acknowledged.difference(&all));

    // What was there at any version, and what is told since, is what is there now.
    for version in histories[0].iter().step_by(17) {
        for selector in SELECTORS {
            let at = format!("resourceVersion={version}&resourceVersionMatch=Exact{}", selector.0);
            let objects = list(&client, &at).await;
            let mut told = Told { objects, ..Told::default() };
            if !told.objects.contains_key(selector.1) {
                let path = format!("{MAPS}?watch=1&resourceVersion={version}{}", selector.0);
                let mut watch = client.watch(&path).await;
                while !told.objects.contains_key(selector.1) {
                    let (kind, object) = watch.next().await.unwrap();
                    told.take(&kind, object);
                }
            }
            assert_eq!(shown(&told.objects), shown(&list(&client, selector.0).await), "from {version}");
        }
    }
}
