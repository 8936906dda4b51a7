//! What is done with a resource: one file a verb.

mod bind;
mod budget;
mod component_status;
mod connect;
mod create;
mod delete;
mod delete_collection;
mod eviction;
mod get;
mod list;
mod list_options;
mod log;
mod meta;
mod namespaces;
mod options;
pub(crate) mod own;
mod owner;
mod page;
mod patch;
mod proxy;
mod review;
mod scale;
mod token;
mod update;
pub(crate) mod warnings;
mod watch;

use std::sync::Arc;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::codec::{self, Decoded, FieldValidation};
use coracle_api::status::{ApiError, GroupKind, GroupResource};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use crate::api::Api;
use crate::auth::{Attributes, Identity};
use crate::cache::{Cached, Scope, Selection};
use crate::negotiate::{self, Accept, View};
use crate::query::Query;
use crate::resource::Resource;
use crate::route::{Subresource, Target, Verb};
use crate::strategy::Part;
use crate::writer::Writer;
use crate::{body, respond, table};
use warnings::Warnings;

/// A request with everything that was found out about it.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) identity: Identity,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) accept: Accept,
    /// The way to take the connection over, where it has one.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// What is to be told with the answer, a refusal too.
    pub(crate) warnings: Arc<Warnings>,
}

/// Runs the handler of a request.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    refuse_conversion(call)?;
    let part = match call.target.subresource {
        None => Part::Main,
        Some(Subresource::Status) => Part::Status,
        Some(Subresource::EphemeralContainers) => Part::EphemeralContainers,
        Some(Subresource::Resize) => Part::Resize,
        Some(Subresource::Finalize) => Part::Finalize,
        Some(Subresource::Approval) => Part::Approval,
        Some(Subresource::Scale) => return scale::run(call, body).await,
        Some(Subresource::Binding) => return bind::run(call, body).await,
        Some(Subresource::Eviction) => return eviction::run(call, body).await,
        Some(Subresource::Token) => return token::run(call, body).await,
        Some(Subresource::Log) => return log::run(call).await,
        Some(Subresource::Proxy) => return proxy::run(call, body).await,
        Some(part @ (Subresource::Exec | Subresource::Attach | Subresource::PortForward)) => {
            return connect::run(call, part).await;
        }
    };
    match call.target.verb {
        Verb::Get | Verb::List if call.resource().is_component_statuses() => component_status::run(call).await,
        Verb::Get => get::run(call).await,
        Verb::List => list::run(call).await,
        Verb::Watch => watch::run(call).await,
        Verb::Create if call.target.resource.only_answers() => review::run(call, body).await,
        Verb::Create => create::run(call, body).await,
        Verb::Update => update::run(call, part, body).await,
        Verb::Patch => patch::run(call, part, body).await,
        Verb::Delete => delete::run(call, body).await,
        Verb::DeleteCollection => delete_collection::run(call, body).await,
    }
}

/// Objects of one version become those of another by asking nobody: where a definition wants a webhook asked, an object in
/// another version than the one that is stored is answered as if the webhook could not be reached.
///
/// Source: `webhookConverter.Convert` of `k8s.io/apiextensions-apiserver`.
fn refuse_conversion(call: &Call) -> Result<(), ApiError> {
    let (resource, cache) = (call.resource(), &call.resource().cache);
    if !resource.asks_webhook() || call.target.verb == Verb::Create {
        return Ok(());
    }
    let is_there = match (&call.target.name, &call.target.namespace) {
        (Some(_), _) => cache.get(&call.target.path()).is_some(),
        (None, namespace) => {
            let scope = namespace.clone().map_or(Scope::All, Scope::Namespace);
            !cache.list(&Selection::of(scope), None, Some(1), call.api.cache.seen()).objects.is_empty()
        }
    };
    if is_there { Err(resource.unconverted(&resource.stored)) } else { Ok(()) }
}

impl Call {
    pub(crate) fn resource(&self) -> &Resource {
        &self.target.resource
    }

    pub(crate) fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    /// Refuses what is about one object and does not say which.
    fn named(&self) -> Result<(), ApiError> {
        let missing = || ApiError::BadRequest("name must be provided".to_owned());
        self.target.name.as_ref().map(drop).ok_or_else(missing)
    }

    fn writer(&self, dry_run: bool) -> Writer<'_> {
        Writer { api: &self.api, resource: self.resource(), dry_run }
    }

    /// Tells something with the answer, once.
    fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.add(warnings);
    }

    /// What was read, once it is told what was passed over in it.
    fn told<T>(&self, decoded: Decoded<T>) -> T {
        self.warn(decoded.warnings);
        decoded.object
    }

    /// Reads the body as an object of the target's kind.
    async fn decode(&self, body: Body, validation: FieldValidation) -> Result<AnyObject, ApiError> {
        let is_custom = self.resource().kind.model.custom().is_some();
        let format = match negotiate::body_type(&self.headers) {
            Err(_) | Ok(codec::Format::Protobuf) if is_custom => return Err(negotiate::unsupported_custom()),
            format => format?,
        };
        Ok(self.told(codec::decode(&self.resource().kind, &body::read(body).await?, format, validation)?))
    }

    /// Answers with one object, in the form that is wanted.
    fn show(&self, code: StatusCode, object: &Cached) -> Result<Response<Body>, ApiError> {
        let resource = self.resource();
        let json = match self.accept.view {
            View::Table => table::one(resource, object, table::Include::parse(&self.query)?)?,
            View::Metadata => codec::partial_metadata(&object.body),
            View::MetadataList => return Err(self.not_of_form("PartialObjectMetadataList", "not a list")),
            View::Full | View::Discovery => resource.body(object)?,
        };
        Ok(respond::document(code, json, self.accept))
    }

    /// The refusal of a form that what is asked for does not have.
    fn not_of_form(&self, form: &str, is: &str) -> ApiError {
        let kind = &self.resource().kind.kind;
        ApiError::NotConvertible(format!("you requested {form}, but the requested object is {is} ({kind})"))
    }

    fn invalid(&self, name: &str, errors: coracle_api::field::Errors) -> ApiError {
        ApiError::Invalid { kind: GroupKind::of(&self.resource().kind), name: name.to_owned(), errors }
    }
}

/// The refusal of what an identity may not do.
pub(crate) fn denied(identity: &Identity, attributes: &Attributes<'_>, reason: &str) -> ApiError {
    let Some(resource) = &attributes.resource else {
        return ApiError::PathForbidden {
            user: identity.user.clone(),
            verb: attributes.verb.to_owned(),
            path: attributes.path.to_owned(),
        };
    };
    let plural = match resource.subresource {
        Some(subresource) => format!("{}/{subresource}", resource.resource),
        None => resource.resource.to_owned(),
    };
    let scope = match resource.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let (user, verb, group) = (&identity.user, attributes.verb, resource.group);
    let why = format!("User \"{user}\" cannot {verb} resource \"{plural}\" in API group \"{group}\" {scope}");
    ApiError::Forbidden {
        resource: GroupResource { group: resource.group.to_owned().into(), resource: plural.into() },
        name: resource.name.unwrap_or_default().to_owned(),
        reason: if reason.is_empty() { why } else { format!("{why}: {reason}") },
    }
}

/// Randomness for names.
pub(crate) fn random() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
