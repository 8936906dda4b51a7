//! An API server in memory for tests: just enough of one that informers, queues and controllers run against it, and
//! under a seed so much worse than a real one that they must prove what they promise.
//!
//! It stores any JSON object by its path, gives revisions, lists, watches (with bookmarks and initial events), binds
//! pods, and knows no validation, no admission and no selectors.

mod faults;
mod resource;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_api::Object;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::Service;

pub use self::faults::{Faults, Random};
use self::resource::Resource;
use crate::Client;
use crate::error::BoxError;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The server. Clones are the same server.
#[derive(Clone)]
pub struct FakeServer {
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
}

struct State {
    revision: u64,
    objects: BTreeMap<Resource, Value>,
    history: Vec<Change>,
    /// Watches from before this revision are told that it is gone.
    oldest: u64,
    uids: u64,
    faults: Faults,
    random: Random,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Change {
    revision: u64,
    event: &'static str,
    resource: Resource,
    object: Value,
}

/// A refusal: code, reason, message.
struct Refusal(StatusCode, &'static str, String);

impl FakeServer {
    /// A server without faults.
    pub fn new() -> Self {
        Self::seeded(0)
    }

    /// A server whose faults, once there are any, are the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        let state = State {
            revision: 1,
            objects: BTreeMap::new(),
            history: Vec::new(),
            oldest: 0,
            uids: 0,
            faults: Faults::default(),
            random: Random::new(seed),
            requests: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), revision: watch::Sender::new(1) }
    }

    pub fn client(&self) -> Client {
        Client::from_service(self.clone())
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
        // Watches that hang by a fault look again.
        self.revision.send_modify(|_| {});
    }

    /// Forgets the history, as a server does that compacts.
    pub fn compact(&self) {
        let mut state = self.state();
        state.history.clear();
        state.oldest = state.revision;
    }

    /// Writes an object as it is, without a request: creates it or replaces it.
    pub fn put<K: Object>(&self, object: &K) {
        let value: Value = serde_json::from_slice(&object.encode()).expect("an object is JSON");
        let resource = Resource::of_object::<K>(object.metadata());
        let known = self.state().objects.contains_key(&resource);
        let event = if known { "MODIFIED" } else { "ADDED" };
        self.write(event, resource, value);
    }

    /// Removes an object without a request; whether it was there.
    pub fn remove<K: Object>(&self, namespace: &str, name: &str) -> bool {
        let resource = Resource::named::<K>(namespace, name);
        let Some(object) = self.state().objects.get(&resource).cloned() else { return false };
        self.write("DELETED", resource, object);
        true
    }

    /// The objects of a kind as they are.
    pub fn all<K: Object>(&self) -> Vec<K> {
        let kind = Resource::kind::<K>();
        let state = self.state();
        let objects = state.objects.iter().filter(|(resource, _)| kind.holds(resource));
        objects
            .map(|(_, value)| K::decode(value.to_string().as_bytes()).expect("what was stored can be read"))
            .collect()
    }

    pub fn one<K: Object>(&self, namespace: &str, name: &str) -> Option<K> {
        let value = self.state().objects.get(&Resource::named::<K>(namespace, name))?.to_string();
        K::decode(value.as_bytes()).ok()
    }

    /// What was asked, as `METHOD /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Waits until `holds` says so of the server, looking after every write.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut revision = self.revision.subscribe();
        while !holds(self) {
            revision.changed().await.expect("the server has a sender");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &'static str, resource: Resource, mut object: Value) -> Value {
        let mut state = self.state();
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        if object["metadata"]["uid"].is_null() {
            let known = state.objects.get(&resource).map(|known| known["metadata"]["uid"].clone());
            state.uids += u64::from(known.is_none());
            object["metadata"]["uid"] = known.unwrap_or_else(|| json!(format!("uid-{}", state.uids)));
        }
        match event {
            "DELETED" => state.objects.remove(&resource),
            _ => state.objects.insert(resource.clone(), object.clone()),
        };
        let change = Change { revision: state.revision, event, resource, object: object.clone() };
        state.history.push(change);
        self.revision.send_replace(state.revision);
        object
    }

    async fn answer(self, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let target = request.uri().to_string();
        self.state().requests.push(format!("{} {target}", request.method()));
        let (delay, lost, broken) = {
            let mut state = self.state();
            let State { faults, random, .. } = &mut *state;
            (faults.delay(random), random.chance(faults.lost), random.chance(faults.broken))
        };
        tokio::time::sleep(delay).await;
        if lost {
            return Err("the connection was lost".into());
        }
        if broken {
            return Ok(refusal(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "injected".into())));
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let query = resource::query(parts.uri.query().unwrap_or_default());
        let Some(resource) = Resource::parse(parts.uri.path()) else {
            return Ok(refusal(Refusal(StatusCode::NOT_FOUND, "NotFound", "no such path".into())));
        };
        if query.contains_key("watch") {
            return Ok(self.watch(&resource, &query).unwrap_or_else(refusal));
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(self.handle(&parts.method, resource, body).map_or_else(refusal, |value| respond(StatusCode::OK, &value)))
    }

    fn handle(&self, method: &Method, resource: Resource, body: Value) -> Result<Value, Refusal> {
        if resource.name.is_none() && method == Method::GET {
            return Ok(self.list(&resource));
        }
        if resource.name.is_none() {
            return self.create(resource, body);
        }
        let subresource = resource.subresource.clone();
        let resource = Resource { subresource: None, ..resource };
        let current = self.state().objects.get(&resource).cloned();
        let Some(mut object) = current else {
            return Err(Refusal(StatusCode::NOT_FOUND, "NotFound", format!("{resource:?} not found")));
        };
        match (method, subresource.as_deref()) {
            (&Method::GET, _) => Ok(object),
            (&Method::DELETE, _) => Ok(self.write("DELETED", resource, object)),
            (&Method::POST, Some("binding")) => {
                if !object["spec"]["nodeName"].is_null() {
                    return Err(Refusal(StatusCode::CONFLICT, "Conflict", "already bound".into()));
                }
                object["spec"]["nodeName"] = body["target"]["name"].clone();
                self.write("MODIFIED", resource, object);
                Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            (&Method::POST, Some("token")) => Ok(self.token(&body)),
            (&Method::PUT, _) => {
                let expected = &body["metadata"]["resourceVersion"];
                if !expected.is_null() && expected != &object["metadata"]["resourceVersion"] {
                    return Err(Refusal(StatusCode::CONFLICT, "Conflict", "it has been modified".into()));
                }
                Ok(self.write("MODIFIED", resource, body))
            }
            (&Method::PATCH, _) => {
                merge(&mut object, body);
                Ok(self.write("MODIFIED", resource, object))
            }
            _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", String::new())),
        }
    }

    /// Each token is another.
    fn token(&self, body: &Value) -> Value {
        let mut state = self.state();
        state.uids += 1;
        let life = jiff::SignedDuration::from_secs(body["spec"]["expirationSeconds"].as_i64().unwrap_or(3600));
        let mut answer = body.clone();
        answer["status"] = json!({
            "token": format!("token-{}", state.uids),
            "expirationTimestamp": (jiff::Timestamp::now() + life).to_string(),
        });
        answer
    }

    fn create(&self, collection: Resource, body: Value) -> Result<Value, Refusal> {
        let name = body["metadata"]["name"].as_str().map(str::to_owned);
        let resource = Resource { name, ..collection };
        if self.state().objects.contains_key(&resource) {
            return Err(Refusal(StatusCode::CONFLICT, "AlreadyExists", "it exists".into()));
        }
        Ok(self.write("ADDED", resource, body))
    }

    fn list(&self, collection: &Resource) -> Value {
        let state = self.state();
        let items: Vec<_> = state.objects.iter().filter(|(at, _)| collection.holds(at)).map(|(_, o)| o).collect();
        json!({
            "apiVersion": collection.api_version(),
            "kind": collection.list_kind(),
            "metadata": { "resourceVersion": state.revision.to_string() },
            "items": items,
        })
    }

    fn watch(&self, collection: &Resource, query: &BTreeMap<String, String>) -> Result<Response<Body>, Refusal> {
        let mut state = self.state();
        let State { faults, random, .. } = &mut *state;
        let initial = query.contains_key("sendInitialEvents");
        let gone = random.chance(faults.gone);
        let watch = Watching {
            server: self.clone(),
            revision: self.revision.subscribe(),
            collection: collection.clone(),
            seed: random.next(),
            events_left: faults.events_per_watch.map(|most| random.below(most) + 1),
        };
        if initial && faults.no_streaming_lists {
            return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "sendInitialEvents is forbidden".into()));
        }
        let after = match query.get("resourceVersion").and_then(|text| text.parse().ok()) {
            Some(after) if !initial => after,
            _ => state.revision,
        };
        if !initial && (after < state.oldest || gone) {
            let expired = Refusal(StatusCode::GONE, "Expired", "too old resource version".into());
            // Both forms occur: refused, and begun only to be ended by an error.
            return match state.random.chance(0.5) {
                true => Err(expired),
                false => Ok(streamed(stream::iter([line("ERROR", &status(&expired))]))),
            };
        }
        let mut first = Vec::new();
        if initial {
            let objects = state.objects.iter().filter(|(at, _)| collection.holds(at));
            first.extend(objects.map(|(_, object)| line("ADDED", object)));
            first.push(line("BOOKMARK", &bookmark(collection, state.revision, true)));
        }
        let after = if initial { state.revision } else { after };
        Ok(streamed(stream::iter(first).chain(watch.from(after))))
    }
}

impl Default for FakeServer {
    fn default() -> Self {
        Self::new()
    }
}

/// A watch that is being answered.
struct Watching {
    server: FakeServer,
    revision: watch::Receiver<u64>,
    collection: Resource,
    seed: u64,
    events_left: Option<u64>,
}

impl Watching {
    fn from(self, after: u64) -> impl stream::Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        stream::unfold((self, after), |(mut watching, after)| async move {
            let (chunk, after) = watching.next(after).await?;
            Some((chunk, (watching, after)))
        })
    }

    /// What comes after a revision, and up to where; `None` when the answer ends.
    async fn next(&mut self, after: u64) -> Option<(Result<Bytes, BoxError>, u64)> {
        if self.events_left == Some(0) {
            let mut random = Random::new(self.seed);
            // Ended in order, or cut off in the middle of a line.
            return random.chance(0.5).then(|| (Err("the connection was reset".into()), after));
        }
        loop {
            self.revision.borrow_and_update();
            let found = {
                let state = self.server.state();
                if after < state.oldest {
                    let expired = Refusal(StatusCode::GONE, "Expired", "compacted".into());
                    return Some((line("ERROR", &status(&expired)), u64::MAX));
                }
                let later = state.history.partition_point(|change| change.revision <= after);
                let next = state.history[later..].iter().find(|change| self.collection.holds(&change.resource));
                next.cloned()
            };
            if let Some(change) = found {
                self.events_left = self.events_left.map(|left| left - 1);
                let whole = line(change.event, &change.object);
                let cut = self.events_left == Some(0);
                let chunk = if cut { whole.map(|line| line.slice(..line.len() / 2)) } else { whole };
                return Some((chunk, change.revision));
            }
            if after == u64::MAX {
                return None;
            }
            self.revision.changed().await.ok()?;
        }
    }
}

impl Service<Request<kube::client::Body>> for FakeServer {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        self.clone().answer(request).boxed()
    }
}

/// RFC 7386, but that lists of conditions are merged by type, as a strategic patch does.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(target.remove(&key)),
                    value => merge(target.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (Value::Array(target), Value::Array(patch)) if patch.iter().all(|item| item["type"].is_string()) => {
            for item in patch {
                match target.iter_mut().find(|known| known["type"] == item["type"]) {
                    Some(known) => merge(known, item),
                    None => target.push(item),
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

fn line(event: &str, object: &Value) -> Result<Bytes, BoxError> {
    Ok(format!("{{\"type\":\"{event}\",\"object\":{object}}}\n").into())
}

fn bookmark(collection: &Resource, revision: u64, ends_initial_events: bool) -> Value {
    let mut bookmark = json!({
        "apiVersion": collection.api_version(),
        "kind": collection.list_kind().trim_end_matches("List"),
        "metadata": { "resourceVersion": revision.to_string() },
    });
    if ends_initial_events {
        bookmark["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    bookmark
}

fn status(Refusal(code, reason, message): &Refusal) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    })
}

fn refusal(refusal: Refusal) -> Response<Body> {
    respond(refusal.0, &status(&refusal))
}

fn respond(code: StatusCode, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

fn streamed(lines: impl stream::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Response<Body> {
    Response::new(StreamBody::new(lines.map(|line| line.map(http_body::Frame::data))).boxed_unsync())
}
