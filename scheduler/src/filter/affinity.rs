//! Node selectors and required node affinity. Source: `NodeAffinity` and `nodeaffinity`.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm as TypedTerm};

use crate::event::ClusterEvent;
use crate::node::{NodeInfo, Offer};
use crate::pod::PodInfo;

/// Requirements that must all hold. One without any holds for no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelectorTerm {
    pub labels: Vec<Requirement>,
    /// On `metadata.name`, the only field there is.
    pub names: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    In(Vec<String>),
    /// Also when there is no such label.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
    /// What no validated object says.
    Never,
}

impl NodeSelectorTerm {
    pub fn parse(typed: &TypedTerm) -> Self {
        let requirements = |list: &Option<Vec<NodeSelectorRequirement>>| -> Vec<Requirement> {
            list.iter().flatten().map(Requirement::parse).collect()
        };
        Self { labels: requirements(&typed.match_expressions), names: requirements(&typed.match_fields) }
    }

    pub fn matches(&self, node: &Offer) -> bool {
        let empty = self.labels.is_empty() && self.names.is_empty();
        let label = |key: &str| node.labels.get(key).map(String::as_str);
        let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
        !empty
            && self.labels.iter().all(|requirement| requirement.test.holds(label(&requirement.key)))
            && self.names.iter().all(|requirement| requirement.test.holds(field(&requirement.key)))
    }
}

impl Requirement {
    fn parse(typed: &NodeSelectorRequirement) -> Self {
        let values = || typed.values.clone().unwrap_or_default();
        let number = || values().first().and_then(|value| value.parse().ok());
        let test = match typed.operator.as_str() {
            "In" => Test::In(values()),
            "NotIn" => Test::NotIn(values()),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::DoesNotExist,
            "Gt" => number().map_or(Test::Never, Test::GreaterThan),
            "Lt" => number().map_or(Test::Never, Test::LessThan),
            _ => Test::Never,
        };
        Self { key: typed.key.clone(), test }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|v| v == value));
        match self {
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
            Self::Never => false,
        }
    }
}

/// Whether the node is one of those that the pod asks for.
pub fn matches(pod: &PodInfo, node: &Offer) -> bool {
    pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
}

pub fn reason(pod: &PodInfo, node: &NodeInfo) -> Option<String> {
    (pod.is_choosy() && !matches(pod, &node.offer)).then(|| "node(s) didn't match Pod's node affinity/selector".into())
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    match event {
        ClusterEvent::NodeAdded(node) => matches(pod, &node.offer),
        ClusterEvent::NodeChanged { old, new } => !matches(pod, old) && matches(pod, &new.offer),
        ClusterEvent::PodGone(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
        NodeSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        }
    }

    #[test]
    fn requirements_hold_as_upstream_says() {
        let labels = [("zone", "a"), ("cores", "8")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let node = Offer { name: "node-1".into(), labels, ..Offer::default() };
        let cases: [(&str, &str, &[&str], bool); 13] = [
            ("zone", "In", &["a", "b"], true),
            ("zone", "In", &["b"], false),
            ("none", "In", &["a"], false),
            ("zone", "NotIn", &["b"], true),
            ("none", "NotIn", &["b"], true),
            ("zone", "Exists", &[], true),
            ("none", "Exists", &[], false),
            ("none", "DoesNotExist", &[], true),
            ("cores", "Gt", &["7"], true),
            ("cores", "Gt", &["8"], false),
            ("cores", "Lt", &["9"], true),
            ("zone", "Gt", &["7"], false),
            ("cores", "Gt", &["many"], false),
        ];
        for (key, operator, values, expected) in cases {
            let typed =
                TypedTerm { match_expressions: Some(vec![requirement(key, operator, values)]), ..TypedTerm::default() };
            assert_eq!(NodeSelectorTerm::parse(&typed).matches(&node), expected, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn fields_name_the_node_and_an_empty_term_nothing() {
        let node = Offer { name: "node-1".into(), ..Offer::default() };
        let named = |name| TypedTerm {
            match_fields: Some(vec![requirement("metadata.name", "In", &[name])]),
            ..TypedTerm::default()
        };
        assert!(NodeSelectorTerm::parse(&named("node-1")).matches(&node));
        assert!(!NodeSelectorTerm::parse(&named("node-2")).matches(&node));
        assert!(!NodeSelectorTerm::default().matches(&node));
    }
}
