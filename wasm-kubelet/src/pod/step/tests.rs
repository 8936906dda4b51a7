//! The life of pods, told as events and what comes of them.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use coracle_api::Object;
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::super::instances::Instance;
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
            Effect::Hook { guest, kind } => format!("{kind:?} {}/{}", name(guest.container), guest.restart),
            Effect::Probe { guest } => format!("probe {}/{}", name(guest.container), guest.restart),
            Effect::Allocate => "allocate".into(),
            Effect::Resize { guest } => format!("resize {}/{}", name(guest.container), guest.restart),
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
        self.on(Event::Exited { guest, exit, message: String::new() })
    }

    /// The status in a line a container, as `kubectl get pod` has it.
    fn status(&mut self) -> &mut Self {
        let node = Node { ip: Ipv4Addr::LOCALHOST.into(), scheme: "wasm" };
        let report = report(&self.state, &node, &Conditions::default(), None, self.now);
        let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
            .map(|list| report.status[list].as_array().cloned());
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
        let is_true = |kind| report.conditions.held.iter().any(|c| c.kind == kind && c.is_true);
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
        Effect::Stop { guest } => vec![Event::Exited { guest, exit: Exit::Stopped, message: String::new() }],
        Effect::Hook { guest, kind } => vec![Event::Hooked { guest, kind, result: Ok(()) }],
        Effect::Allocate => vec![Event::Allocated(Ok(()))],
        Effect::Resize { guest } => vec![Event::Resized { guest, result: Ok(()) }],
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
        5s Killing: Stopping container a
        5s stop a/0
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
        0s Killing: Stopping container a
        0s stop a/0
        30s kill a/0
        30s release
        = Failed [a: terminated "Error" 137 x0]
    "#]]);
    let mut pod = Pod::new(r#"{"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).only(deleted(30)).wait(10).only(deleted(0)).told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s Killing: Stopping container a
        0s stop a/0
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
        4s Killing: Stopping container side
        4s stop side/1
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
        = Failed [a: waiting "ContainerCreating" x0]
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
        0s probe a/0
        = Running [a: running x0]
        = Running [a: running x0]
        = Running Ready [a: running ready x0]
        = Running [a: running x0]
        0s Killing: Container a failed liveness probe, will be restarted
        0s stop a/0
        = Running [a: running x0]
        7s kill a/0
        7s pull a
        7s start a/1
        7s probe a/1
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
        60s Killing: Stopping container a
        60s stop a/0
        60s release
        = Failed [a: terminated "Error" 143 x0]
    "#]]);
}

#[test]
fn a_pod_that_the_node_ends_has_failed_once_nothing_of_it_runs() {
    // A pod over its deadline was told to have failed, and replaced, while it still ran.
    let mut pod = Pod::new(
        r#"{"containers":[{"name":"a","image":"hello"}],
        "initContainers":[{"name":"s","image":"hello","restartPolicy":"Always"}]}"#,
    );
    let ends = |reason: &str, seconds| {
        let outcome = Outcome::failed(reason, "for the node's sake").disruption();
        Event::Rejected(outcome.within(std::time::Duration::from_secs(seconds)))
    };
    pod.on(changed()).only(ends("Terminated", 10)).status();
    pod.only(ends("Evicted", 1)).wait(1).only(Event::Tick).status();
    pod.exit(1, Exit::Killed).status();
    pod.exit(0, Exit::Stopped).status();
    assert_eq!(pod.state.outcome.as_ref().map(|outcome| &*outcome.reason), Some("Terminated"), "the first one counts");
    pod.told(&expect![[r#"
        0s prepare
        0s pull s
        0s start s/0
        0s pull a
        0s start a/0
        0s Killing: Stopping container s
        0s Killing: Stopping container a
        0s stop a/0
        = Running Ready [s: running ready x0, a: running ready x0]
        1s stop s/0
        1s kill a/0
        = Running Ready [s: running ready x0, a: running ready x0]
        = Running [s: running ready x0, a: terminated "Error" 137 x0]
        1s release
        = Failed [s: terminated "Error" 143 x0, a: terminated "Error" 137 x0]
    "#]]);
}

#[test]
fn a_pod_that_has_done_its_work_does_not_fail() {
    let mut pod = Pod::new(
        r#"{"restartPolicy":"Never","containers":[{"name":"a","image":"hello"}],
        "initContainers":[{"name":"s","image":"hello","restartPolicy":"Always"}]}"#,
    );
    pod.on(changed());
    let guest = |container| Guest { container, restart: 0 };
    pod.only(Event::Exited { guest: guest(1), exit: Exit::Code(0), message: String::new() }).status();
    pod.only(Event::Rejected(Outcome::failed("Terminated", "too late").within(std::time::Duration::ZERO)));
    pod.exit(0, Exit::Killed).status();
    pod.only(Event::Rejected(Outcome::failed("Terminated", "too late"))).status();
    pod.told(&expect![[r#"
        0s prepare
        0s pull s
        0s start s/0
        0s pull a
        0s start a/0
        0s Killing: Stopping container s
        0s stop s/0
        = Running [s: running ready x0, a: terminated "Completed" 0 x0]
        0s kill s/0
        0s release
        = Succeeded [s: terminated "Error" 137 x0, a: terminated "Completed" 0 x0]
        = Succeeded [s: terminated "Error" 137 x0, a: terminated "Completed" 0 x0]
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
        0s Killing: Stopping container a
        0s stop a/0
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
        let restored = restore(pod.state.spec.clone(), &object, &[], pod.now);
        assert_eq!(restored.address, Some(Ipv4Addr::new(127, 64, 0, 9)));
        pod.state = restored.state;
        pod.on(changed()).status().told(&want);
    }
}

#[test]
fn what_the_api_was_not_told_of_is_known_to_the_node() {
    // A pod that runs once ran twice when its kubelet was killed before it wrote the first status.
    let ended = |code| {
        let (reason, at) = ("Error".to_owned(), "2026-01-01T00:00:00Z".parse().unwrap());
        let (message, container_id) = (String::new(), format!("of {code}"));
        Ended { exit_code: code, reason, message, started_at: None, finished_at: at, container_id }
    };
    for (policy, end, want) in [
        (
            "Never",
            None,
            expect![[r#"
            = Failed [a: terminated "ContainerStatusUnknown" 137 x4]
        "#]],
        ),
        (
            "Never",
            Some(ended(0)),
            expect![[r#"
            = Succeeded [a: terminated "Error" 0 x4]
        "#]],
        ),
        (
            "Always",
            Some(ended(1)),
            expect![[r#"
            0s prepare
            0s pull a
            0s start a/5
            = Running Ready [a: running ready x5]
        "#]],
        ),
    ] {
        let mut pod =
            Pod::new(&format!(r#"{{"restartPolicy":"{policy}","containers":[{{"name":"a","image":"hello"}}]}}"#));
        let (container, ended) = ("a".into(), end.map(Box::new));
        let instance = Instance { container, restart: 4, began: pod.now, ended, before: None };
        pod.state = restore(pod.state.spec.clone(), &core::Pod::default(), &[instance], pod.now).state;
        pod.on(changed()).status().told(&want);
    }
}

#[test]
fn what_has_ended_is_not_touched_by_a_restart() {
    let mut pod = Pod::new(r#"{"restartPolicy":"Never","containers":[{"name":"a","image":"hello"}]}"#);
    let status = r#"{"status":{"phase":"Succeeded","containerStatuses":[{"name":"a","image":"hello","imageID":"","ready":false,
        "restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}"#;
    pod.state = restore(pod.state.spec.clone(), &core::Pod::decode(status.as_bytes()).unwrap(), &[], pod.now).state;
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
        0s Killing: Container b definition changed, will be restarted
        0s stop b/0
        0s pull b
        0s start b/1
    "#]]);
}

#[test]
fn a_post_start_hook_holds_back_whoever_comes_later() {
    let mut pod = Pod::new(
        r#"{"containers":[{"name":"a","image":"hello","lifecycle":{"postStart":{"sleep":{"seconds":5}}},
        "readinessProbe":{"tcpSocket":{"port":1}}},{"name":"b","image":"hello"}]}"#,
    );
    let guest = Guest { container: 0, restart: 0 };
    pod.only(changed()).only(Event::Prepared(Ok(Ipv4Addr::LOCALHOST)));
    for container in [1, 0] {
        pod.only(Event::Pulled { container, result: Ok(image()) });
    }
    pod.only(Event::Started { guest, result: Ok(()) }).only(Event::Up(guest)).status();
    pod.wait(5).on(Event::Hooked { guest, kind: HookKind::PostStart, result: Ok(()) }).status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s pull b
        0s start a/0
        0s PostStart a/0
        = Pending [a: waiting "ContainerCreating" x0, b: waiting "ContainerCreating" x0]
        5s probe a/0
        5s start b/0
        = Running [a: running x0, b: running ready x0]
    "#]]);
}

#[test]
fn a_failed_post_start_hook_ends_its_container() {
    let mut pod = Pod::new(
        r#"{"terminationGracePeriodSeconds":7,"containers":[{"name":"a","image":"hello",
        "lifecycle":{"postStart":{"exec":{"command":["x"]}},"preStop":{"sleep":{"seconds":1}}}}]}"#,
    );
    let failed = |restart| Event::Hooked {
        guest: Guest { container: 0, restart },
        kind: HookKind::PostStart,
        result: Err("Exec lifecycle hook".into()),
    };
    let begin = |pod: &mut Pod, restart| {
        let guest = Guest { container: 0, restart };
        pod.only(Event::Pulled { container: 0, result: Ok(image()) });
        pod.only(Event::Started { guest, result: Ok(()) }).only(Event::Up(guest));
    };
    pod.only(changed()).only(Event::Prepared(Ok(Ipv4Addr::LOCALHOST)));
    begin(&mut pod, 0);
    pod.wait(1).only(failed(0)).status();
    let stopped = Event::Hooked { guest: Guest { container: 0, restart: 0 }, kind: HookKind::PreStop, result: Ok(()) };
    pod.wait(1).only(stopped);
    pod.only(Event::Exited { guest: Guest { container: 0, restart: 0 }, exit: Exit::Stopped, message: String::new() });
    begin(&mut pod, 1);
    pod.on(failed(1)).status().sleep().status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s PostStart a/0
        1s FailedPostStartHook: PostStartHook failed
        1s Killing: FailedPostStartHook
        1s PreStop a/0
        = Running [a: waiting "PostStartHookError" x0]
        2s stop a/0
        2s pull a
        2s start a/1
        2s PostStart a/1
        2s FailedPostStartHook: PostStartHook failed
        2s Killing: FailedPostStartHook
        2s PreStop a/1
        2s stop a/1
        2s BackOff: Back-off restarting failed container a in pod p_n(u)
        = Running [a: waiting "PostStartHookError" x1]
        = Running [a: waiting "CrashLoopBackOff" x1]
    "#]]);
}

#[test]
fn a_pre_stop_hook_runs_within_the_grace_period() {
    let spec = r#"{"containers":[{"name":"a","image":"hello","lifecycle":{"preStop":{"exec":{"command":["x"]}}}}]}"#;
    let guest = Guest { container: 0, restart: 0 };
    let hooked = |result: Result<(), String>| Event::Hooked { guest, kind: HookKind::PreStop, result };
    // It ends in time, and well or not.
    let mut pod = Pod::new(spec);
    pod.on(changed()).only(deleted(30)).status();
    pod.wait(20).only(hooked(Err("no".into()))).only(hooked(Ok(()))).sleep().told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s Killing: Stopping container a
        0s PreStop a/0
        = Running Ready [a: running ready x0]
        20s FailedPreStopHook: PreStopHook failed
        20s stop a/0
        30s kill a/0
    "#]]);
    // It takes all the time there is: two seconds are left to end in.
    let mut pod = Pod::new(spec);
    pod.on(changed());
    pod.story.clear();
    pod.only(deleted(30)).wait(30).only(Event::Tick).only(hooked(Ok(()))).sleep().told(&expect![[r#"
        0s Killing: Stopping container a
        0s PreStop a/0
        30s stop a/0
        32s kill a/0
    "#]]);
    // There is no time at all: none is lost.
    let mut pod = Pod::new(spec);
    pod.on(changed());
    pod.story.clear();
    pod.only(deleted(0)).told(&expect![[r#"
        0s Killing: Stopping container a
        0s stop a/0
        0s kill a/0
    "#]]);
}

#[test]
fn sidecars_end_last_and_in_reverse() {
    let spec = r#"{"initContainers":[{"name":"one","image":"hello","restartPolicy":"Always"},
        {"name":"two","image":"hello","restartPolicy":"Always","lifecycle":{"preStop":{"sleep":{"seconds":1}}}}],
        "containers":[{"name":"a","image":"hello"},{"name":"b","image":"hello"}]}"#;
    let exit = |container| Event::Exited {
        guest: Guest { container, restart: 0 },
        exit: Exit::Code(0),
        message: String::new(),
    };
    let mut pod = Pod::new(spec);
    pod.on(changed());
    pod.story.clear();
    pod.only(deleted(30)).wait(1).only(exit(2)).wait(1).only(exit(3)).status();
    let two = Guest { container: 1, restart: 0 };
    pod.wait(1).only(Event::Hooked { guest: two, kind: HookKind::PreStop, result: Ok(()) });
    pod.wait(1).only(exit(1)).wait(1).only(exit(0)).told(&expect![[r#"
        0s Killing: Stopping container one
        0s Killing: Stopping container two
        0s PreStop two/0
        0s Killing: Stopping container a
        0s Killing: Stopping container b
        0s stop a/0
        0s stop b/0
        = Running [one: running ready x0, two: running ready x0, a: terminated "Completed" 0 x0, b: terminated "Completed" 0 x0]
        3s stop two/0
        4s stop one/0
        5s release
    "#]]);
    // Whom they serve does not end: when the time is up they are asked as well, and have two seconds.
    let mut pod = Pod::new(spec);
    pod.on(changed());
    pod.story.clear();
    pod.only(deleted(30)).wait(30).only(Event::Tick).only(exit(2)).only(exit(3)).wait(2).only(Event::Tick);
    pod.told(&expect![[r#"
        0s Killing: Stopping container one
        0s Killing: Stopping container two
        0s PreStop two/0
        0s Killing: Stopping container a
        0s Killing: Stopping container b
        0s stop a/0
        0s stop b/0
        30s stop one/0
        30s stop two/0
        30s kill a/0
        30s kill b/0
        32s kill one/0
        32s kill two/0
    "#]]);
}

#[test]
fn a_signal_that_cannot_be_caught_kills_at_once() {
    let mut pod = Pod::new(
        r#"{"os":{"name":"linux"},"containers":[{"name":"a","image":"hello","lifecycle":{"stopSignal":"SIGKILL"}}]}"#,
    );
    pod.on(changed()).only(deleted(30)).told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s Killing: Stopping container a
        0s kill a/0
    "#]]);
}

#[test]
fn containers_have_restart_policies_and_rules_of_their_own() {
    let rules = |operator: &str| {
        format!(
            r#""restartPolicy":"Never","restartPolicyRules":[{{"action":"Restart","exitCodes":{{"operator":"{operator}","values":[42]}}}}]"#
        )
    };
    let none = String::new();
    // The pod's policy, the container's own, its exit code, and whether it is started again.
    for (pod, own, code, again) in [
        ("Never", rules("In"), 42, true),
        ("Never", rules("In"), 1, false),
        ("Always", rules("In"), 1, false),
        ("Never", rules("NotIn"), 42, false),
        ("Never", rules("NotIn"), 0, true),
        ("Always", r#""restartPolicy":"OnFailure""#.into(), 0, false),
        ("Always", r#""restartPolicy":"OnFailure""#.into(), 1, true),
        ("Never", r#""restartPolicy":"Always""#.into(), 0, true),
        ("OnFailure", none.clone(), 0, false),
        ("OnFailure", none, 1, true),
    ] {
        let comma = if own.is_empty() { "" } else { "," };
        let spec = format!(r#"{{"restartPolicy":"{pod}","containers":[{{"name":"a","image":"hello"{comma}{own}}}]}}"#);
        let mut pod_ = Pod::new(&spec);
        pod_.on(changed()).exit(0, Exit::Code(code));
        assert_eq!(pod_.state.containers[0].restarts == 1, again, "{spec} {code}");
        assert_eq!(pod_.state.phase().is_final(), !again, "{spec} {code}");
    }
    // An init container that is not restarted fails its pod whatever the pod's policy is.
    for (own, again) in [(r#""restartPolicy":"Never""#.to_owned(), false), (rules("In"), true)] {
        let spec = format!(
            r#"{{"initContainers":[{{"name":"i","image":"hello",{own}}}],"containers":[{{"name":"a","image":"hello"}}]}}"#
        );
        let mut pod = Pod::new(&spec);
        pod.on(changed()).exit(0, Exit::Code(42));
        assert_eq!(
            (pod.state.containers[0].restarts == 1, pod.state.phase()),
            (again, if again { PodPhase::Pending } else { PodPhase::Failed })
        );
    }
}

#[test]
fn ephemeral_containers_join_run_once_and_decide_nothing() {
    let mut pod = Pod::new(r#"{"restartPolicy":"OnFailure","containers":[{"name":"a","image":"hello"}]}"#);
    let more = r#"{"restartPolicy":"OnFailure","containers":[{"name":"a","image":"hello"}],
        "ephemeralContainers":[{"name":"e","image":"hello"},{"name":"f","image":"hello"}]}"#;
    pod.on(changed()).on(Event::Changed(Wish { spec: Some(spec(more).1), ..Wish::default() })).status();
    pod.wait(1).exit(1, Exit::Code(1)).status();
    assert_eq!(pod.state.wake(), None, "it is not started again");
    pod.wait(1).exit(0, Exit::Code(0)).status().told(&expect![[r#"
        0s prepare
        0s pull a
        0s start a/0
        0s pull e
        0s pull f
        0s start e/0
        0s start f/0
        = Running Ready [a: running ready x0, e: running x0, f: running x0]
        = Running Ready [a: running ready x0, e: terminated "Error" 1 x0, f: running x0]
        2s Killing: Stopping container f
        2s stop f/0
        2s release
        = Succeeded [a: terminated "Completed" 0 x0, e: terminated "Error" 1 x0, f: terminated "Error" 143 x0]
    "#]]);
}

#[test]
fn last_words_are_the_files_or_else_the_traps() {
    let trap = || Exit::Trap { message: "unreachable".into() };
    for (exit, words, want) in [
        (Exit::Code(1), "sorry".to_owned(), "sorry".to_owned()),
        (trap(), String::new(), "unreachable".into()),
        (trap(), "sorry".into(), "sorry".into()),
        (Exit::Code(1), "é".repeat(4000), "é".repeat(2048)),
    ] {
        let mut pod = Pod::new(r#"{"restartPolicy":"Never","containers":[{"name":"a","image":"hello"}]}"#);
        let guest = Guest { container: 0, restart: 0 };
        pod.on(changed()).on(Event::Exited { guest, exit, message: words });
        assert_eq!(pod.state.containers[0].ended.as_ref().unwrap().message, want);
    }
}

#[test]
fn many_containers_share_the_room_for_last_words() {
    let each: Vec<String> = (0..6).map(|n| format!(r#"{{"name":"c{n}","image":"hello"}}"#)).collect();
    let mut pod = Pod::new(&format!(r#"{{"restartPolicy":"Never","containers":[{}]}}"#, each.join(",")));
    pod.on(changed());
    for container in 0..6 {
        let guest = Guest { container, restart: 0 };
        pod.on(Event::Exited { guest, exit: Exit::Code(1), message: "x".repeat(4096) });
    }
    let node = Node { ip: Ipv4Addr::LOCALHOST.into(), scheme: "wasm" };
    let status = report(&pod.state, &node, &Conditions::default(), None, pod.now).status;
    for container in status["containerStatuses"].as_array().unwrap() {
        assert_eq!(container["state"]["terminated"]["message"].as_str().unwrap().len(), 2048);
    }
}

/// The conditions as `type=status reason: message`, and which are taken out.
fn conditions(pod: &Pod, before: &mut Conditions) -> String {
    let node = Node { ip: Ipv4Addr::LOCALHOST.into(), scheme: "wasm" };
    let report = report(&pod.state, &node, before, None, pod.now);
    let each = report
        .conditions
        .held
        .iter()
        .map(|c| format!("{}={} {}: {}\n", c.kind, c.is_true, c.reason, c.message).replace(" : \n", "\n"));
    let lifted = report.conditions.lifted.iter().map(|kind| format!("-{kind}\n"));
    let text = each.chain(lifted).collect();
    *before = report.conditions;
    text
}

#[test]
fn conditions_say_what_upstreams_do() {
    let mut before = Conditions::default();
    let mut pod = Pod::new(
        r#"{"restartPolicy":"Never","readinessGates":[{"conditionType":"x/a"},{"conditionType":"x/b"}],
        "initContainers":[{"name":"i","image":"hello"},{"name":"s","image":"hello","restartPolicy":"Always"}],
        "containers":[{"name":"a","image":"hello"}]}"#,
    );
    let gates = |a: Option<&str>| Wish {
        unmet_gates: [("x/a", a), ("x/b", None)]
            .map(|(kind, status)| Gate { kind: kind.into(), status: status.map(str::to_owned) })
            .into(),
        ..Wish::default()
    };
    let mut text = String::new();
    pod.on(Event::Changed(gates(Some("False"))));
    text += &conditions(&pod, &mut before);
    pod.exit(0, Exit::Code(0));
    text += "\n";
    text += &conditions(&pod, &mut before);
    pod.on(Event::Changed(Wish::default()));
    text += "\n";
    text += &conditions(&pod, &mut before);
    let evicted = Outcome::failed("Evicted", "The node was low on resource: memory. ").disruption();
    pod.on(Event::Rejected(evicted));
    text += "\n";
    text += &conditions(&pod, &mut before);
    expect![[r#"
        PodReadyToStartContainers=true
        Initialized=false ContainersNotInitialized: containers with incomplete status: [i s]
        Ready=false ContainersNotReady: containers with unready status: [s a]
        ContainersReady=false ContainersNotReady: containers with unready status: [s a]

        PodReadyToStartContainers=true
        Initialized=true
        Ready=false ReadinessGatesNotReady: the status of pod readiness gate "x/a" is not "True", but False, corresponding condition of pod readiness gate "x/b" does not exist.
        ContainersReady=true

        PodReadyToStartContainers=true
        Initialized=true
        Ready=true
        ContainersReady=true

        PodReadyToStartContainers=false
        Initialized=true
        Ready=false PodFailed: 
        ContainersReady=false PodFailed: 
        DisruptionTarget=true TerminationByKubelet: The node was low on resource: memory. 
    "#]].assert_eq(&text);
}

const SMALL: &str = r#"{"containers":[{"name":"a","image":"hello","resources":{"requests":{"cpu":"100m","memory":"1Mi"}},
    "resizePolicy":[{"resourceName":"memory","restartPolicy":"RestartContainer"}]}]}"#;

fn resized(cpu: &str, memory: &str) -> Event {
    let json = SMALL.replace("100m", cpu).replace("1Mi", memory);
    Event::Changed(Wish { spec: Some(spec(&json).1), ..Wish::default() })
}

#[test]
fn resources_change_in_place_or_with_a_restart() {
    let mut before = Conditions::default();
    let mut pod = Pod::new(SMALL);
    pod.on(changed());
    pod.story.clear();
    pod.on(resized("200m", "1Mi")).wait(1).on(resized("200m", "2Mi")).status();
    pod.wait(1).on(resized("0.2", "2Mi")).told(&expect![[r#"
        0s allocate
        0s resize a/0
        1s allocate
        1s Killing: Container a resize requires restart
        1s stop a/0
        1s pull a
        1s start a/1
        = Running Ready [a: running ready x1]
    "#]]);
    assert_eq!(pod.state.resize, None);
    // What the node lacks is asked for again, unless it never will have it; meanwhile nothing changes.
    let lack = |is_infeasible| Event::Allocated(Err(Lack { is_infeasible, message: "no cpu".into() }));
    let mut text = String::new();
    pod.only(resized("300m", "2Mi")).only(lack(false));
    text += &conditions(&pod, &mut before);
    assert_eq!(pod.state.wake(), Some(pod.now + SignedDuration::from_secs(10)));
    pod.story.clear();
    pod.wait(10).only(Event::Tick).only(lack(true)).told(&expect![[r#"
        12s allocate
    "#]]);
    text += "\n";
    text += &conditions(&pod, &mut before);
    assert_eq!(pod.state.wake(), None);
    let cpu = |pod: &Pod| pod.state.containers[0].resources.cpu_millis_requested();
    assert_eq!(cpu(&pod), 200);
    // It is given, but the instance does not take it.
    pod.only(resized("250m", "2Mi")).only(Event::Allocated(Ok(())));
    let guest = Guest { container: 0, restart: 1 };
    pod.only(Event::Resized { guest, result: Err("too late".into()) });
    text += "\n";
    text += &conditions(&pod, &mut before);
    pod.only(Event::Resized { guest, result: Ok(()) });
    text += "\n";
    text += &conditions(&pod, &mut before);
    expect![[r#"
        PodReadyToStartContainers=true
        Initialized=true
        Ready=true
        ContainersReady=true
        PodResizePending=true Deferred: no cpu

        PodReadyToStartContainers=true
        Initialized=true
        Ready=true
        ContainersReady=true
        PodResizePending=true Infeasible: no cpu

        PodReadyToStartContainers=true
        Initialized=true
        Ready=true
        ContainersReady=true
        PodResizeInProgress=true Error: too late
        -PodResizePending

        PodReadyToStartContainers=true
        Initialized=true
        Ready=true
        ContainersReady=true
        -PodResizePending
        -PodResizeInProgress
    "#]]
    .assert_eq(&text);
    assert_eq!((cpu(&pod), pod.state.resize.clone()), (250, None));
}

#[test]
fn a_deadline_may_come_later_or_go() {
    let with = |deadline: &str| {
        let json = format!(r#"{{{deadline}"containers":[{{"name":"a","image":"hello"}}]}}"#);
        Event::Changed(Wish { spec: Some(spec(&json).1), ..Wish::default() })
    };
    let mut pod = Pod::new(r#"{"activeDeadlineSeconds":60,"containers":[{"name":"a","image":"hello"}]}"#);
    pod.on(changed()).on(with(r#""activeDeadlineSeconds":30,"#));
    assert_eq!(pod.state.wake(), Some(pod.begun + SignedDuration::from_secs(30)));
    pod.wait(31).on(with(r#""activeDeadlineSeconds":10,"#)).on(Event::Tick).status();
    assert_eq!(pod.state.phase(), PodPhase::Failed);
}

#[test]
fn a_rule_has_the_whole_pod_start_over() {
    let mut pod = Pod::new(
        r#"{"restartPolicy":"Never","initContainers":[{"name":"i","image":"hello"},
        {"name":"s","image":"hello","restartPolicy":"Always"}],"containers":[{"name":"a","image":"hello"},
        {"name":"b","image":"hello","restartPolicy":"Never","restartPolicyRules":[
        {"action":"RestartAllContainers","exitCodes":{"operator":"In","values":[42]}}]}]}"#,
    );
    pod.on(changed()).exit(0, Exit::Code(0));
    pod.story.clear();
    pod.wait(1).only(Event::Exited {
        guest: Guest { container: 3, restart: 0 },
        exit: Exit::Code(42),
        message: String::new(),
    });
    let text = conditions(&pod, &mut Conditions::default());
    assert!(text.contains("AllContainersRestarting=true"), "{text}");
    pod.exit(2, Exit::Stopped).status().exit(0, Exit::Code(0)).status().told(&expect![[r#"
        1s Killing: Stopping container s
        1s Killing: Stopping container a
        1s stop a/0
        1s stop s/0
        1s pull i
        1s start i/1
        = Pending [i: running ready x1, s: waiting "PodInitializing" x1, a: waiting "PodInitializing" x1, b: waiting "PodInitializing" x1]
        1s pull s
        1s start s/1
        1s pull a
        1s pull b
        1s start a/1
        1s start b/1
        = Running Ready [i: terminated "Completed" 0 ready x1, s: running ready x1, a: running ready x1, b: running ready x1]
    "#]]);
}
