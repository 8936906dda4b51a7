//! Connections that are upgraded, so that people reach what runs in a pod: `exec`, `attach` and `port-forward`.
//!
//! | file | what |
//! | --- | --- |
//! | [`upgrade`] | which protocol a request asks for, and the answer to it |
//! | [`websocket`], [`spdy`] | the two ways in which channels share a connection |
//! | [`outbox`] | what goes out, and who waits for room |
//! | [`command`] | `exec` and `attach`: a program's streams over either |
//! | [`forward`] | `port-forward`: connections to a pod's ports over either |
//! | [`files`] | the `tar` with which `kubectl cp` copies, over a container's mounts |
//! | [`tty`] | what a terminal does with what is typed |
//!
//! A connection has a place among [`crate::limits::STREAMS_MAX`], and everything that it started ends with it.

mod command;
pub mod files;
mod forward;
mod outbox;
pub mod spdy;
mod tty;
mod upgrade;
mod websocket;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::routing::any;
use coracle_client::Key;
use http::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{query, refuse};
use crate::limits::STREAMS_MAX;
use crate::logs::Log;
use crate::pod::Workers;
use crate::pod::worker::Shared;
use crate::runtime::Container;

/// What the handlers share.
#[derive(Clone)]
struct Streaming {
    workers: Arc<Workers>,
    room: Arc<Semaphore>,
}

pub(super) fn router(workers: Arc<Workers>) -> Router {
    let streaming = Streaming { workers, room: Arc::new(Semaphore::new(STREAMS_MAX)) };
    Router::new()
        .route("/exec/{namespace}/{pod}/{container}", any(exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(exec))
        .route("/attach/{namespace}/{pod}/{container}", any(attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(attach))
        .route("/portForward/{namespace}/{pod}", any(forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(forward))
        .with_state(streaming)
}

type Parts = Path<HashMap<String, String>>;

async fn exec(State(at): State<Streaming>, path: Parts, RawQuery(text): RawQuery, request: Request) -> Response<Body> {
    let text = text.unwrap_or_default();
    let args: Vec<String> = query::values(&text, "command").collect();
    if args.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "a command is required");
    }
    answer(async {
        let (container, _) = at.container(&path)?;
        at.command(request, &text, |options, streams| command::exec(container, args, options, streams))
    })
    .await
}

async fn attach(
    State(at): State<Streaming>,
    path: Parts,
    RawQuery(text): RawQuery,
    request: Request,
) -> Response<Body> {
    let text = text.unwrap_or_default();
    answer(async {
        let (container, log) = at.container(&path)?;
        at.command(request, &text, |options, streams| command::attach(container, log, options, streams))
    })
    .await
}

async fn forward(
    State(at): State<Streaming>,
    path: Parts,
    RawQuery(text): RawQuery,
    request: Request,
) -> Response<Body> {
    let text = text.unwrap_or_default();
    answer(async {
        let shared = at.pod(&path)?;
        let place = at.place()?;
        let (response, upgraded) = upgrade::port_forward(request, &text)?;
        let tasks = &at.workers.host().tasks;
        tasks.spawn(async move {
            let _place = place;
            upgraded.run(forward::Target(shared)).await;
        });
        Ok(response)
    })
    .await
}

/// A running container, and its log.
type Attached = (Arc<dyn Container>, Option<Arc<Log>>);

/// An answer that refuses; boxed, since it is large beside what it stands in for.
type Refusal = Box<Response<Body>>;

fn refused(status: StatusCode, message: impl Into<String>) -> Refusal {
    Box::new(refuse(status, message))
}

async fn answer(handled: impl Future<Output = Result<Response<Body>, Refusal>>) -> Response<Body> {
    handled.await.unwrap_or_else(|refusal| *refusal)
}

impl Streaming {
    /// Agrees to a command's protocol, and has `work` done on its streams once they are there.
    fn command<W>(
        &self,
        request: Request,
        text: &str,
        work: impl FnOnce(command::Options, command::Streams) -> W + Send + 'static,
    ) -> Result<Response<Body>, Refusal>
    where
        W: Future<Output = ()> + Send,
    {
        let place = self.place()?;
        let options = command::Options::parse(text).map_err(|why| refused(StatusCode::BAD_REQUEST, why))?;
        let (response, upgraded) = upgrade::command(request)?;
        self.workers.host().tasks.spawn(async move {
            let _place = place;
            upgraded.run(options.clone(), |streams| work(options, streams)).await;
        });
        Ok(response)
    }

    /// A place for one more connection.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let message = format!("this node carries {STREAMS_MAX} streams already");
        self.room.clone().try_acquire_owned().map_err(|_| refused(StatusCode::TOO_MANY_REQUESTS, message))
    }

    fn pod(&self, path: &Parts) -> Result<Arc<Shared>, Refusal> {
        let part = |name: &str| path.get(name).map(String::as_str).unwrap_or_default();
        let (namespace, name) = (part("namespace"), part("pod"));
        let (key, pods) = (Key::new(namespace, name), &self.workers.host().pods);
        let shared = pods.get(&key).and_then(|pod| self.workers.of(&pod));
        // A static pod is known by its mirror's uid, too.
        let is_mirrors =
            |uid: &str| pods.mirror(&key).is_some_and(|mirror| mirror.metadata.uid.as_deref() == Some(uid));
        let is_meant = |shared: &Arc<Shared>| match part("uid") {
            "" => true,
            uid => uid == shared.uid || shared.is_static && is_mirrors(uid),
        };
        let shared = shared.filter(is_meant);
        shared.ok_or_else(|| refused(StatusCode::NOT_FOUND, "pod does not exist"))
    }

    /// Source: kubelet, `GetExec` and `GetAttach`.
    fn container(&self, path: &Parts) -> Result<Attached, Refusal> {
        let shared = self.pod(path)?;
        let name = path.get("container").map(String::as_str).unwrap_or_default();
        let gone = || refused(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({name:?})"));
        let at = shared.position(name).ok_or_else(gone)?;
        let (live, newest) = {
            let guests = shared.guests();
            (guests[at].live.clone().ok_or_else(gone)?, guests[at].newest.unwrap_or_default())
        };
        let logs = &self.workers.host().logs;
        let log = logs.live(&logs.pod(&shared.key.namespace, &shared.key.name, &shared.uid), name, newest);
        Ok((live, log))
    }
}
