//! The life of pods, told as events and what comes of them.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use coracle_api::Object;
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::super::report::{Conditions, Node, report};
use super::super::restore::restore;
use super::super::spec::Spec;
use super::super::state::*;
use super::step;
use crate::images::{Digest, Image};
use crate::runtime::Exit;

/// A pod under a clock that only the test moves.
struct Pod {
    state: State,
    now: Timestamp,
    begun: Timestamp,
    story: String,
}

fn spec(json: &str) -> (core::Pod, Arc<Spec>) {
    let pod = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","namespace":"n","uid":"u"}},"spec":{json}}}"#
    );
    let pod = core::Pod::decode(pod.as_bytes()).unwrap();
    let spec = Arc::new(Spec::of(&pod, &[]));
    (pod, spec)
}

impl Pod {
    fn new(json: &str) -> Self {
        let begun: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let state = State::new(spec(json).1, begun);
        Self { state, now: begun, begun, story: String::new() }
    }

    /// Takes an event, does what is asked as a host that never fails would, and writes down what the pod wanted.
    fn on(&mut self, event: Event) -> &mut Self {
        self.step(event, true)
    }

    /// As [`Pod::on`], with a host that does nothing.
    fn only(&mut self, event: Event) -> &mut Self {
        self.step(event, false)
    }

    fn step(&mut self, event: Event, obliging: bool) -> &mut Self {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (state, effects) = step(self.state.clone(), event, self.now);
            self.state = state;
            for effect in effects {
                self.tell(&effect);
                if obliging {
                    events.extend(oblige(effect));
                }
            }
        }
        self
    }

    fn tell(&mut self, effect: &Effect) {
        let seconds = self.now.duration_since(self.begun).as_secs();
        let name = |at: usize| self.state.spec.containers[at].name.clone();
        let text = match effect {
            Effect::Prepare => "prepare".into(),
            Effect::Pull { container } => format!("pull {}", name(*container)),
            Effect::Start { guest } => format!("start {}/{}", name(guest.container), guest.restart),
            Effect::Stop { guest } => format!("stop {}/{}", name(guest.container), guest.restart),
            Effect::Kill { guest } => format!("kill {}/{}", name(guest.container), guest.restart),
            Effect::Notice(Notice { reason: "Created" | "Started", .. }) => return,
            Effect::Notice(notice) => format!("{}: {}", notice.reason, notice.message),
            Effect::Release => "release".into(),
            Effect::Delete => "delete".into(),
        };
        self.story += &format!("{seconds}s {text}\n");
    }

    fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }

    /// Moves to when the pod next wants to be woken, and wakes it.
    fn sleep(&mut self) -> &mut Self {
        self.now = self.state.wake().expect("the pod waits for a time");
        self.on(Event::Tick)
    }

    fn exit(&mut self, container: usize, exit: Exit) -> &mut Self {
        let guest = Guest { container, restart: self.state.containers[container].restarts };
        self.on(Event::Exited { guest, exit })
    }

    /// The status in a line a container, as `kubectl get pod` has it.
    fn status(&mut self) -> &mut Self {
        let node = Node { ip: Ipv4Addr::LOCALHOST.into(), scheme: "wasm" };
        let report = report(&self.state, &node, &Conditions::default(), None, self.now);
        let lists = ["initContainerStatuses", "containerStatuses"].map(|list| report.status[list].as_array().cloned());
        let each = lists.into_iter().flatten().flatten().map(|status| {
            let (kind, state) = status["state"].as_object().unwrap().iter().next().unwrap();
            let detail =
                ["reason", "exitCode"].map(|key| state.get(key).map(|value| format!(" {value}")).unwrap_or_default());
            let ready = if status["ready"] == true { " ready" } else { "" };
            format!(
                "{}: {kind}{}{ready} x{}",
                status["name"].as_str().unwrap(),
                detail.concat(),
                status["restartCount"]
            )
        });
        let each: Vec<String> = each.collect();
        let is_true = |kind| report.conditions.0.iter().any(|c| c.kind == kind && c.is_true);
        let ready = if is_true("Ready") { " Ready" } else { "" };
        self.story += &format!("= {}{ready} [{}]\n", report.phase.as_str(), each.join(", "));
        self
    }

    fn told(&self, want: &Expect) {
        want.assert_eq(&self.story);
    }
}

fn image() -> Image {
    Image::of("hello:latest", Digest::of(b"hello"), std::path::Path::new("/x"))
}

fn oblige(effect: Effect) -> Vec<Event> {
    match effect {
        Effect::Prepare => vec![Event::Prepared(Ok(Ipv4Addr::new(127, 64, 0, 1)))],
        Effect::Pull { container } => vec![Event::Pulled { container, result: Ok(image()) }],
        Effect::Start { guest } => vec![Event::Started { guest, result: Ok(()) }, Event::Up(guest)],
        Effect::Stop { guest } => vec![Event::Exited { guest, exit: Exit::Stopped }],
        _ => Vec::new(),
    }
}

fn changed() -> Event {
    Event::Changed(Wish::default())
}

fn deleted(grace_seconds: i64) -> Event {
    Event::Changed(Wish { deletion_grace_seconds: Some(grace_seconds), ..Wish::default() })
}

#[test]
fn a_pod_runs_and_is_deleted() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.status().on(changed()).status();
    pod.wait(5).on(deleted(30)).status().on(Event::Reported).on(Event::Gone).told(&expect![[r#"
        = Pending [a: waiting "ContainerCreating" x0]
        0s prepare
        0s pull a
        0s start a/0
        = Running Ready [a: running ready x0]
        5s stop a/0
        5s Killing: Stopping container a
        5s release
        = Failed [a: terminated "Error" 143 x0]
        5s delete
    "#]]);
}

#[test]
fn a_guest_that_does_not_listen_is_killed_after_its_grace() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).only(deleted(30));
    pod.wait(10).only(changed()).sleep();
    pod.exit(0, Exit::Killed).status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s stop a/0
        0s Killing: Stopping container a
        30s kill a/0
        30s release
        = Failed [a: terminated "Error" 137 x0]
    "#]]);
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).only(deleted(30)).wait(10).only(deleted(0)).told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s stop a/0
        0s Killing: Stopping container a
        10s kill a/0
    "#]]);
}

#[test]
fn crashes_back_off_and_are_forgotten_after_ten_minutes() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed());
    pod.wait(1).exit(0, Exit::Code(1)).status();
    pod.wait(1).exit(0, Exit::OutOfMemory).status().sleep().status();
    pod.exit(0, Exit::Trap { message: "unreachable".into() }).sleep();
    pod.wait(700).exit(0, Exit::Code(0)).status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        1s pull a
        1s start a/1
        = Running Ready [a: running ready x1]
        2s BackOff: Back-off restarting failed container a in pod p_n(u)
        = Running [a: waiting "CrashLoopBackOff" x1]
        12s pull a
        12s start a/2
        = Running Ready [a: running ready x2]
        12s BackOff: Back-off restarting failed container a in pod p_n(u)
        32s pull a
        32s start a/3
        732s pull a
        732s start a/4
        = Running Ready [a: running ready x4]
    "#]]);
}

#[test]
fn one_shots_end_as_their_policy_says() {
    for (policy, code, want) in [
        (
            "Never",
            0,
            expect![[r#"
            = Succeeded [a: terminated "Completed" 0 x0]
        "#]],
        ),
        (
            "Never",
            3,
            expect![[r#"
            = Failed [a: terminated "Error" 3 x0]
        "#]],
        ),
        (
            "OnFailure",
            0,
            expect![[r#"
            = Succeeded [a: terminated "Completed" 0 x0]
        "#]],
        ),
        (
            "OnFailure",
            3,
            expect![[r#"
            = Running Ready [a: running ready x1]
        "#]],
        ),
    ] {
        let mut pod =
            Pod::new(&format!(r#"{{"restartPolicy":"{policy}","containers":[{{"name":"a","image":"hello"}}]}}"#));
        pod.on(changed()).exit(0, Exit::Code(code));
        pod.story.clear();
        pod.status().told(&want);
    }
}

#[test]
fn a_missing_image_is_waited_for_ever_longer() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    let missing = || Event::Pulled {
        container: 0,
        result: Err(Failure { reason: "ErrImagePull", message: "no such image".into() }),
    };
    pod.only(changed()).only(Event::Prepared(Ok(Ipv4Addr::new(127, 64, 0, 1)))).only(missing()).status();
    for _ in 0..3 {
        pod.now = pod.state.wake().unwrap();
        pod.only(Event::Tick);
        if matches!(pod.state.containers[0].phase, Phase::Pulling) {
            pod.only(missing());
        }
        pod.status();
    }
    pod.on(Event::Tick).sleep().status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s Failed: Failed to pull image "hello": no such image
        0s Failed: Error: ErrImagePull
        = Pending [a: waiting "ErrImagePull" x0]
        1s BackOff: Back-off pulling image "hello"
        1s Failed: Error: ImagePullBackOff
        = Pending [a: waiting "ImagePullBackOff" x0]
        10s pull a
        10s Failed: Failed to pull image "hello": no such image
        10s Failed: Error: ErrImagePull
        = Pending [a: waiting "ErrImagePull" x0]
        11s BackOff: Back-off pulling image "hello"
        11s Failed: Error: ImagePullBackOff
        = Pending [a: waiting "ImagePullBackOff" x0]
        30s pull a
        30s start a/0
        = Running Ready [a: running ready x0]
    "#]]);
}

#[test]
fn an_image_of_another_kind_is_refused_once() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"nginx"}]}"#);
    let failure = Failure { reason: "ErrImagePull", message: "a Linux image".into() };
    pod.only(changed()).only(Event::Prepared(Ok(Ipv4Addr::new(127, 64, 0, 1))));
    pod.only(Event::Refused { container: 0, failure }).status();
    assert_eq!(pod.state.wake(), None, "nothing is tried again");
    pod.told(&expect![[r#"
        0s prepare
        0s pull a
        0s Failed: Failed to pull image "nginx": a Linux image
        0s Failed: Error: ErrImagePull
        = Pending [a: waiting "ErrImagePull" x0]
    "#]]);
}

#[test]
fn volumes_are_tried_again_ever_later() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    let missing = || Event::Prepared(Err(Failure { reason: "FailedMount", message: "no map".into() }));
    pod.only(changed()).only(missing()).status();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        pauses.push(pod.state.wake().unwrap().duration_since(pod.now).as_millis());
        pod.now = pod.state.wake().unwrap();
        pod.only(Event::Tick).only(missing());
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 122_000, 122_000]);
    assert!(pod.story.contains("= Pending [a: waiting \"ContainerCreating\" x0]"), "{}", pod.story);
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut pod = Pod::new(
        r#"{"restartPolicy":"OnFailure","initContainers":[{"name":"one","image":"hello"},
        {"name":"side","image":"hello","restartPolicy":"Always"},{"name":"two","image":"hello"}],
        "containers":[{"name":"a","image":"hello"}]}"#,
    );
    pod.on(changed()).status();
    pod.wait(1).exit(0, Exit::Code(1)).exit(0, Exit::Code(0)).status();
    pod.wait(1).exit(2, Exit::Code(0)).status();
    pod.wait(1).exit(1, Exit::Code(0)).status();
    pod.wait(1).exit(3, Exit::Code(0)).status().told(&expect![[r#"
        0s prepare
        0s pull one
        0s start one/0
        = Pending [one: running ready x0, side: waiting "PodInitializing" x0, two: waiting "PodInitializing" x0, a: waiting "PodInitializing" x0]
        1s pull one
        1s start one/1
        1s pull side
        1s start side/0
        1s pull two
        1s start two/0
        = Pending [one: terminated "Completed" 0 ready x1, side: running ready x0, two: running ready x0, a: waiting "PodInitializing" x0]
        2s pull a
        2s start a/0
        = Running Ready [one: terminated "Completed" 0 ready x1, side: running ready x0, two: terminated "Completed" 0 ready x0, a: running ready x0]
        3s pull side
        3s start side/1
        = Running Ready [one: terminated "Completed" 0 ready x1, side: running ready x1, two: terminated "Completed" 0 ready x0, a: running ready x0]
        4s stop side/1
        4s Killing: Stopping container side
        4s release
        = Succeeded [one: terminated "Completed" 0 ready x1, side: terminated "Error" 143 x1, two: terminated "Completed" 0 ready x0, a: terminated "Completed" 0 x0]
    "#]]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut pod = Pod::new(
        r#"{"restartPolicy":"Never","initContainers":[{"name":"i","image":"hello"}],"containers":[{"name":"a","image":"hello"}]}"#,
    );
    pod.on(changed()).exit(0, Exit::Code(2)).status().told(&expect![[r#"
        0s prepare
        0s pull i
        0s start i/0
        0s release
        = Failed [i: terminated "Error" 2 x0, a: waiting "PodInitializing" x0]
    "#]]);
}

#[test]
fn what_is_refused_stays_waiting_and_says_why() {
    let mut pod = Pod::new(r#"{"hostPID":true,"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).status();
    assert_eq!(pod.state.wake(), None, "it is not tried again");
    pod.on(deleted(30)).status().on(Event::Reported).told(&expect![[r#"
        0s Failed: Error: spec.hostPID: a guest has no processes
        = Pending [a: waiting "CreateContainerConfigError" x0]
        0s release
        = Pending [a: waiting "ContainerCreating" x0]
        0s delete
    "#]]);
}

#[test]
fn probes_decide_readiness_and_restart() {
    let mut pod = Pod::new(
        r#"{"terminationGracePeriodSeconds":7,"containers":[{"name":"a","image":"hello","readinessProbe":{"tcpSocket":{"port":1}},
        "livenessProbe":{"tcpSocket":{"port":1}},"startupProbe":{"tcpSocket":{"port":1}}}]}"#,
    );
    let guest = Guest { container: 0, restart: 0 };
    let probed = |kind, ok: bool| Event::Probed { guest, kind, result: ok.then_some(()).ok_or_else(|| "no".into()) };
    pod.on(changed()).status();
    pod.on(probed(ProbeKind::Startup, true)).status();
    pod.on(probed(ProbeKind::Readiness, true)).status();
    pod.on(probed(ProbeKind::Readiness, false)).status();
    pod.only(probed(ProbeKind::Liveness, false)).status();
    pod.sleep().exit(0, Exit::Killed).status();
    pod.on(probed(ProbeKind::Liveness, false)).told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        = Running [a: running x0]
        = Running [a: running x0]
        = Running Ready [a: running ready x0]
        = Running [a: running x0]
        0s stop a/0
        0s Killing: Container a failed liveness probe, will be restarted
        = Running [a: running x0]
        7s kill a/0
        7s pull a
        7s start a/1
        = Running [a: running x1]
    "#]]);
}

#[test]
fn a_deadline_ends_a_pod() {
    let mut pod = Pod::new(r#"{"activeDeadlineSeconds":60,"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).sleep().status();
    assert_eq!(pod.state.wake(), None);
    pod.told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        60s DeadlineExceeded: Pod was active on the node longer than the specified deadline
        60s stop a/0
        60s Killing: Stopping container a
        60s release
        = Failed [a: terminated "Error" 143 x0]
    "#]]);
}

#[test]
fn a_pod_that_vanishes_is_killed_at_once() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).only(Event::Gone);
    assert!(!matches!(pod.state.life, Life::Gone { is_settled: true }));
    pod.exit(0, Exit::Killed).told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s stop a/0
        0s Killing: Stopping container a
        0s kill a/0
        0s release
    "#]]);
    assert!(matches!(pod.state.life, Life::Gone { is_settled: true }));
}

#[test]
fn a_deletion_while_a_container_starts_waits_for_it() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.only(changed()).only(Event::Prepared(Ok(Ipv4Addr::LOCALHOST)));
    pod.only(Event::Pulled { container: 0, result: Ok(image()) }).only(deleted(30));
    assert_eq!(pod.state.life, Life::Active);
    pod.on(Event::Started { guest: Guest { container: 0, restart: 0 }, result: Ok(()) });
    assert_eq!(pod.state.life, Life::Settled);
}

#[test]
fn a_stopping_kubelet_stops_and_says_nothing() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    let deadline = pod.now + SignedDuration::from_secs(5);
    pod.on(changed()).on(Event::Leave { deadline });
    assert!(matches!(pod.state.life, Life::Leaving { .. }) && !pod.state.is_busy());
    assert_eq!(pod.state.wake(), None);
}

#[test]
fn a_killed_kubelet_counts_restarts_and_never_runs_twice_what_runs_once() {
    let status = r#"{"phase":"Running","podIP":"127.64.0.9","startTime":"2025-12-31T00:00:00Z","containerStatuses":[
        {"name":"a","image":"hello","imageID":"","ready":true,"restartCount":2,"containerID":"wasm://abc",
        "state":{"running":{"startedAt":"2025-12-31T00:00:00Z"}}}]}"#;
    for (policy, want) in [
        (
            "Always",
            expect![[r#"
            0s prepare
            0s pull a
            0s start a/3
            = Running Ready [a: running ready x3]
        "#]],
        ),
        (
            "Never",
            expect![[r#"
            = Failed [a: terminated "ContainerStatusUnknown" 137 x2]
        "#]],
        ),
    ] {
        let mut pod =
            Pod::new(&format!(r#"{{"restartPolicy":"{policy}","containers":[{{"name":"a","image":"hello"}}]}}"#));
        let object = core::Pod {
            status: core::Pod::decode(format!(r#"{{"status":{status}}}"#).as_bytes()).unwrap().status,
            ..core::Pod::default()
        };
        let restored = restore(pod.state.spec.clone(), &object, pod.now);
        assert_eq!(restored.address, Some(Ipv4Addr::new(127, 64, 0, 9)));
        pod.state = restored.state;
        pod.on(changed()).status().told(&want);
    }
}

#[test]
fn what_has_ended_is_not_touched_by_a_restart() {
    let mut pod = Pod::new(r#"{"restartPolicy":"Never","containers":[{"name":"a","image":"hello"}]}"#);
    let status = r#"{"status":{"phase":"Succeeded","containerStatuses":[{"name":"a","image":"hello","imageID":"","ready":false,
        "restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}"#;
    pod.state = restore(pod.state.spec.clone(), &core::Pod::decode(status.as_bytes()).unwrap(), pod.now).state;
    pod.on(changed()).status().on(deleted(0)).told(&expect![[r#"
        = Succeeded [a: terminated "Completed" 0 x0]
        0s delete
    "#]]);
}

#[test]
fn a_changed_image_restarts_its_container() {
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"},{"name":"b","image":"hello"}]}"#);
    let other = spec(r#"{"containers":[{"name":"a","image":"hello"},{"name":"b","image":"other"}]}"#).1;
    pod.on(changed());
    pod.story.clear();
    pod.on(Event::Changed(Wish { spec: Some(other), ..Wish::default() })).told(&expect![[r#"
        0s stop b/0
        0s Killing: Container b definition changed, will be restarted
        0s pull b
        0s start b/1
    "#]]);
}
