//! One kind that a server serves, and the paths of its objects.

use crate::server::encode;

/// A resource of the server, by its group's preferred version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    /// The path of its objects, in one namespace or in all.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, .. } = self;
        let root = match group.as_str() {
            "" => format!("/api/{version}"),
            _ => format!("/apis/{group}/{version}"),
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{plural}", encode(namespace)),
            None => format!("{root}/{plural}"),
        }
    }

    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), encode(name))
    }

    /// `deployments.apps`, and `pods` in the core group.
    pub fn qualified(&self) -> String {
        self.with_group(&self.plural)
    }

    /// `deployment.apps/web`: how `-o name` and the words after a change name an object.
    pub fn named(&self, name: &str) -> String {
        let singular = if self.singular.is_empty() { self.kind.to_lowercase() } else { self.singular.clone() };
        format!("{}/{name}", self.with_group(&singular))
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether a person who types `word` means it.
    pub fn answers_to(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let bare = |name: &str| {
            name == self.plural
                || name == self.singular
                || name == self.kind.to_lowercase()
                || self.short_names.iter().any(|short| short == name)
        };
        match word.split_once('.') {
            None => bare(&word),
            Some((name, rest)) => {
                bare(name) && (rest == self.group || rest == format!("{}.{}", self.version, self.group))
            }
        }
    }

    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|it| it == verb)
    }

    fn with_group(&self, name: &str) -> String {
        match self.group.as_str() {
            "" => name.to_owned(),
            group => format!("{name}.{group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_name_a_kind_in_many_ways() {
        let deployments = Resource {
            group: "apps".into(),
            version: "v1".into(),
            plural: "deployments".into(),
            singular: "deployment".into(),
            kind: "Deployment".into(),
            short_names: vec!["deploy".into()],
            namespaced: true,
            ..Resource::default()
        };
        for word in ["deployments", "deployment", "Deployment", "deploy", "deployments.apps", "deployment.v1.apps"] {
            assert!(deployments.answers_to(word), "{word}");
        }
        for word in ["deployments.extensions", "pods", "deployments.v1", ""] {
            assert!(!deployments.answers_to(word), "{word}");
        }
        assert_eq!(deployments.object("a", "b"), "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(deployments.named("b"), "deployment.apps/b");
    }
}
