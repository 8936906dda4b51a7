//! What the server says that it serves. Made from the table of kinds alone.

mod aggregated;
mod plain;

use coracle_api::kind::{Kind, Subresource, Verb};
use coracle_api::status::ApiError;
use serde_json::Value;

use crate::negotiate::View;
use crate::resource::Catalog;
use crate::route::Document;

/// What the aggregated form is called, after its text.
const AGGREGATED: &str = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The document that is asked for, and its media type.
///
/// # Errors
/// When there is no such group or version.
pub(crate) fn answer(
    document: &Document,
    view: View,
    resources: &Catalog,
    server_address: &str,
) -> Result<(Value, String), ApiError> {
    if view == View::Discovery {
        let core = match document {
            Document::CoreVersions => Some(true),
            Document::Groups => Some(false),
            _ => None,
        };
        if let Some(core) = core {
            return Ok((aggregated::groups(resources, core), AGGREGATED.to_owned()));
        }
    }
    let plain = match document {
        Document::CoreVersions => plain::core_versions(server_address),
        Document::Groups => plain::groups(resources),
        Document::Group(group) => plain::group(resources, group).ok_or(ApiError::NoSuchPath)?,
        Document::Resources { group, version } => plain::resources(resources, group, version),
    };
    Ok((plain, "application/json".to_owned()))
}

/// All that is served of a group and version, as aggregated discovery tells it.
pub(crate) fn described(resources: &Catalog, group: &str, version: &str) -> Value {
    aggregated::version(resources, group, version)
}

/// The kinds of a group and version.
fn kinds_of<'a>(resources: &'a Catalog, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Kind> + 'a {
    let kinds = resources.all().iter().map(|resource| &*resource.kind);
    kinds.filter(move |kind| kind.group == group && kind.version == version)
}

/// The verbs of a kind, custom ones in the order in which upstream tells them.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    use Verb::{Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch};
    const CUSTOM: [Verb; 8] = [Delete, DeleteCollection, Get, List, Patch, Create, Update, Watch];
    let Some(custom) = kind.model.custom() else {
        return kind.verbs.iter().map(Verb::as_str).collect();
    };
    // Of a kind that is going nothing is written any more.
    let is_told = |verb: &Verb| !(custom.is_terminating && matches!(verb, Create | Patch | Update));
    CUSTOM.into_iter().filter(is_told).map(Verb::as_str).collect()
}

fn verbs_of_part(part: &Subresource) -> Vec<&'static str> {
    part.verbs.iter().map(Verb::as_str).collect()
}
