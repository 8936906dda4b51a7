//! Whether the server is well: `/healthz`, `/livez` and `/readyz`, as a whole and check by check.
//!
//! Checks are called as upstream calls what they stand for here: `etcd` is the store, whichever it is, `informer-sync` the
//! watch cache, and the hooks are what is done once at the start.
//!
//! Source: `k8s.io/apiserver/pkg/server/healthz`.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Response, StatusCode};

use crate::api::Api;
use crate::query::Query;
use crate::respond;
use crate::route::{Endpoint, Probe};

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What is done once when the server starts.
const HOOKS: [&str; 9] = [
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/apiservice-registration-controller",
];

/// A check, and what is wrong if something is.
struct Check {
    name: &'static str,
    fault: Option<&'static str>,
}

/// Makes the checks of an endpoint, in upstream's order.
async fn checks(api: &Api, endpoint: Endpoint) -> Vec<Check> {
    let check = |name, is_well: bool, fault| Check { name, fault: (!is_well).then_some(fault) };
    let revision = tokio::time::timeout(CHECK_TIMEOUT, api.store.revision()).await.ok().and_then(Result::ok);
    let unreachable = "the store cannot be read";
    let mut checks =
        vec![check("ping", true, ""), check("log", true, ""), check("etcd", revision.is_some(), unreachable)];
    if endpoint == Endpoint::Readyz {
        let is_seen = match revision {
            Some(revision) => api.cache.reach(revision.0).await,
            None => false,
        };
        checks.push(check("etcd-readiness", revision.is_some(), unreachable));
        checks.push(check("informer-sync", is_seen, "the watch cache is behind"));
    }
    let is_started = api.ready.load(Ordering::Acquire);
    checks.extend(HOOKS.map(|hook| check(hook, is_started, "not finished")));
    if endpoint == Endpoint::Readyz {
        checks.push(check("shutdown", !api.shutdown.is_cancelled(), "process is shutting down"));
    }
    checks
}

/// `/healthz`, `/livez`, `/readyz`, and `/readyz/CHECK`.
pub(crate) async fn answer(api: &Api, probe: &Probe, query: &Query) -> Response<Body> {
    let checks = checks(api, probe.endpoint).await;
    match &probe.check {
        None => all(&checks, probe.endpoint.as_str(), query),
        Some(asked) => match checks.iter().find(|check| check.name == asked) {
            None => respond::no_such_page(),
            Some(Check { fault: None, .. }) => respond::text(StatusCode::OK, "ok"),
            Some(Check { fault: Some(fault), .. }) => respond::unwell(format!("internal server error: {fault}\n")),
        },
    }
}

fn all(checks: &[Check], endpoint: &str, query: &Query) -> Response<Body> {
    let (is_well, text) = told(checks, endpoint, &query.all("exclude").collect());
    let mut response = match is_well {
        true if query.first("verbose").is_none() => respond::text(StatusCode::OK, "ok"),
        true => respond::text(StatusCode::OK, text),
        false => respond::unwell(text),
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether all is well but what is excluded, and each check in a line.
fn told(checks: &[Check], endpoint: &str, excluded: &BTreeSet<&str>) -> (bool, String) {
    let mut is_well = true;
    let mut text = String::new();
    for Check { name, fault } in checks {
        text.push_str(&match fault {
            _ if excluded.contains(name) => format!("[+]{name} excluded: ok\n"),
            None => format!("[+]{name} ok\n"),
            Some(_) => {
                is_well = false;
                format!("[-]{name} failed: reason withheld\n")
            }
        });
    }
    let unknown = excluded.iter().filter(|one| checks.iter().all(|check| check.name != **one));
    let unknown: Vec<String> = unknown.map(|one| format!("{one:?}")).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        text.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown}\n"));
    }
    text.push_str(&format!("{endpoint} check {}\n", if is_well { "passed" } else { "failed" }));
    (is_well, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_upstreams() {
        let checks = [Check { name: "ping", fault: None }, Check { name: "etcd", fault: Some("gone") }];
        for (excluded, is_well, text) in [
            (vec![], false, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"),
            (vec!["etcd"], true, "[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n"),
            (
                vec!["etcd", "b", "a"],
                true,
                "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nreadyz check passed\n",
            ),
        ] {
            assert_eq!(told(&checks, "readyz", &excluded.into_iter().collect()), (is_well, text.to_owned()));
        }
    }
}
