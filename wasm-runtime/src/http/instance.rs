//! The instances that handle requests: a fresh one each with `wasi:http@0.2`, whose world says nothing of what one may find
//! left by another; with `0.3` one after the other, up to [`HTTP_INSTANCE_REQUESTS_MAX`] of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme as GuestScheme;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView as _};

use super::plain;
use crate::artifact::{Artifact, Program, Server};
use crate::limits::{HTTP_IDLE_INSTANCES_MAX, HTTP_INSTANCE_REQUESTS_MAX};
use crate::sandbox::{Guest, MountError, Sandbox};
use crate::schedule::{Meter, Metered};
use crate::spec::Stdin;

/// Makes instances of one container's program, and keeps those that can be used again.
pub(super) struct Instances {
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
    idle: Mutex<Vec<Instance>>,
}

/// Why a request was not handled.
pub(super) enum Failure {
    /// The guest failed, perhaps after it wanted more memory than the container `exceeds`.
    Guest { error: wasmtime::Error, exceeds: bool },
    /// The guest's surroundings are not to be had.
    Unstarted(MountError),
}

/// Where the response goes; dropped when there is none.
type Respond = oneshot::Sender<Response<WasiBody>>;

impl Instances {
    pub(super) fn new(artifact: Arc<Artifact>, sandbox: Arc<Sandbox>) -> Self {
        Self { artifact, sandbox, idle: Mutex::default() }
    }

    /// Makes an instance, and returns the memory that it takes before its first request.
    pub(super) async fn rehearse(&self) -> wasmtime::Result<u64> {
        let (mut store, meter) = self.sandbox.store(Stdin::Empty)?;
        match self.program() {
            Handler::Fresh(server) => {
                let made = async {
                    server.program.instantiate_async(&mut store).await?;
                    Ok(store.data().memory.bytes())
                };
                Metered::new(meter, made).await
            }
            Handler::Reused(program) => {
                let service = Metered::new(meter.clone(), program.instantiate_async(&mut store)).await?;
                let bytes = store.data().memory.bytes();
                self.keep(Instance { store, meter, service: Some(service), requests: 0 });
                Ok(bytes)
            }
        }
    }

    /// Has `request` handled by an instance. A failure is told before the instance is gone.
    pub(super) async fn handle(&self, request: Request<Incoming>, respond: Respond, tell: impl Fn(&Failure)) {
        let Some(authority) = authority(&request) else {
            // Who asked may be gone already.
            let _ = respond.send(plain(StatusCode::BAD_REQUEST, "the request names no host\n"));
            return;
        };
        let handled = match self.program() {
            Handler::Fresh(server) => self.handle_fresh(server, request, respond, &tell).await,
            Handler::Reused(program) => self.handle_reused(program, request, authority, respond, &tell).await,
        };
        if let Err(error) = handled {
            tell(&Failure::Unstarted(error));
        }
    }

    /// Drops the instances that wait for a request.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    async fn handle_fresh(
        &self,
        server: &Server,
        request: Request<Incoming>,
        respond: Respond,
        tell: &impl Fn(&Failure),
    ) -> Result<(), MountError> {
        let pooled =
            server.pooled.as_ref().and_then(|pooled| Some((&pooled.program, pooled.places.try_acquire().ok()?)));
        // Given back after the instance is gone.
        let (program, _place) = pooled.map_or((&server.program, None), |(program, place)| (program, Some(place)));
        let (mut store, meter) = self.sandbox.store_of(program.engine(), Stdin::Empty)?;
        let handled = async move {
            if let Err(error) = call_fresh(program, &mut store, request, respond).await {
                tell(&Failure::Guest { error, exceeds: store.data().memory.exceeds() });
            }
        };
        Metered::new(meter, handled).await;
        Ok(())
    }

    async fn handle_reused(
        &self,
        program: &ServicePre<Guest>,
        request: Request<Incoming>,
        authority: Authority,
        respond: Respond,
        tell: &impl Fn(&Failure),
    ) -> Result<(), MountError> {
        let idle = self.idle().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => {
                let (store, meter) = self.sandbox.store(Stdin::Empty)?;
                Instance { store, meter, service: None, requests: 0 }
            }
        };
        let meter = instance.meter.clone();
        let handled = async move {
            match instance.handle(program, at(request, authority), respond).await {
                Ok(()) => Some(instance),
                Err(error) => {
                    tell(&Failure::Guest { error, exceeds: instance.store.data().memory.exceeds() });
                    None
                }
            }
        };
        if let Some(instance) = Metered::new(meter, handled).await {
            self.keep(instance);
        }
        Ok(())
    }

    fn keep(&self, instance: Instance) {
        if instance.requests < HTTP_INSTANCE_REQUESTS_MAX {
            let mut idle = self.idle();
            if idle.len() < HTTP_IDLE_INSTANCES_MAX {
                idle.push(instance);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        // A list is whole between its operations.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program(&self) -> Handler<'_> {
        match &self.artifact.program {
            Program::Http(server) => Handler::Fresh(server),
            Program::AsyncHttp(program) => Handler::Reused(program),
            Program::Module(_) | Program::Command(_) | Program::AsyncCommand(_) => {
                unreachable!("a command is not served")
            }
        }
    }
}

/// A server's program, by what becomes of its instances.
enum Handler<'a> {
    Fresh(&'a Server),
    Reused(&'a ServicePre<Guest>),
}

/// Calls a fresh instance of `wasi:http@0.2`.
async fn call_fresh(
    program: &ProxyPre<Guest>,
    store: &mut Store<Guest>,
    request: Request<Incoming>,
    respond: Respond,
) -> wasmtime::Result<()> {
    let request = store.data_mut().http().new_incoming_request(GuestScheme::Http, request)?;
    let respond = Mutex::new(Some(respond));
    let out = store.data_mut().http().new_response_outparam_from_callback(move |response| {
        let respond = respond.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(respond), Ok(response)) = (respond, response) {
            // Who asked may be gone already.
            let _ = respond.send(response);
        }
    })?;
    let instance = program.instantiate_async(&mut *store).await?;
    instance.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// An instance of `wasi:http@0.3`, made when its first request is there.
struct Instance {
    store: Store<Guest>,
    meter: Arc<Meter>,
    service: Option<Service>,
    requests: u32,
}

impl Instance {
    /// Handles one request to its very end: until the response is sent, and the guest has nothing more to do.
    async fn handle(
        &mut self,
        program: &ServicePre<Guest>,
        request: Request<Incoming>,
        respond: Respond,
    ) -> wasmtime::Result<()> {
        self.requests += 1;
        let service = match self.service.take() {
            Some(service) => service,
            None => program.instantiate_async(&mut self.store).await?,
        };
        let service = &*self.service.insert(service);
        let (request, sent) = p3::Request::from_http(self.store.data_mut().http().hooks, request);
        let handled = self.store.run_concurrent(async |store| {
            let Ok(response) = service.handle(store, request).await? else { return Ok(()) };
            let response = store.with(|mut store| response.into_http(&mut store, sent))?;
            let (whole, ended) = oneshot::channel();
            let response = response.map(|body| Watched { body: body.boxed_unsync(), _whole: whole }.boxed_unsync());
            if respond.send(response).is_ok() {
                // Nothing is ever sent: it is dropped with the body.
                let _ = ended.await;
            }
            poll_fn(|cx| store.poll_no_interesting_tasks(cx)).await;
            Ok(())
        });
        handled.await?
    }
}

/// The host that `request` is for: without one it is no request for a guest.
fn authority(request: &Request<Incoming>) -> Option<Authority> {
    let host = || request.headers().get(http::header::HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(host)
}

/// `request` with the whole of its address, which HTTP/1.1 leaves to a header.
fn at(request: Request<Incoming>, authority: Authority) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    uri.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    Request::from_parts(head, body)
}

/// A body that drops something with itself.
struct Watched {
    body: WasiBody,
    _whole: oneshot::Sender<()>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
