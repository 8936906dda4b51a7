//! The server's inside: what every request goes through, whichever way it has come.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::status::ApiError;
use coracle_store::Store;
use futures::{FutureExt as _, StreamExt as _};
use http::header::EXPECT;
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::auth::{
    self, Attributes, Authorizer, Bound, Claims, Decision, ISSUER, Identity, Impersonation, ResourceAttributes,
    ServiceAccountTokens, Tokens,
};
use crate::cache::{Cache, Cached, Item, Scope, Selection, Start, WatchStream};
use crate::config::Config;
use crate::error::refused;
use crate::fairness::{Crowded, FairQueue};
use crate::flow::{Flow, Flows};
use crate::handler::warnings::deprecation;
use crate::handler::{self, Call};
use crate::metrics::{Held, Metrics, RequestLabels};
use crate::negotiate::{Accept, Endpoint};
use crate::openapi::Publisher;
use crate::proxy::NodeProxy;
use crate::query::Query;
use crate::resource::{Resource, Resources};
use crate::route::{NoRoute, Route, Subresource, Target, Verb};
use crate::serve::Inside;
use crate::strategy::Allocators;
use crate::writer::path;
use crate::{body, clock, compress, describe, health, limits, respond};

/// How long a pod waits for the service account of a namespace that has just been made.
///
/// Source: upstream tries ten times, a tenth to a fifth of a second apart.
const SERVICE_ACCOUNT_PATIENCE: Duration = Duration::from_secs(2);

/// Everything that handlers need.
pub(crate) struct Api {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) resources: Resources,
    pub(crate) tokens: Tokens,
    /// The host and port by which others reach the server.
    pub(crate) external: String,
    pub(crate) account_tokens: Arc<ServiceAccountTokens>,
    pub(crate) authorizer: Box<dyn Authorizer>,
    pub(crate) nodes: Arc<dyn NodeProxy>,
    pub(crate) allocators: Allocators,
    pub(crate) metrics: Metrics,
    pub(crate) publisher: Publisher,
    pub(crate) flows: Flows,
    /// Who may read and who may write now.
    pub(crate) reads: FairQueue,
    pub(crate) writes: FairQueue,
    /// Whether the startup duties are done.
    pub(crate) ready: AtomicBool,
    pub(crate) shutdown: CancellationToken,
}

impl Api {
    /// Answers a request. Never fails and never panics: whatever goes wrong is a `Status`.
    pub(crate) async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let route = Route::parse(request.method(), request.uri(), &query, &self.resources.current());
        let labels = request_labels(&route);
        let (parts, body) = request.into_parts();
        let mut flow = None;
        let takes_gzip = compress::is_accepted(&parts.headers);
        let mut body = Some(body);
        let answer = AssertUnwindSafe(self.answer(route, &query, &parts, &mut body, &mut flow)).catch_unwind().await;
        if let Some(unread) = body.filter(|_| sends_regardless(&parts)) {
            body::discard(unread).await;
        }
        let form = || Accept::of_refusal(&parts.headers, &query);
        let mut response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(NoRoute::Path)) => respond::no_such_page(),
            Ok(Err(NoRoute::Resource)) => respond::refusal(&ApiError::NoSuchPath, form()),
            Ok(Err(NoRoute::Status(error))) => respond::refusal(&error, form()),
            Err(_) => {
                self.metrics.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(method = %parts.method, path = parts.uri.path(), "a handler panicked");
                respond::refusal(&ApiError::Internal("the server failed to answer this request".to_owned()), form())
            }
        };
        respond::identify(&mut response, &parts.headers);
        if let Some(flow) = flow {
            flow.tell(&mut response);
        }
        let response = match parts.method {
            Method::HEAD => respond::without_body(response),
            _ => compress::large(takes_gzip, response).await,
        };
        let code = response.status().as_u16();
        tracing::debug!(method = %parts.method, path = parts.uri.path(), code, took = ?started.elapsed(), "answered");
        self.metrics.request(RequestLabels { code, ..labels }, started.elapsed());
        response
    }

    async fn answer(
        self: &Arc<Self>,
        route: Result<Route, NoRoute>,
        query: &Query,
        parts: &http::request::Parts,
        body: &mut Option<Body>,
        flow: &mut Option<Flow>,
    ) -> Result<Response<Body>, NoRoute> {
        let route = match route {
            // What load balancers and people without credentials may ask.
            Ok(Route::Health(probe)) => return Ok(health::answer(self, &probe, query).await),
            Ok(Route::Version) => return Ok(describe::version()),
            route => {
                let identity = self.authenticate(parts)?;
                let identity = self.impersonate(identity, parts)?;
                let route = route?;
                let asked = attributes(&route, parts);
                *flow = if is_long(&route) { None } else { self.flows.of(self, &identity, &asked) };
                if let Decision::Deny { reason } = self.authorizer.authorize(&identity, &asked) {
                    return Err(handler::denied(&identity, &asked, &reason).into());
                }
                (route, identity)
            }
        };
        let (route, identity) = route;
        let Route::Resource(target) = route else {
            return Ok(describe::answer(self, &route, &parts.headers, query).await?);
        };
        let call = Call {
            api: self.clone(),
            identity,
            accept: match &target.behind {
                // What is behind a proxy answers in forms of its own.
                Some(_) => Accept::JSON,
                None => Accept::negotiate(&parts.headers, query, Endpoint::Objects)?,
            },
            query: query.clone(),
            headers: parts.headers.clone(),
            upgrade: parts.extensions.get().cloned(),
            target,
            warnings: Default::default(),
        };
        let warnings = call.warnings.clone();
        warnings.add(deprecation(&call.target.resource.kind));
        let is_inside = parts.extensions.get::<Inside>().is_some();
        let body = body.take().unwrap_or_default();
        let answer = self.dispatch(call, body, flow.as_ref().filter(|_| !is_inside), is_inside).await;
        let mut response =
            answer.unwrap_or_else(|error| respond::refusal(&error, Accept::of_refusal(&parts.headers, query)));
        warnings.tell(&mut response);
        Ok(response)
    }

    /// Runs a handler, within the bounds on how many may run and for how long.
    async fn dispatch(
        self: &Arc<Self>,
        call: Call,
        body: Body,
        flow: Option<&Flow>,
        inside: bool,
    ) -> Result<Response<Body>, ApiError> {
        if is_stream(&call.target, &call.query) {
            // It is counted until its body ends: see the handlers of watches and logs.
            return handler::run(&call, body).await;
        }
        match tokio::time::timeout(limits::REQUEST_TIMEOUT, self.run_bounded(call, body, flow, inside)).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::Timeout("request did not complete within the allotted timeout".to_owned())),
        }
    }

    async fn run_bounded(
        self: &Arc<Self>,
        call: Call,
        body: Body,
        flow: Option<&Flow>,
        inside: bool,
    ) -> Result<Response<Body>, ApiError> {
        if inside {
            let _held = Held::one_of(self.in_flight(&call), usize::MAX);
            return run(call, body).await;
        }
        let body = body::receive(body, &self.metrics.body_bytes, || self.too_many()).await?;
        let queue = if call.target.verb.writes() { &self.writes } else { &self.reads };
        let is_exempt = flow.is_some_and(Flow::is_exempt);
        let key = flow.map_or(call.identity.user.as_str(), |flow| flow.key.as_str());
        let _seat = match is_exempt {
            true => None,
            false => Some(queue.seat(key).await.map_err(|Crowded| self.too_many())?),
        };
        let _held = Held::one_of(self.in_flight(&call), usize::MAX);
        run(call, body).await
    }

    /// What counts the requests that are in progress like this one.
    fn in_flight(&self, call: &Call) -> &AtomicI64 {
        if call.target.verb.writes() { &self.metrics.writes_in_flight } else { &self.metrics.reads_in_flight }
    }

    /// The refusal of what is over a bound.
    pub(crate) fn too_many(&self) -> ApiError {
        self.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        ApiError::TooManyRequests {
            message: "Too many requests, please try again later.".to_owned(),
            retry_after_seconds: 1,
        }
    }

    /// Who asks. A token that is offered must be right, whatever else vouches for the request.
    fn authenticate(&self, parts: &http::request::Parts) -> Result<Identity, ApiError> {
        let known = match auth::bearer(&parts.headers) {
            Some(token) => self.identity_of_token(token, ISSUER).map(|(identity, _)| identity),
            None => parts.extensions.get::<Identity>().cloned(),
        };
        known.map(Identity::authenticated).ok_or(ApiError::Unauthorized)
    }

    /// Whose token this is, and for whom it is meant, when it is meant for `audience`.
    pub(crate) fn identity_of_token(&self, token: &str, audience: &str) -> Option<(Identity, Vec<String>)> {
        if let Some(identity) = self.tokens.identity(token) {
            return (audience == ISSUER).then(|| (identity.clone(), vec![ISSUER.to_owned()]));
        }
        let claims = self.account_tokens.verify(token, clock::now().as_second(), audience)?;
        let identity = self.service_account_of(&claims)?;
        Some((identity, claims.audiences))
    }

    /// Who is to be acted for, when somebody asks to act for another.
    fn impersonate(&self, identity: Identity, parts: &http::request::Parts) -> Result<Identity, ApiError> {
        let Some(asked) = Impersonation::asked(&parts.headers)? else { return Ok(identity) };
        for attributes in asked.attributes(parts.uri.path()) {
            let allowed = identity.is_in(auth::MASTERS);
            match self.authorizer.authorize(&identity, &attributes) {
                Decision::Allow if allowed => {}
                Decision::Allow => return Err(handler::denied(&identity, &attributes, "")),
                Decision::Deny { reason } => return Err(handler::denied(&identity, &attributes, &reason)),
            }
        }
        Ok(asked.identity())
    }

    /// Whose token this is: one lives no longer than the account that it speaks for, and what it was made for.
    fn service_account_of(&self, claims: &Claims) -> Option<Identity> {
        let there = |plural, namespace: &str, bound: &Bound| {
            let resource = self.resources.core(plural);
            let found = resource.cache.get(&path(namespace, &bound.name))?;
            let object = resource.load(&found).ok()?;
            (object.meta().uid.as_deref() == Some(&bound.uid)).then_some(())
        };
        let (namespace, holder) = (&claims.namespace, &claims.holder);
        there("serviceaccounts", namespace, &claims.account)?;
        for (plural, namespace, bound) in
            [("pods", &**namespace, &holder.pod), ("secrets", namespace, &holder.secret), ("nodes", "", &holder.node)]
        {
            if let Some(bound) = bound {
                there(plural, namespace, bound)?;
            }
        }
        let mut identity = Identity::service_account(&claims.namespace, &claims.account.name);
        identity.uid.clone_from(&claims.account.uid);
        let mut say = |key: &str, value: &str| identity.extra.insert(key.to_owned(), vec![value.to_owned()]);
        say(auth::CREDENTIAL_ID, &format!("JTI={}", claims.id));
        for (kind, bound) in [("pod", &holder.pod), ("node", &holder.node)] {
            if let Some(bound) = bound {
                say(&format!("authentication.kubernetes.io/{kind}-name"), &bound.name);
                say(&format!("authentication.kubernetes.io/{kind}-uid"), &bound.uid);
            }
        }
        Some(identity)
    }

    /// Waits until the cache has everything that had been written when this was called.
    ///
    /// # Errors
    /// When the store is not there, or the cache is too far behind.
    pub(crate) async fn be_fresh(&self) -> Result<(), ApiError> {
        let revision = self.store.revision().await.map_err(refused)?;
        self.be_at(revision.0).await
    }

    /// Waits until the cache has everything up to `revision`.
    ///
    /// # Errors
    /// When that takes too long, which it does for a revision that is not there yet.
    pub(crate) async fn be_at(&self, revision: u64) -> Result<(), ApiError> {
        if self.cache.reach(revision).await {
            return Ok(());
        }
        Err(ApiError::RevisionTooLarge { requested: revision, current: self.cache.seen() })
    }

    /// Every object of a resource, as the cache has them.
    pub(crate) fn list_all(&self, resource: &Resource) -> Vec<Arc<Cached>> {
        resource.cache.list(&Selection::of(Scope::All), None, None, self.cache.seen()).objects
    }

    /// A service account. The one that every namespace gets is waited for: its controller may not have come to it yet.
    pub(crate) async fn service_account(&self, namespace: &str, name: &str) -> Option<AnyObject> {
        let resource = self.resources.core("serviceaccounts");
        let found = match resource.cache.get(&path(namespace, name)) {
            Some(found) => found,
            None if name == "default" => {
                let selection = Arc::new(Selection::of(Scope::Object(path(namespace, name))));
                let deadline = tokio::time::Instant::now() + SERVICE_ACCOUNT_PATIENCE;
                let beginning = resource.cache.watch(selection, Start::Present, self.cache.seen()).ok()?;
                let mut watch = WatchStream::new(self.cache.clone(), beginning, 0, false, false, deadline);
                loop {
                    match watch.next().await? {
                        Item::Present(object) => break object,
                        Item::Changed(event, _) => break event.object().clone(),
                        Item::Bookmark { .. } => {}
                    }
                }
            }
            None => return None,
        };
        resource.load(&found).ok()
    }
}

/// Runs a handler. When the client goes, the handler goes with it, unless what it does must be brought to an end.
async fn run(call: Call, body: Body) -> Result<Response<Body>, ApiError> {
    tracing::debug!(user = call.identity.user, verb = call.target.verb.as_str(), path = call.target.path(), "asked");
    let computes_long = computes_long(&call, &body);
    let outlives = call.target.verb.writes() && call.target.resource.strategy.outlives_client();
    if !computes_long && !outlives {
        return handler::run(&call, body).await;
    }
    let work = async move { handler::run(&call, body).await };
    let answer = if computes_long {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(work))
    } else {
        tokio::spawn(work)
    };
    match answer.await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ApiError::Unavailable("the server is stopping".to_owned())),
    }
}

/// What a request asks, as authorizers and flow schemas speak of it.
fn attributes<'a>(route: &'a Route, parts: &'a http::request::Parts) -> Attributes<'a> {
    let target = match route {
        Route::Usage(usage) => {
            return Attributes { verb: usage.verb(), path: parts.uri.path(), resource: Some(usage.attributes()) };
        }
        Route::Resource(target) => Some(target),
        _ => None,
    };
    let verb = target.map_or("get", |target| target.verb.as_str());
    let resource = target.map(|target| ResourceAttributes {
        group: &target.resource.kind.group,
        version: &target.resource.kind.version,
        resource: &target.resource.kind.plural,
        subresource: target.subresource.map(Subresource::as_str),
        namespace: target.namespace.as_deref(),
        name: target.name.as_deref(),
    });
    Attributes { verb, path: parts.uri.path(), resource }
}

/// Whether a request is of those that no flow is counted for: whoever is behind a proxy answers them.
///
/// Source: `BasicLongRunningRequestCheck`, as kube-apiserver sets it.
fn is_long(route: &Route) -> bool {
    use Subresource::{Attach, Exec, Log, PortForward, Proxy};
    let subresource = match route {
        Route::Resource(target) => target.subresource,
        _ => None,
    };
    matches!(subresource, Some(Attach | Exec | Log | PortForward | Proxy))
}

/// Whether a request may compute for long, and so has a thread of its own: while a worker of the runtime computes, nobody
/// may be there to see what comes from the sockets.
fn computes_long(call: &Call, body: &Body) -> bool {
    let runs_rules = call.target.resource.kind.model.custom().is_some();
    call.target.verb.writes() && (runs_rules || body.size_hint().lower() >= limits::LARGE_BODY_BYTES)
}

/// Whether the client sends its body whatever is answered: in HTTP/2 it is told to stop, and who asks before waits.
fn sends_regardless(parts: &http::request::Parts) -> bool {
    let is_inside = parts.extensions.get::<Inside>().is_some();
    parts.version < Version::HTTP_2 && !is_inside && !parts.headers.contains_key(EXPECT)
}

/// Whether the answer goes on until somebody ends it.
fn is_stream(target: &Target, query: &Query) -> bool {
    target.verb == Verb::Watch || (target.subresource == Some(Subresource::Log) && query.flag("follow"))
}

fn request_labels(route: &Result<Route, NoRoute>) -> RequestLabels {
    let (verb, group, resource, subresource) = match route {
        Ok(Route::Resource(target)) => {
            let resource = &target.resource;
            let subresource = target.subresource.map_or("", Subresource::as_str);
            (target.verb.as_str(), resource.group.clone(), resource.plural.clone(), subresource)
        }
        _ => ("get", "".into(), "".into(), ""),
    };
    RequestLabels { verb, group, resource, subresource, code: 0 }
}
