//! `GET /containerLogs/{namespace}/{pod}/{container}`: `kubectl logs`, with all that `PodLogOptions` can ask.
//! Source: kubelet, `getContainerLogs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use coracle_client::Key;
use futures::StreamExt;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{answer, query, refuse};
use crate::logs::Query;
use crate::logs::format::Source;
use crate::pod::Workers;

/// What was asked for, or why it makes no sense.
fn parse(text: &str, now: Timestamp) -> Result<(Query, bool), String> {
    let number = |name: &str, least: i64| -> Result<Option<u64>, String> {
        let Some(value) = query::value(text, name) else { return Ok(None) };
        let number: i64 = value.parse().map_err(|_| format!("{name}: {value:?} is not a number"))?;
        if number < least {
            return Err(format!("{name}: must be {least} or more"));
        }
        Ok(u64::try_from(number).ok())
    };
    let since_seconds = number("sinceSeconds", 1)?;
    let since_time = query::value(text, "sinceTime")
        .map(|time| time.parse::<Timestamp>().map_err(|error| format!("sinceTime: {error}")))
        .transpose()?;
    if since_seconds.is_some() && since_time.is_some() {
        return Err("at most one of sinceTime or sinceSeconds may be specified".into());
    }
    let ago = since_seconds.map(|seconds| SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let source = match query::value(text, "stream").as_deref() {
        None | Some("All") => None,
        Some("Stdout") => Some(Source::Stdout),
        Some("Stderr") => Some(Source::Stderr),
        Some(other) => return Err(format!("stream: {other:?} is not All, Stdout or Stderr")),
    };
    let wanted = Query {
        follow: query::flag(text, "follow"),
        tail_lines: number("tailLines", 0)?,
        since: since_time.or(ago.map(|ago| now.saturating_sub(ago).unwrap_or(Timestamp::MIN))),
        timestamps: query::flag(text, "timestamps"),
        limit_bytes: number("limitBytes", 1)?,
        source,
    };
    Ok((wanted, query::flag(text, "previous")))
}

pub async fn get(
    State(workers): State<Arc<Workers>>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    RawQuery(text): RawQuery,
) -> Response<Body> {
    let host = workers.host();
    let (wanted, previous) = match parse(&text.unwrap_or_default(), host.clock.wall()) {
        Ok(parsed) => parsed,
        Err(message) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let pod = host.pods.get(&Key::new(&*namespace, &*name));
    let Some((pod, shared)) = pod.and_then(|pod| Some((pod.clone(), workers.of(&pod)?))) else {
        return refuse(StatusCode::NOT_FOUND, format!("pod {name:?} in namespace {namespace:?} does not exist"));
    };
    let Some(at) = shared.position(&container) else {
        return refuse(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}"));
    };
    let newest = shared.guests()[at].newest;
    let instance = match (newest, previous) {
        (Some(newest), false) => newest,
        (Some(newest), true) if newest > 0 => newest - 1,
        (_, true) => {
            let message = format!("previous terminated container {container:?} in pod {name:?} not found");
            return refuse(StatusCode::BAD_REQUEST, message);
        }
        (None, false) => {
            let why = waiting_reason(&pod, &container);
            let message = format!("container {container:?} in pod {name:?} is waiting to start: {why}");
            return refuse(StatusCode::BAD_REQUEST, message);
        }
    };
    let logs = host.logs.pod(&namespace, &name, &shared.uid);
    let mut lines = host.logs.read(&logs, &container, instance, wanted);
    let body = futures::stream::poll_fn(move |context| lines.poll_recv(context));
    answer(StatusCode::OK, "text/plain", Body::from_stream(body.boxed()))
}

/// Source: kubelet, `validateContainerLogStatus`.
fn waiting_reason(pod: &Pod, container: &str) -> String {
    let status = pod.status.as_ref();
    let all = status.into_iter().flat_map(|status| {
        let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        lists.into_iter().flatten().flatten()
    });
    let mut own = all.filter(|status| status.name == container);
    let reason = own.find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason.as_deref() {
        Some("ErrImagePull") => "image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => "trying and failing to pull image".to_owned(),
        _ => reason.unwrap_or_else(|| "ContainerCreating".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_upstream_does() {
        let now: Timestamp = "2026-01-02T00:01:00Z".parse().unwrap_or_default();
        let ok = |text: &str| parse(text, now).ok();
        let since = "2026-01-02T00:00:50Z".parse().ok();
        assert_eq!(ok("sinceSeconds=10"), Some((Query { since, ..Query::default() }, false)));
        let query = Query { follow: true, tail_lines: Some(0), timestamps: true, ..Query::default() };
        assert_eq!(ok("follow=true&tailLines=0&timestamps=1&previous=true"), Some((query, true)));
        for text in [
            "tailLines=-1",
            "tailLines=x",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceTime=x",
            "stream=x",
            "sinceSeconds=1&sinceTime=2026-01-02T00:00:00Z",
        ] {
            assert_eq!(ok(text), None, "{text}");
        }
    }
}
