//! In which form an answer is wanted, and in which a body has come.

use coracle_api::codec;
use coracle_api::status::ApiError;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// The text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// What is made of the objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The objects themselves.
    Full,
    /// What `kubectl get` prints.
    Table,
    /// Their metadata alone.
    Metadata,
    /// Aggregated discovery, of this version.
    Discovery { version: &'static str },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) format: Format,
    pub(crate) view: View,
}

impl Accept {
    pub(crate) const JSON: Self = Self { format: Format::Json, view: View::Full };

    /// The first form that the client names and that can be given to it; among those, what it prefers most.
    ///
    /// # Errors
    /// When none can.
    ///
    /// Source: upstream's `negotiation.NegotiateMediaTypeOptions`.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut best: Option<(f32, Self)> = None;
        let mut asked = false;
        for header in headers.get_all(ACCEPT) {
            for clause in
                header.to_str().unwrap_or_default().split(',').map(str::trim).filter(|clause| !clause.is_empty())
            {
                asked = true;
                if let Some((quality, accept)) = parse_clause(clause)
                    && best.is_none_or(|(most, _)| quality > most)
                {
                    best = Some((quality, accept));
                }
            }
        }
        match best {
            Some((_, accept)) => Ok(accept),
            None if asked => Err(not_acceptable()),
            None => Ok(Self::JSON),
        }
    }
}

/// The refusal of a client that takes nothing that is served.
pub(crate) fn not_acceptable() -> ApiError {
    ApiError::NotAcceptable { accepted: served() }
}

fn served() -> Vec<String> {
    ["application/json", "application/yaml"].map(str::to_owned).to_vec()
}

/// One clause of an `Accept` header, when it can be served, and how much it is preferred.
fn parse_clause(clause: &str) -> Option<(f32, Accept)> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "*/*" | "application/*" | "application/json" => Format::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut quality, mut convert, mut group, mut version) = (1.0, None, "", "");
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            "q" => quality = value.trim().parse().unwrap_or(1.0),
            "as" => convert = Some(value.trim()),
            "g" => group = value.trim(),
            "v" => version = value.trim(),
            _ => {}
        }
    }
    let view = match (convert, group, version) {
        (None, ..) => View::Full,
        (Some("Table"), "meta.k8s.io", "v1") => View::Table,
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), "meta.k8s.io", "v1") => View::Metadata,
        (Some("APIGroupDiscoveryList"), "apidiscovery.k8s.io", "v2") => View::Discovery { version: "v2" },
        (Some("APIGroupDiscoveryList"), "apidiscovery.k8s.io", "v2beta1") => View::Discovery { version: "v2beta1" },
        _ => return None,
    };
    Some((quality, Accept { format, view }))
}

/// The text of an object's body; JSON when the client does not say.
///
/// # Errors
/// When it is something that is not read here.
pub(crate) fn body_type(headers: &HeaderMap) -> Result<codec::Format, ApiError> {
    match media_type(headers).as_str() {
        "" | "application/json" => Ok(codec::Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(codec::Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(codec::Format::Protobuf),
        _ => Err(unsupported()),
    }
}

/// The refusal of a body that is not read here.
pub(crate) fn unsupported() -> ApiError {
    ApiError::UnsupportedMediaType { accepted: served() }
}

/// The media type of a body without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn accept(value: &str) -> Option<(Format, View)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().unwrap());
        Accept::negotiate(&headers).ok().map(|accept| (accept.format, accept.view))
    }

    #[test]
    fn the_first_that_can_be_given() {
        let table = [
            ("application/json", Some((Format::Json, View::Full))),
            ("*/*", Some((Format::Json, View::Full))),
            ("application/yaml", Some((Format::Yaml, View::Full))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Format::Json, View::Full))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some((Format::Json, View::Table)),
            ),
            ("application/json;as=Table;v=v7;g=meta.k8s.io,application/json", Some((Format::Json, View::Full))),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Some((Format::Json, View::Metadata))),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                Some((Format::Json, View::Discovery { version: "v2" })),
            ),
            ("application/yaml;q=0.5, application/json;q=0.9", Some((Format::Json, View::Full))),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ];
        for (header, expected) in table {
            assert_eq!(accept(header), expected, "{header}");
        }
        assert_eq!(Accept::negotiate(&HeaderMap::new()).unwrap(), Accept::JSON);
    }
}
