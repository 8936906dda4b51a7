//! Who asks, and whether they may.
//!
//! A request carries an [`Identity`] before any handler sees it: from its client certificate, its bearer token, or
//! from the process itself when it came over the in-process transport. Without one it reaches health and version only.

mod authorize;
mod certificate;
mod service_account;
mod tokens;

pub use authorize::{AllowAuthenticated, Attributes, Authorizer, Decision, ResourceAttributes};
pub use certificate::identity_of_certificate;
pub(crate) use service_account::{Bound, Claims, ISSUER, ServiceAccountTokens};
pub use tokens::Tokens;

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Groups that upstream gives to every authenticated and every anonymous user.
pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A user and the groups that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// A user, in `groups`.
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        Self { user: user.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    /// The person who owns the cluster.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &["system:masters"])
    }

    /// The API server itself, as in its startup duties.
    pub fn apiserver() -> Self {
        Self::new("system:apiserver", &["system:masters"])
    }

    pub fn scheduler() -> Self {
        Self::new("system:kube-scheduler", &[])
    }

    pub fn controller_manager() -> Self {
        Self::new("system:kube-controller-manager", &[])
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &group])
    }

    /// The kubelet of the node `name`.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), &["system:nodes"])
    }
}

/// The bearer token that a request offers; an offer that cannot be read is an empty one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}
