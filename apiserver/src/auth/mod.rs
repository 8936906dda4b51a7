//! Who asks, and whether they may.
//!
//! A request carries an [`Identity`] before any handler sees it: from its client certificate, its bearer token, or
//! from the process itself when it came over the in-process transport. Without one it reaches health and version only.

mod authorize;
mod certificate;
mod impersonate;
mod service_account;
mod tokens;

pub use authorize::{AllowAuthenticated, Attributes, Authorizer, Decision, ResourceAttributes, Rules};
pub use certificate::identity_of_certificate;
pub(crate) use impersonate::Impersonation;
pub(crate) use service_account::{Bound, Claims, Holder, ISSUER, ServiceAccountTokens};
pub use tokens::Tokens;

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Groups that upstream gives to every authenticated and every anonymous user.
pub const AUTHENTICATED: &str = "system:authenticated";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who asks without saying who it is.
pub const ANONYMOUS: &str = "system:anonymous";

/// The group of those who may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// Where an identity's `extra` says by which credential it has proven itself.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A user and the groups that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    /// Tells users of one name apart; empty where nothing does.
    pub uid: String,
    /// What else is known of the user, for authorizers and for signers.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user, in `groups`.
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { user: user.into(), groups, ..Self::default() }
    }

    /// Whether it is in this group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The identity as everybody has it who has proven who they are.
    pub(crate) fn authenticated(mut self) -> Self {
        if !self.is_in(AUTHENTICATED) && !self.is_in(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// The person who owns the cluster.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// The API server itself, as in its startup duties.
    pub fn apiserver() -> Self {
        Self::new("system:apiserver", &[MASTERS])
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
