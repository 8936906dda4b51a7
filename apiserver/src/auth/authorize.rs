//! Whether an identity may do what it asks. One trait, so that roles can take the place of the rule that stands now.

use k8s_openapi::api::authorization::v1::{NonResourceRule, ResourceRule};

use super::{ANONYMOUS, Identity, UNAUTHENTICATED};

/// What is asked, as upstream's roles speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    /// The path, for a request that is not about a resource.
    pub path: &'a str,
    pub resource: Option<ResourceAttributes<'a>>,
}

/// The resource in question.
#[derive(Clone, Copy, Debug)]
pub struct ResourceAttributes<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// The answer of an [`Authorizer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny { reason: String },
}

/// Decides, without waiting, from what it already knows.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize(&self, identity: &Identity, attributes: &Attributes<'_>) -> Decision;

    /// What an identity may do in a namespace, and on paths.
    fn rules(&self, identity: &Identity, namespace: &str) -> Rules;
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub resources: Vec<ResourceRule>,
    pub paths: Vec<NonResourceRule>,
}

/// Everybody who has proven who they are may do everything.
pub struct AllowAuthenticated;

impl Authorizer for AllowAuthenticated {
    fn authorize(&self, identity: &Identity, _attributes: &Attributes<'_>) -> Decision {
        if is_anonymous(identity) { Decision::Deny { reason: String::new() } } else { Decision::Allow }
    }

    fn rules(&self, identity: &Identity, _namespace: &str) -> Rules {
        if is_anonymous(identity) {
            return Rules::default();
        }
        let all = || vec!["*".to_owned()];
        Rules {
            resources: vec![ResourceRule {
                verbs: all(),
                api_groups: Some(all()),
                resources: Some(all()),
                resource_names: None,
            }],
            paths: vec![NonResourceRule { verbs: all(), non_resource_urls: Some(all()) }],
        }
    }
}

fn is_anonymous(identity: &Identity) -> bool {
    identity.user == ANONYMOUS || identity.is_in(UNAUTHENTICATED)
}
