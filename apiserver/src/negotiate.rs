//! In which form an answer is wanted, and in which a body has come.

use coracle_api::codec;
use coracle_api::status::ApiError;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use crate::query::Query;

/// The text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// JSON for people.
    Pretty,
    Yaml,
}

/// What is made of the objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The objects themselves.
    Full,
    /// What `kubectl get` prints.
    Table,
    /// Its metadata alone, of one object.
    Metadata,
    /// The metadata of every object of a list.
    MetadataList,
    /// Aggregated discovery.
    Discovery,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) format: Format,
    pub(crate) view: View,
    /// Whether tables and metadata are wanted in their older version.
    pub(crate) is_beta: bool,
}

/// What an endpoint can make of what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Tables and metadata.
    Objects,
    /// Aggregated discovery.
    Discovery,
    /// Nothing else.
    Plain,
}

impl Accept {
    pub(crate) const JSON: Self = Self::plain(Format::Json);

    pub(crate) const fn plain(format: Format) -> Self {
        Self { format, view: View::Full, is_beta: false }
    }

    /// The form that the client prefers among those that can be given to it.
    ///
    /// # Errors
    /// When none can.
    ///
    /// Source: upstream's `negotiation.NegotiateOutputMediaType`.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query, endpoint: Endpoint) -> Result<Self, ApiError> {
        let header = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let asked = match header {
            "" => Some(Clause::default()),
            header => clauses(header).into_iter().find(|clause| clause.format().is_some() && clause.fits(endpoint)),
        };
        let Some(clause) = asked else { return Err(not_acceptable()) };
        let is_pretty = clause.param("pretty") == Some("1") || is_for_people(headers, query);
        let format = match clause.format() {
            Some(Format::Yaml) => Format::Yaml,
            _ if is_pretty => Format::Pretty,
            _ => Format::Json,
        };
        Ok(Self { format, view: clause.view().unwrap_or(View::Full), is_beta: clause.param("v") == Some("v1beta1") })
    }

    /// The form of a refusal: whatever the client takes, and JSON for people when it takes nothing.
    pub(crate) fn of_refusal(headers: &HeaderMap, query: &Query) -> Self {
        Self::negotiate(headers, query, Endpoint::Plain).unwrap_or(Self::plain(Format::Pretty))
    }
}

/// One clause of an `Accept` header.
#[derive(Clone, Debug)]
struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

impl Default for Clause<'_> {
    fn default() -> Self {
        Self { main: "*", sub: "*", quality: 1.0, params: Vec::new() }
    }
}

impl<'a> Clause<'a> {
    /// Reads a clause; `None` when it is none.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let (main, sub) = match parts.next()?.trim_matches(' ') {
            "*" => ("*", "*"),
            types => types.split_once('/')?,
        };
        if sub.is_empty() || sub.contains('/') {
            return None;
        }
        let mut clause = Self { main: main.trim_matches(' '), sub: sub.trim_matches(' '), ..Self::default() };
        for part in parts {
            match part.split_once('=') {
                Some((name, value)) if name.trim_matches(' ') == "q" => clause.quality = value.parse().unwrap_or(0.0),
                Some((name, value)) if !value.is_empty() && !value.contains('=') => {
                    clause.params.push((name.trim_matches(' '), value.trim_matches(' ')));
                }
                _ => {}
            }
        }
        Some(clause)
    }

    fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// The first text that is meant and served.
    fn format(&self) -> Option<Format> {
        match (self.main, self.sub) {
            ("*" | "application", "*") | ("application", "json") => Some(Format::Json),
            ("application", "yaml") => Some(Format::Yaml),
            _ => None,
        }
    }

    /// What is to be made of the objects; `None` when it is something that nobody makes.
    fn view(&self) -> Option<View> {
        let (kind, group, version) = (self.param("as"), self.param("g"), self.param("v"));
        match (kind, group, version) {
            (None, None, None) => Some(View::Full),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Some(View::Discovery),
            (Some(kind), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => match kind {
                "Table" => Some(View::Table),
                "PartialObjectMetadata" => Some(View::Metadata),
                "PartialObjectMetadataList" => Some(View::MetadataList),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an endpoint can do what is asked.
    fn fits(&self, endpoint: Endpoint) -> bool {
        let is_offered = match self.view() {
            None => false,
            Some(View::Full) => true,
            Some(View::Discovery) => endpoint == Endpoint::Discovery,
            Some(View::Table | View::Metadata | View::MetadataList) => endpoint == Endpoint::Objects,
        };
        let is_stream = self.param("stream").is_none_or(|stream| stream == "watch");
        let is_version = self.param("sv").is_none_or(|version| endpoint == Endpoint::Objects && version == "v1");
        is_offered && is_stream && is_version
    }

    /// Whether it comes before another one. It is no order: what is said exactly comes before what is not, however
    /// much it is preferred.
    ///
    /// Source: `goautoneg`.
    fn is_before(&self, other: &Self) -> bool {
        self.quality > other.quality || (self.main != "*" && other.main == "*") || (self.sub != "*" && other.sub == "*")
    }
}

/// The clauses of a header, what is preferred first. Each moves forward as far as it comes before its neighbours.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> =
        header.split(',').filter_map(|part| Clause::parse(part.trim_matches(' '))).collect();
    for last in 1..clauses.len() {
        let mut at = last;
        while at > 0 && clauses[at].is_before(&clauses[at - 1]) {
            clauses.swap(at, at - 1);
            at -= 1;
        }
    }
    clauses
}

/// Whether somebody reads the answer who would rather have it indented.
///
/// Source: upstream's `isPrettyPrint`.
fn is_for_people(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(pretty) = query.get("pretty") {
        return matches!(pretty, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|known| agent.starts_with(known))
}

/// The refusal of a client that wants a watch in a form that does not stream.
pub(crate) fn not_streamed() -> ApiError {
    ApiError::NotAcceptable { accepted: vec!["application/json;stream=watch".to_owned()] }
}

/// The refusal of a client that takes nothing that is served.
pub(crate) fn not_acceptable() -> ApiError {
    ApiError::NotAcceptable { accepted: served() }
}

fn served() -> Vec<String> {
    ["application/json", "application/yaml"].map(str::to_owned).to_vec()
}

/// The text of an object's body; JSON when the client does not say.
///
/// # Errors
/// When it is something that is not read here.
pub(crate) fn body_type(headers: &HeaderMap) -> Result<codec::Format, ApiError> {
    match media_type(headers).as_str() {
        "" | "application/json" => Ok(codec::Format::Json),
        "application/yaml" => Ok(codec::Format::Yaml),
        PROTOBUF => Ok(codec::Format::Protobuf),
        _ => Err(unsupported()),
    }
}

/// The refusal of a body that is not read here.
pub(crate) fn unsupported() -> ApiError {
    let mut accepted = served();
    accepted.push(PROTOBUF.to_owned());
    ApiError::UnsupportedMediaType { accepted }
}

/// The refusal of a body of a custom kind, which nobody can send as protobuf.
pub(crate) fn unsupported_custom() -> ApiError {
    ApiError::UnsupportedMediaType { accepted: served() }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The media type of a body without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

    fn told(accept: &str, agent: &str, query: &str, endpoint: Endpoint) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers.insert(USER_AGENT, agent.parse().unwrap());
        match Accept::negotiate(&headers, &Query::parse(query), endpoint) {
            Ok(Accept { format, view, is_beta }) => {
                format!("{format:?} {view:?}{}", if is_beta { " beta" } else { "" })
            }
            Err(error) => error.code().to_string(),
        }
    }

    #[test]
    fn what_is_preferred_among_what_can_be_given() {
        let kubectl = format!("{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        for (accept, expected) in [
            ("", "Json Full"),
            ("*/*", "Json Full"),
            ("*", "Json Full"),
            ("application/*", "Json Full"),
            ("application/yaml", "Yaml Full"),
            ("application/vnd.kubernetes.protobuf, application/json", "Json Full"),
            ("application/vnd.kubernetes.protobuf", "406"),
            ("text/html", "406"),
            ("nonsense", "406"),
            ("application/json;q=0.5, application/yaml", "Yaml Full"),
            ("*/*;q=1, application/yaml;q=0.1", "Yaml Full"),
            ("text/html, application/xhtml+xml, */*;q=0.8", "Json Full"),
            (&kubectl, "Json Table"),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", "Json Table beta"),
            ("application/yaml;as=Table;v=v1;g=meta.k8s.io", "Yaml Table"),
            ("*/*;as=Table;v=v1;g=meta.k8s.io", "Json Table"),
            ("application/json;as=Table;v=v7;g=meta.k8s.io,application/json", "Json Full"),
            ("application/json;as=Table;v=v7;g=meta.k8s.io", "406"),
            ("application/json;g=meta.k8s.io", "406"),
            (metadata, "Json Metadata"),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "Json MetadataList"),
            ("application/json;stream=watch", "Json Full"),
            ("application/json;stream=other", "406"),
            ("application/json;sv=v1", "Json Full"),
            ("application/json;sv=v2", "406"),
            ("application/json; pretty=1", "Pretty Full"),
        ] {
            assert_eq!(told(accept, "test", "", Endpoint::Objects), expected, "{accept}");
        }
    }

    #[test]
    fn an_endpoint_does_what_it_can() {
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (accept, endpoint, expected) in [
            (aggregated, Endpoint::Discovery, "Json Discovery"),
            (&format!("{older},{aggregated},application/json"), Endpoint::Discovery, "Json Discovery"),
            (&format!("{older},application/json"), Endpoint::Discovery, "Json Full"),
            (older, Endpoint::Discovery, "406"),
            (aggregated, Endpoint::Objects, "406"),
            (TABLE, Endpoint::Plain, "406"),
            (TABLE, Endpoint::Discovery, "406"),
        ] {
            assert_eq!(told(accept, "test", "", endpoint), expected, "{accept} {endpoint:?}");
        }
    }

    #[test]
    fn people_get_it_indented() {
        for (agent, query, expected) in [
            ("curl/8.5.0", "", "Pretty Full"),
            ("Mozilla/5.0 (X11)", "", "Pretty Full"),
            ("curl/8.5.0", "pretty=false", "Json Full"),
            ("kubectl/v1.36.4", "", "Json Full"),
            ("kubectl/v1.36.4", "pretty=true", "Pretty Full"),
            ("kubectl/v1.36.4", "pretty=yes", "Json Full"),
        ] {
            assert_eq!(told("", agent, query, Endpoint::Objects), expected, "{agent} {query}");
        }
        assert_eq!(told("application/yaml", "curl/8", "", Endpoint::Objects), "Yaml Full");
    }
}
