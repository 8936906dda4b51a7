//! Acting for another: `kubectl --as`.
//!
//! Source: upstream's `WithImpersonation`.

use std::collections::BTreeMap;

use coracle_api::status::ApiError;
use http::HeaderMap;

use super::{ANONYMOUS, AUTHENTICATED, Attributes, Identity, ResourceAttributes, UNAUTHENTICATED};
use crate::query::decode;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Who is to be acted for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Impersonation {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Who the headers of a request name, if anybody.
    ///
    /// # Errors
    /// When they say something of a user without naming it, or cannot be read.
    pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut asked = Self { user: String::new(), groups: Vec::new(), uid: String::new(), extra: BTreeMap::new() };
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-")) {
            let value = value
                .to_str()
                .map_err(|_| ApiError::BadRequest(format!("the value of the header {name} is not text")))?
                .to_owned();
            match name.as_str() {
                USER if asked.user.is_empty() => asked.user = value,
                UID if asked.uid.is_empty() => asked.uid = value,
                GROUP => asked.groups.push(value),
                name => {
                    if let Some(key) = name.strip_prefix(EXTRA) {
                        asked.extra.entry(decode(key, false).to_lowercase()).or_default().push(value);
                    }
                }
            }
        }
        let is_said = !asked.groups.is_empty() || !asked.uid.is_empty() || !asked.extra.is_empty();
        match (asked.user.is_empty(), is_said) {
            (true, false) => Ok(None),
            (true, true) => {
                Err(ApiError::BadRequest("requested to impersonate without impersonating a user".to_owned()))
            }
            (false, _) => Ok(Some(asked)),
        }
    }

    /// The namespace and the name of the service account, if that is what the user is.
    fn service_account(&self) -> Option<(&str, &str)> {
        self.user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':').filter(|(_, name)| !name.contains(':'))
    }

    /// What somebody must be allowed to do for this.
    pub(crate) fn attributes<'a>(&'a self, path: &'a str) -> Vec<Attributes<'a>> {
        let of = |group, resource, subresource, namespace, name| Attributes {
            verb: "impersonate",
            path,
            resource: Some(ResourceAttributes {
                group,
                version: if group == AUTHENTICATION { "v1" } else { "" },
                resource,
                subresource,
                namespace,
                name: Some(name),
            }),
        };
        let mut all = vec![match self.service_account() {
            Some((namespace, name)) => of("", "serviceaccounts", None, Some(namespace), name),
            None => of("", "users", None, None, self.user.as_str()),
        }];
        all.extend(self.groups.iter().map(|group| of("", "groups", None, None, group.as_str())));
        if !self.uid.is_empty() {
            all.push(of(AUTHENTICATION, "uids", None, None, self.uid.as_str()));
        }
        for (key, values) in &self.extra {
            all.extend(
                values.iter().map(|value| of(AUTHENTICATION, "userextras", Some(key.as_str()), None, value.as_str())),
            );
        }
        all
    }

    /// The identity that is acted for: in the groups that were named, and in those that its kind of user is in.
    pub(crate) fn identity(self) -> Identity {
        let account = self.service_account().map(|(namespace, name)| Identity::service_account(namespace, name));
        let mut identity = Identity { user: self.user, groups: self.groups, uid: self.uid, extra: self.extra };
        if let (Some(account), true) = (account, identity.groups.is_empty()) {
            identity.groups = account.groups;
        }
        if !identity.is_in(AUTHENTICATED) && !identity.is_in(UNAUTHENTICATED) {
            let group = if identity.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
            identity.groups.push(group.to_owned());
        }
        identity
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderName;

    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> Result<Option<Impersonation>, ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Impersonation::asked(&map)
    }

    #[test]
    fn groups_follow_from_the_user() {
        for (headers, groups) in [
            (&[("impersonate-user", "u")][..], &["system:authenticated"][..]),
            (&[("impersonate-user", "u"), ("impersonate-group", "g")], &["g", "system:authenticated"]),
            (&[("impersonate-user", "system:anonymous")], &["system:unauthenticated"]),
            (
                &[("impersonate-user", "system:serviceaccount:n:s")],
                &["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"],
            ),
        ] {
            assert_eq!(asked(headers).unwrap().unwrap().identity().groups, groups, "{headers:?}");
        }
        assert_eq!(asked(&[]).unwrap(), None);
        assert_eq!(asked(&[("impersonate-uid", "1")]).unwrap_err().code(), 400);
    }

    #[test]
    fn each_part_must_be_allowed() {
        let headers = [
            ("impersonate-user", "system:serviceaccount:n:s"),
            ("impersonate-group", "g"),
            ("impersonate-uid", "1"),
            ("impersonate-extra-a%2fb", "x"),
        ];
        let asked = asked(&headers).unwrap().unwrap();
        let told: Vec<String> = asked
            .attributes("/")
            .iter()
            .map(|attributes| {
                let resource = attributes.resource.unwrap();
                let names = [resource.group, resource.resource, resource.subresource.unwrap_or_default()];
                format!("{} {}", names.join(":"), resource.name.unwrap())
            })
            .collect();
        let expected = [
            ":serviceaccounts: s",
            ":groups: g",
            "authentication.k8s.io:uids: 1",
            "authentication.k8s.io:userextras:a/b x",
        ];
        assert_eq!(told, expected);
        assert_eq!(asked.identity().extra["a/b"], ["x"]);
    }
}
