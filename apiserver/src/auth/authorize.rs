//! Whether an identity may do what it asks. One trait, so that roles can take the place of the rule that stands now.

use super::Identity;

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
}

/// Everybody who has proven who they are may do everything.
pub struct AllowAuthenticated;

impl Authorizer for AllowAuthenticated {
    fn authorize(&self, _identity: &Identity, _attributes: &Attributes<'_>) -> Decision {
        Decision::Allow
    }
}
