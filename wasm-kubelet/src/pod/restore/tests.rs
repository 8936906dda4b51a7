//! A kubelet that is killed at any point and comes back, over and over: pods are driven by events in any order that can
//! happen, restored from what was last written, and must neither run twice nor be forgotten.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use coracle_api::Object;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::images::{Digest, Image};
use crate::pod::report::{Node, is_worth_writing, report};
use crate::pod::state::{Effect, Event, Failure, Guest, Lack, ProbeKind};
use crate::pod::step::step;
use crate::runtime::Exit;

const SPECS: [&str; 6] = [
    r#"{"containers":[{"name":"a","image":"x"},{"name":"b","image":"x"}]}"#,
    r#"{"restartPolicy":"Never","containers":[{"name":"a","image":"x"},{"name":"b","image":"x"}]}"#,
    r#"{"restartPolicy":"OnFailure","initContainers":[{"name":"i","image":"x"},
        {"name":"s","image":"x","restartPolicy":"Always","lifecycle":{"preStop":{"sleep":{"seconds":9}}}},
        {"name":"j","image":"x"}],"containers":[{"name":"a","image":"x"}]}"#,
    r#"{"restartPolicy":"Never","initContainers":[{"name":"i","image":"x"}],"containers":[{"name":"a","image":"x",
        "restartPolicy":"Never","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}]}]}"#,
    r#"{"containers":[{"name":"a","image":"x","readinessProbe":{"tcpSocket":{"port":1}},
        "livenessProbe":{"tcpSocket":{"port":1}}}],"ephemeralContainers":[{"name":"e","image":"x"}]}"#,
    r#"{"activeDeadlineSeconds":300,"containers":[{"name":"a","image":"x","lifecycle":{
        "preStop":{"exec":{"command":["x"]}}}}]}"#,
];

/// Splitmix: a seed is a story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A node with one pod, and the API server's memory of it.
struct World {
    dice: Dice,
    now: Timestamp,
    /// What the API has: it outlives the kubelet.
    api: Value,
    state: State,
    conditions: Conditions,
    inbox: Vec<Event>,
    live: BTreeMap<usize, u32>,
    starts: BTreeMap<usize, u32>,
    /// What the node has noted: it outlives the kubelet, too.
    instances: BTreeMap<usize, Instance>,
    deletion: Option<i64>,
    is_removed: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let spec: Value = serde_json::from_str(SPECS[dice.below(SPECS.len())]).unwrap();
        let metadata = json!({"name": "p", "namespace": "n", "uid": "u", "generation": 1});
        let api = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let spec = Arc::new(Spec::of(&decode(&api), &[]));
        let mut world = Self {
            dice,
            now,
            api,
            state: State::new(spec, now),
            conditions: Conditions::default(),
            inbox: Vec::new(),
            live: BTreeMap::new(),
            starts: BTreeMap::new(),
            instances: BTreeMap::new(),
            deletion: None,
            is_removed: false,
        };
        world.change();
        world
    }

    /// Something happens.
    fn go_on(&mut self, kills: bool) {
        match self.dice.below(12) {
            0..=4 => self.deliver(),
            5..=6 => self.write(),
            7 => self.sleep(),
            8 => self.end_one(),
            9 => self.ask_again(),
            10 if kills && self.dice.once_in(3) => self.die(),
            11 if self.dice.once_in(40) => self.delete(),
            _ => self.now += SignedDuration::from_millis(200),
        }
    }

    /// What the kubelet did before it was killed is gone, and what ran with it.
    fn die(&mut self) {
        self.live.clear();
        self.inbox.clear();
        let pod = decode(&self.api);
        let spec = Arc::new(Spec::of(&pod, &[]));
        let instances: Vec<_> = self.instances.values().cloned().collect();
        let restored = restore(spec, &pod, &instances, self.now);
        (self.state, self.conditions) = (restored.state, restored.conditions);
        self.change();
    }

    fn change(&mut self) {
        let wish = Wish { deletion_grace_seconds: self.deletion, ..wish(&decode(&self.api), &self.state.spec) };
        self.apply(Event::Changed(wish));
    }

    fn delete(&mut self) {
        self.deletion = Some([0, 1, 30][self.dice.below(3)]);
        self.change();
    }

    /// One answer arrives; those about one container come in order.
    fn deliver(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let any = self.dice.below(self.inbox.len());
        let about = about(&self.inbox[any]);
        let first = self.inbox.iter().position(|event| self::about(event) == about).unwrap();
        let event = self.inbox.remove(first);
        self.apply(event);
    }

    fn sleep(&mut self) {
        if let Some(wake) = self.state.wake() {
            self.now = self.now.max(wake);
            self.apply(Event::Tick);
        }
    }

    fn end_one(&mut self) {
        let exit = [Exit::Code(0), Exit::Code(1), Exit::OutOfMemory][self.dice.below(3)].clone();
        let which = self.dice.below(self.live.len().max(1));
        if let Some((container, restart)) = self.live.iter().nth(which).map(|(c, r)| (*c, *r)) {
            self.end(Guest { container, restart }, exit);
        }
    }

    fn end(&mut self, guest: Guest, exit: Exit) {
        if self.live.get(&guest.container) == Some(&guest.restart) {
            self.live.remove(&guest.container);
            self.inbox.push(Event::Exited { guest, exit, message: String::new() });
        }
    }

    /// A probe says something, or the informer repeats itself.
    fn ask_again(&mut self) {
        if let Some((container, restart)) = self.live.iter().next().map(|(c, r)| (*c, *r)) {
            let kind = [ProbeKind::Readiness, ProbeKind::Liveness][self.dice.below(2)];
            let result = if self.dice.once_in(3) { Err("no".to_owned()) } else { Ok(()) };
            self.inbox.push(Event::Probed { guest: Guest { container, restart }, kind, result });
        }
        self.change();
    }

    fn write(&mut self) {
        if !is_worth_writing(&self.state) && !self.dice.once_in(3) {
            return;
        }
        let before = counts(&self.api);
        let was_final = phase_is_final(&self.api);
        let node = Node { ip: Ipv4Addr::LOCALHOST.into(), scheme: "wasm" };
        let report = report(&self.state, &node, &self.conditions, None, self.now);
        let mut status = report.status;
        status["conditions"].as_array_mut().unwrap().retain(|condition| condition.get("$patch").is_none());
        assert!(!was_final || status["phase"] == self.api["status"]["phase"], "an end is an end");
        self.api["status"] = status;
        self.conditions = report.conditions;
        for (name, count) in counts(&self.api) {
            assert!(count >= before.get(&name).copied().unwrap_or(0), "{name}: restarts are not forgotten");
        }
        if self.state.life == Life::Settled {
            self.apply(Event::Reported);
        }
    }

    fn apply(&mut self, event: Event) {
        let exited = if let Event::Exited { guest, .. } = &event { Some(*guest) } else { None };
        let (state, effects) = step(self.state.clone(), event, self.now);
        self.state = state;
        if let Some(guest) = exited {
            self.note_end(guest);
        }
        for effect in effects {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        let fails = self.dice.once_in(8);
        let failure = |reason| Failure { reason, message: "no".into() };
        match effect {
            Effect::Prepare if fails => self.inbox.push(Event::Prepared(Err(failure("FailedMount")))),
            Effect::Prepare => self.inbox.push(Event::Prepared(Ok(Ipv4Addr::LOCALHOST))),
            Effect::Pull { container } => {
                let image = Image::of("x", Digest::of(b"x"), std::path::Path::new("/x"));
                let result = if fails { Err(failure("ErrImagePull")) } else { Ok(image) };
                self.inbox.push(Event::Pulled { container, result });
            }
            Effect::Start { guest } if fails => {
                self.inbox.push(Event::Started { guest, result: Err(failure("RunContainerError")) });
            }
            Effect::Start { guest } => self.start(guest),
            Effect::Stop { guest } if fails || self.dice.once_in(2) => self.end(guest, Exit::Stopped),
            Effect::Stop { .. } | Effect::Probe { .. } | Effect::Notice(_) | Effect::Release => {}
            Effect::Kill { guest } => self.end(guest, Exit::Killed),
            Effect::Hook { guest, kind } => {
                let result = if fails { Err("no".into()) } else { Ok(()) };
                self.inbox.push(Event::Hooked { guest, kind, result });
            }
            Effect::Allocate => {
                let lack = Lack { is_infeasible: false, message: "no".into() };
                self.inbox.push(Event::Allocated(if fails { Err(lack) } else { Ok(()) }));
            }
            Effect::Resize { guest } => self.inbox.push(Event::Resized { guest, result: Ok(()) }),
            Effect::Delete => self.is_removed = true,
        }
    }

    fn note_end(&mut self, guest: Guest) {
        let ended = self.state.containers[guest.container].ended.clone();
        let instance = self.instances.get_mut(&guest.container).unwrap();
        if instance.restart == guest.restart && ended.is_some() {
            instance.ended = ended;
        }
    }

    fn start(&mut self, guest: Guest) {
        let name = &self.state.spec.containers[guest.container].name;
        assert!(!self.live.contains_key(&guest.container), "{name} runs twice");
        assert!(!phase_is_final(&self.api), "{name} runs again though its pod has ended");
        let ended = self.api["status"]["containerStatuses"].as_array().into_iter().flatten();
        let mut ended = ended.filter(|status| status["name"] == **name && status["state"].get("terminated").is_some());
        assert!(
            self.api["spec"]["restartPolicy"] != "Never" || !name.starts_with('b') || ended.next().is_none(),
            "{name} runs a second time"
        );
        let former = self.instances.remove(&guest.container);
        assert!(former.as_ref().is_none_or(|former| former.restart < guest.restart), "{name} has a number twice");
        let runs_once = self.api["spec"]["restartPolicy"] == "Never" && name.starts_with('b');
        assert!(!runs_once || former.is_none(), "{name} runs a second time");
        let before = former.and_then(|former| former.ended);
        let (container, restart) = (name.to_string().into(), guest.restart);
        let instance = Instance { container, restart, began: self.now, ended: None, before };
        self.instances.insert(guest.container, instance);
        self.live.insert(guest.container, guest.restart);
        *self.starts.entry(guest.container).or_default() += 1;
        self.inbox.push(Event::Started { guest, result: Ok(()) });
        self.inbox.push(Event::Up(guest));
    }
}

fn decode(pod: &Value) -> core::Pod {
    core::Pod::decode(pod.to_string().as_bytes()).unwrap()
}

fn phase_is_final(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}

fn counts(pod: &Value) -> BTreeMap<String, u32> {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let all = lists.into_iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.map(|status| {
        let count = status["restartCount"].as_u64().unwrap();
        (status["name"].as_str().unwrap().to_owned(), u32::try_from(count).unwrap())
    })
    .collect()
}

fn about(event: &Event) -> Option<usize> {
    match event {
        Event::Started { guest, .. }
        | Event::Up(guest)
        | Event::Hooked { guest, .. }
        | Event::Exited { guest, .. }
        | Event::Resized { guest, .. }
        | Event::Probed { guest, .. } => Some(guest.container),
        Event::Pulled { container, .. } => Some(*container),
        _ => None,
    }
}

#[test]
fn a_pod_survives_its_kubelet_at_any_point() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.go_on(true);
        }
        if world.deletion.is_none() {
            world.delete();
        }
        for _ in 0..2000 {
            if world.is_removed {
                break;
            }
            world.go_on(world.dice.0.is_multiple_of(8));
        }
        assert!(world.is_removed, "seed {seed}: the pod stays: {:#?}", world.state);
        assert!(world.live.is_empty(), "seed {seed}: {:?} run on", world.live);
        for (at, starts) in &world.starts {
            let restarts = world.state.containers[*at].restarts;
            assert!(restarts < *starts, "seed {seed}: {restarts} restarts of {starts} starts");
        }
    }
}

#[test]
fn restarts_are_counted_across_kubelets() {
    let mut deaths = 0;
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.go_on(false);
            // Whatever the API was told until then: the node has noted what it started.
            if world.dice.once_in(12) {
                world.die();
                deaths += 1;
            }
        }
        for (at, starts) in &world.starts {
            let container = &world.state.containers[*at];
            let name = &world.state.spec.containers[*at].name;
            assert_eq!(world.instances[at].restart + 1, *starts, "seed {seed}, {name}");
            // One that is about to be told of is not counted yet.
            let told =
                starts - u32::from(matches!(container.phase, Phase::Starting) && container.restarts + 1 < *starts);
            assert_eq!(container.restarts + 1, told, "seed {seed}, {name}");
        }
    }
    assert!(deaths > 500, "{deaths} deaths only");
}
