//! Definitions that a cluster begins with.

use coracle_client::Client;
use futures::{StreamExt, pin_mut};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, PostParams, TypeMeta, WatchEvent, WatchParams};
use serde_json::Value;

use crate::Error;

/// Creates the definitions, and waits until objects of them can be made.
///
/// # Errors
/// When one is refused.
pub(crate) async fn install(client: &Client, crds: &[CustomResourceDefinition]) -> Result<(), Error> {
    if crds.is_empty() {
        return Ok(());
    }
    // Untyped: a typed answer would compile the whole of JSON schema a second time.
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let api: Api<DynamicObject> = Api::all_with(client.kube().clone(), &kind);
    let mut created = Vec::new();
    for crd in crds {
        let name = crd.metadata.name.as_deref().unwrap_or_default();
        let data = serde_json::to_value(crd).expect("a definition has string keys only");
        let types = Some(TypeMeta::resource::<CustomResourceDefinition>());
        let object = DynamicObject { types, metadata: crd.metadata.clone(), data: without_metadata(data) };
        created.push(api.create(&PostParams::default(), &object).await.map_err(|source| refused(name, source))?);
    }
    for crd in created {
        established(&api, crd).await?;
    }
    Ok(())
}

fn without_metadata(mut data: Value) -> Value {
    if let Some(fields) = data.as_object_mut() {
        for field in ["apiVersion", "kind", "metadata"] {
            fields.remove(field);
        }
    }
    data
}

async fn established(api: &Api<DynamicObject>, crd: DynamicObject) -> Result<(), Error> {
    let name = crd.metadata.name.clone().unwrap_or_default();
    let version = crd.metadata.resource_version.clone().unwrap_or_default();
    if is_established(&crd.data) {
        return Ok(());
    }
    let this = WatchParams::default().fields(&format!("metadata.name={name}"));
    let changes = api.watch(&this, &version).await.map_err(|source| refused(&name, source))?;
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        if let WatchEvent::Modified(crd) = change.map_err(|source| refused(&name, source))? {
            if is_established(&crd.data) {
                return Ok(());
            }
            if let Some(conflict) = names_refused(&crd.data) {
                return Err(Error::Names { name, conflict });
            }
        }
    }
    Err(Error::NotEstablished { name })
}

fn is_established(crd: &Value) -> bool {
    condition(crd, "Established").is_some_and(|condition| condition["status"] == "True")
}

/// Why the names of a definition are not to be had.
fn names_refused(crd: &Value) -> Option<String> {
    let condition = condition(crd, "NamesAccepted").filter(|condition| condition["status"] == "False")?;
    Some(condition["message"].as_str().unwrap_or_default().to_owned())
}

fn condition<'a>(crd: &'a Value, kind: &str) -> Option<&'a Value> {
    crd["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn refused(name: &str, source: kube::Error) -> Error {
    Error::Definition { name: name.to_owned(), source: Box::new(source) }
}
