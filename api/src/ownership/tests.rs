//! Upstream's behaviours, as stories of writes; and what must hold for any objects.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema;

/// An object that managers write.
#[derive(Clone, Debug)]
struct Live {
    type_: Type<'static>,
    api_version: &'static str,
    object: Value,
    managed: Vec<u8>,
    seconds: i64,
}

impl Live {
    fn new(group: &str, version: &str, kind: &str) -> Self {
        let type_ = Type::of(schema::find_kind(group, version, kind).unwrap());
        let api_version = if group.is_empty() { "v1" } else { "apps/v1" };
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {}});
        Self { type_, api_version, object, managed: Vec::new(), seconds: 0 }
    }

    fn map() -> Self {
        Self::new("", "v1", "ConfigMap")
    }

    fn deployment() -> Self {
        Self::new("apps", "v1", "Deployment")
    }

    fn request<'r>(&self, manager: &'r str, subresource: &'r str) -> Request<'r> {
        let reset = if subresource == "status" { Reset::Except(&[&["spec"]]) } else { Reset::Except(&[&["status"]]) };
        let (api_version, seconds, type_) = (self.api_version, self.seconds, self.type_);
        Request { manager, api_version, subresource, seconds, type_, reset, versions: &OneVersion }
    }

    fn try_apply(&mut self, manager: &str, force: bool, config: &Value) -> Result<(), ApplyError> {
        self.seconds += 1;
        let config = self.whole(config);
        let zero = json!({"metadata": {}, "kind": config["kind"]});
        let live = if self.managed.is_empty() { zero.clone() } else { self.object.clone() };
        let applied = self.request(manager, "").apply(&zero, &live, &self.managed, &config, force)?;
        if let Some(object) = applied.object {
            self.object = object;
        }
        self.managed = applied.managed;
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: &Value) {
        self.try_apply(manager, false, config).unwrap();
    }

    #[track_caller]
    fn conflicts(&mut self, manager: &str, config: &Value) -> Vec<String> {
        match self.try_apply(manager, false, config) {
            Err(ApplyError::Conflicts(all)) => all.iter().map(|c| format!("{} {}", c.manager, c.field)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, manager: &str, subresource: &str, object: Value) {
        self.seconds += 1;
        let (old, new) = (self.object.to_string(), object.to_string());
        let live = State { json: old.as_bytes(), managed: &self.managed };
        let new = State { json: new.as_bytes(), managed: b"" };
        let request = self.request(manager, subresource);
        let managed = if self.managed.is_empty() { request.created(b"{}", new) } else { request.updated(live, new) };
        (self.object, self.managed) = (object, managed);
    }

    fn update(&mut self, manager: &str, object: &Value) {
        let object = self.whole(object);
        self.write(manager, "", object);
    }

    /// The object with what says which one it is.
    fn whole(&self, object: &Value) -> Value {
        let mut whole = object.clone();
        whole["apiVersion"] = self.api_version.into();
        whole["kind"] = self.object["kind"].clone();
        whole["metadata"]["name"] = "a".into();
        whole
    }

    /// Every manager with its fields and its time.
    fn owners(&self) -> Vec<String> {
        let managed = Managed::read(&self.managed).unwrap();
        let told = |entry: &Entry<'_>| {
            let mut fields = Vec::new();
            entry.fields.write(&mut fields);
            let at = entry.seconds.map_or("-".to_owned(), |seconds| seconds.to_string());
            let (name, operation) = (&entry.manager.name, entry.manager.operation.as_str());
            format!("{name} {operation} {at} {}", String::from_utf8(fields).unwrap())
        };
        managed.entries.iter().map(told).collect()
    }
}

fn data(pairs: &[(&str, &str)]) -> Value {
    json!({"data": pairs.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect::<serde_json::Map<_, _>>()})
}

#[test]
fn an_applier_owns_what_it_names_and_lets_go_of_the_rest() {
    let mut live = Live::map();
    live.apply("one", &data(&[("x", "1"), ("y", "1")]));
    assert_eq!(live.owners(), [r#"one Apply 1 {"f:data":{"f:x":{},"f:y":{}}}"#]);
    live.apply("one", &data(&[("y", "1")]));
    assert_eq!(live.object["data"], json!({"y": "1"}));
    assert_eq!(live.owners(), [r#"one Apply 2 {"f:data":{"f:y":{}}}"#]);
    // Nothing changes: not even the time.
    let before = live.clone();
    live.apply("one", &data(&[("y", "1")]));
    assert_eq!((&live.object, &live.managed), (&before.object, &before.managed));
    live.apply("one", &json!({"data": {}}));
    assert_eq!(live.object["data"], Value::Null, "a map that was emptied is owned, and null");
    assert_eq!(live.owners(), [r#"one Apply 4 {"f:data":{}}"#]);
    live.apply("one", &json!({}));
    assert_eq!(live.object.get("data"), None);
    assert_eq!(live.managed, b"");
}

#[test]
fn what_two_want_is_shared_and_what_they_do_not_agree_on_is_a_conflict() {
    let mut live = Live::map();
    live.apply("one", &data(&[("x", "1")]));
    assert_eq!(live.conflicts("two", &data(&[("x", "2")])), [r#""one" .data.x"#]);
    live.apply("two", &data(&[("x", "1"), ("y", "1")]));
    let both = [r#"one Apply 1 {"f:data":{"f:x":{}}}"#, r#"two Apply 3 {"f:data":{"f:x":{},"f:y":{}}}"#];
    assert_eq!(live.owners(), both);
    // What is shared stays when one lets go.
    live.apply("two", &data(&[("y", "1")]));
    assert_eq!(live.object["data"], json!({"x": "1", "y": "1"}));
    live.try_apply("two", true, &data(&[("x", "2"), ("y", "1")])).unwrap();
    assert_eq!(live.owners(), [r#"two Apply 5 {"f:data":{"f:x":{},"f:y":{}}}"#]);
    live.apply("one", &data(&[("z", "1")]));
    assert_eq!(live.object["data"], json!({"x": "2", "y": "1", "z": "1"}));
}

#[test]
fn whoever_joins_without_changing_anything_has_no_time() {
    let mut live = Live::map();
    live.apply("one", &data(&[("x", "1")]));
    live.apply("two", &data(&[("x", "1")]));
    assert_eq!(live.owners(), [r#"two Apply - {"f:data":{"f:x":{}}}"#, r#"one Apply 1 {"f:data":{"f:x":{}}}"#]);
}

#[test]
fn updates_own_what_they_change() {
    let mut live = Live::map();
    live.update("one", &data(&[("x", "1"), ("y", "1")]));
    assert_eq!(live.owners(), [r#"one Update 1 {"f:data":{".":{},"f:x":{},"f:y":{}}}"#]);
    live.update("two", &data(&[("x", "2"), ("y", "1")]));
    assert_eq!(
        live.owners(),
        [r#"one Update 1 {"f:data":{".":{},"f:y":{}}}"#, r#"two Update 2 {"f:data":{"f:x":{}}}"#]
    );
    // What is removed has no owner; an update that changes nothing changes nothing.
    live.update("two", &data(&[("x", "2")]));
    let owners = [r#"one Update 1 {"f:data":{}}"#, r#"two Update 2 {"f:data":{"f:x":{}}}"#];
    assert_eq!(live.owners(), owners);
    live.update("three", &data(&[("x", "2")]));
    assert_eq!(live.owners(), owners);
    // An update conflicts with appliers too, and just takes.
    assert_eq!(live.conflicts("a", &data(&[("x", "3")])), [r#""two" using v1 .data.x"#]);
    live.apply("a", &data(&[("x", "2")]));
    live.update("two", &data(&[("x", "4")]));
    assert_eq!(live.owners(), [r#"one Update 1 {"f:data":{}}"#, r#"two Update 7 {"f:data":{"f:x":{}}}"#]);
}

fn containers(list: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

#[test]
fn lists_are_merged_by_their_keys() {
    let mut live = Live::deployment();
    let port = json!([{"containerPort": 8080}, {"containerPort": 443, "protocol": "UDP"}]);
    live.apply("one", &containers(&json!([{"name": "a", "image": "i", "ports": port}])));
    assert_eq!(
        live.owners(),
        [concat!(
            r#"one Apply 1 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"#,
            r#""k:{\"containerPort\":443,\"protocol\":\"UDP\"}":{".":{},"f:containerPort":{},"f:protocol":{}},"#,
            r#""k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}"#
        )]
    );
    live.apply("two", &containers(&json!([{"name": "b", "image": "j"}])));
    live.apply("three", &containers(&json!([{"name": "c", "image": "k"}, {"name": "a", "workingDir": "/"}])));
    let names = |live: &Live| -> Vec<String> {
        let list = live.object.pointer("/spec/template/spec/containers").unwrap().as_array().unwrap();
        list.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&live), ["c", "a", "b"]);
    assert_eq!(live.object.pointer("/spec/template/spec/containers/1/image"), Some(&json!("i")));
    let other = containers(&json!([{"name": "a", "image": "other"}]));
    assert_eq!(live.conflicts("two", &other), [r#""one" .spec.template.spec.containers[name="a"].image"#]);
    // An element goes with its last owner; what others have of it keeps it.
    live.apply("one", &json!({}));
    assert_eq!(names(&live), ["c", "a", "b"]);
    assert_eq!(live.object.pointer("/spec/template/spec/containers/1"), Some(&json!({"name": "a", "workingDir": "/"})));
    live.apply("three", &json!({}));
    assert_eq!(names(&live), ["b"]);
}

#[test]
fn sets_are_merged_by_their_values_and_what_is_atomic_is_owned_whole() {
    let mut live = Live::deployment();
    live.apply("one", &json!({"metadata": {"finalizers": ["x/a", "x/b"]}}));
    live.apply(
        "two",
        &json!({"metadata": {"finalizers": ["x/b", "x/c"]}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    );
    assert_eq!(live.object["metadata"]["finalizers"], json!(["x/a", "x/b", "x/c"]));
    assert_eq!(
        live.owners()[1],
        r#"two Apply 2 {"f:metadata":{"f:finalizers":{"v:\"x/b\"":{},"v:\"x/c\"":{}}},"f:spec":{"f:selector":{}}}"#
    );
    let selector = json!({"spec": {"selector": {"matchLabels": {"c": "d"}}}});
    assert_eq!(live.conflicts("one", &selector), [r#""two" .spec.selector"#]);
    live.apply("one", &json!({"metadata": {"finalizers": ["x/a"]}}));
    assert_eq!(live.object["metadata"]["finalizers"], json!(["x/a", "x/b", "x/c"]));
    live.apply("two", &json!({}));
    assert_eq!(live.object["metadata"]["finalizers"], json!(["x/a"]));
    assert_eq!(live.object.pointer("/spec/selector"), None);
}

#[test]
fn a_configuration_must_fit() {
    let mut live = Live::deployment();
    for (config, why) in [
        (json!({"spec": {"foo": 1}}), ".spec.foo: field not declared in schema"),
        (
            containers(&json!([{"name": "a"}, {"name": "a"}])),
            r#".spec.template.spec.containers: duplicate entries for key [name="a"]"#,
        ),
        (json!({"metadata": {"finalizers": ["a", "a"]}}), r#".metadata.finalizers: duplicate entries for key [="a"]"#),
        (
            containers(&json!([{"name": "a", "env": [{"name": "e"}, {"name": "e"}]}])),
            r#".spec.template.spec.containers[name="a"].env: duplicate entries for key [name="e"]"#,
        ),
        (
            containers(&json!([null])),
            ".spec.template.spec.containers: element 0: associative list with keys may not have a null element",
        ),
        (json!({"spec": {"replicas": "two"}}), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({"spec": []}), ".spec: expected map, got &{[]}"),
        (
            json!({"metadata": {"labels": {"a": 5}, "finalizers": ["a", "a", "a"]}}),
            "errors:\n  .metadata.finalizers: duplicate entries for key [=\"a\"]\n  .metadata.finalizers: duplicate \
             entries for key [=\"a\"]\n  .metadata.labels.a: expected string, got &value.valueUnstructured{Value:5}",
        ),
    ] {
        match live.try_apply("one", false, &config) {
            Err(ApplyError::Config(error)) => assert_eq!(error.to_string(), why),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn status_and_the_rest_are_tracked_apart() {
    let mut live = Live::deployment();
    let object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    live.write("one", "", object.clone());
    assert_eq!(live.owners(), [r#"one Update 1 {"f:spec":{".":{},"f:replicas":{}}}"#]);
    live.object.as_object_mut().unwrap().remove("status");
    let mut other = object;
    other["spec"]["replicas"] = 5.into();
    live.write("two", "status", other);
    let told: Vec<String> = Managed::read(&live.managed).unwrap().entries.iter().map(|e| e.manager.told()).collect();
    assert_eq!(told, [r#""one" using apps/v1"#, r#""two" with subresource "status" using apps/v1"#]);
    assert_eq!(live.owners()[1], r#"two Update 2 {"f:status":{".":{},"f:replicas":{}}}"#);
}

#[test]
fn only_so_many_updaters_are_told_apart() {
    let mut live = Live::map();
    for i in 0..12 {
        let mut object = live.object.clone();
        object["data"][format!("k{i:02}")] = "v".into();
        live.write(&format!("m{i:02}"), "", object);
    }
    let owners = live.owners();
    assert_eq!(owners.len(), 10);
    assert_eq!(owners[0], r#"ancient-changes Update 3 {"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{}}}"#);
    assert_eq!(owners[1], r#"m03 Update 4 {"f:data":{"f:k03":{}}}"#);
}

#[test]
fn clients_can_reset_entries_and_nonsense_is_passed_over() {
    let mut live = Live::map();
    live.update("one", &data(&[("x", "1")]));
    let json = live.object.to_string();
    let state = |managed| State { json: json.as_bytes(), managed };
    let request = live.request("two", "");
    for (given, kept) in [
        (&b"[]"[..], false),
        (b" [ { } ] ", false),
        (br#"[{"manager":"","time":null,"other":1}]"#, false),
        (b"[{},{}]", true),
        (b"", true),
        (br#"[{"manager":"x"}]"#, true),
        (
            br#"[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"a":{}}}]"#,
            true,
        ),
        (b"[1]", true),
    ] {
        let managed = request.updated(state(&live.managed), state(given));
        assert_eq!(managed, if kept { live.managed.clone() } else { Vec::new() }, "{}", String::from_utf8_lossy(given));
    }
    let given = br#"[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:x":{}}},"time":"2026-01-01T02:00:00+01:00"}]"#;
    let managed = request.updated(state(&live.managed), state(given));
    assert_eq!(
        String::from_utf8(managed).unwrap(),
        r#"[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:x":{}}},"manager":"x","operation":"Update","time":"2026-01-01T01:00:00Z"}]"#
    );
    // Of two entries of one manager the later counts; of very many none does.
    let entry = |fields: &str, manager: &str| {
        format!(
            r#"{{"manager":"{manager}","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{fields}}}"#
        )
    };
    let twice = format!("[{},{}]", entry(r#"{"f:a":{}}"#, "x"), entry(r#"{"f:data":{}}"#, "x"));
    let managed = request.updated(state(&live.managed), state(twice.as_bytes()));
    assert_eq!(Live { managed, ..live.clone() }.owners(), [r#"x Apply - {"f:data":{}}"#]);
    let many: Vec<String> = (0..1_001).map(|i| entry(r#"{"f:data":{}}"#, &format!("m{i}"))).collect();
    let many = format!("[{}]", many.join(","));
    assert_eq!(request.updated(state(&live.managed), state(many.as_bytes())), live.managed);
    // What is not tracked is not, until somebody applies.
    assert_eq!(request.updated(state(b""), state(b"")), b"");
    let zero = json!({"metadata": {}});
    let config = live.whole(&data(&[("x", "2")]));
    let refused = request.apply(&zero, &live.object, b"", &config, false).unwrap_err();
    let ApplyError::Conflicts(conflicts) = refused else { panic!("{refused:?}") };
    assert_eq!(conflicts[0].manager, r#""before-first-apply" using v1"#);
}

#[test]
fn what_kubectl_applied_by_itself_is_its_own() {
    let mut live = Live::map();
    let annotation = |text: &Value| json!({"kubectl.kubernetes.io/last-applied-configuration": text.to_string()});
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1", "y": "1"}});
    let mut object = data(&[("x", "1"), ("y", "2")]);
    object["metadata"]["annotations"] = annotation(&last);
    live.update("kubectl-client-side-apply", &object);
    live.update("editor", &object);
    // `y` is no longer as kubectl wrote it.
    let told = live.conflicts("kubectl", &data(&[("x", "3"), ("y", "3")]));
    assert_eq!(told, [r#""kubectl-client-side-apply" using v1 .data.y"#]);
    assert_eq!(live.conflicts("other", &data(&[("x", "3")])).len(), 1);
    live.apply("kubectl", &data(&[("x", "3")]));
    assert_eq!(live.object["data"], json!({"x": "3", "y": "2"}));
    let written = &live.object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let expected = concat!(r#"{"apiVersion":"v1","data":{"x":"3"},"kind":"ConfigMap","metadata":{"name":"a"}}"#, "\n");
    assert_eq!(written, expected);
}

#[test]
fn replicas_have_their_owner_in_the_scale_too() {
    use scale::Replicas;
    let mut live = Live::deployment();
    live.apply("one", &json!({"spec": {"replicas": 1, "paused": true}}));
    let in_version =
        |version: &'static str, path: Option<Vec<&'static str>>| Replicas { api_version: version.into(), path };
    let versions = [in_version("apps/v1", Some(vec!["spec", "replicas"])), in_version("apps/v2", None)];
    let read = |json: &[u8]| Live { managed: json.to_vec(), ..Live::deployment() }.owners();
    let of_scale = scale::to_scale(&live.managed, &versions);
    assert_eq!(read(&of_scale), [r#"one Apply 1 {"f:spec":{"f:replicas":{}}}"#]);
    assert_eq!(scale::to_workload(&live.managed, &of_scale, &versions, "apps/v1"), live.managed);
    let entry = |manager: &str, operation: &str, version: &str, fields: &str| {
        format!(
            r#"{{"apiVersion":"{version}","fieldsType":"FieldsV1","fieldsV1":{fields},"manager":"{manager}","operation":"{operation}","time":"1970-01-01T00:00:01Z"}}"#
        )
    };
    let (both, of_parent) = (r#"{"f:spec":{"f:paused":{},"f:replicas":{}}}"#, r#"{"f:spec":{"f:replicas":{}}}"#);
    for (about, workload, scale, expected) in [
        (
            "another takes them",
            vec![entry("one", "Apply", "apps/v1", both)],
            vec![entry("two", "Update", "autoscaling/v1", of_parent)],
            vec![r#"one Apply 1 {"f:spec":{"f:paused":{}}}"#, r#"two Update - {"f:spec":{"f:replicas":{}}}"#],
        ),
        (
            "who has nothing else goes",
            vec![entry("one", "Apply", "apps/v1", of_parent)],
            vec![entry("two", "Apply", "autoscaling/v1", of_parent)],
            vec![r#"two Apply - {"f:spec":{"f:replicas":{}}}"#],
        ),
        (
            "an updater that keeps them has two entries",
            vec![entry("one", "Update", "apps/v1", both)],
            vec![entry("one", "Update", "autoscaling/v1", of_parent)],
            vec![r#"one Update 1 {"f:spec":{"f:paused":{}}}"#],
        ),
        (
            "those of versions without a scale stay, those of unknown versions go",
            vec![entry("a", "Update", "apps/v2", both), entry("b", "Update", "apps/v3", both)],
            vec![],
            vec![r#"a Update 1 {"f:spec":{"f:paused":{},"f:replicas":{}}}"#],
        ),
        (
            "what the scale doesn't own is nobody's",
            vec![entry("one", "Apply", "apps/v1", both)],
            vec![entry("two", "Update", "autoscaling/v1", r#"{"f:status":{}}"#)],
            vec![r#"one Apply 1 {"f:spec":{"f:paused":{}}}"#],
        ),
    ] {
        let list = |entries: Vec<String>| format!("[{}]", entries.join(","));
        let managed = scale::to_workload(list(workload).as_bytes(), list(scale).as_bytes(), &versions, "apps/v1");
        assert_eq!(read(&managed), expected, "{about}");
    }
}

#[derive(Debug)]
struct Open;

impl Schema for Open {
    fn kind(&self) -> Option<Kind> {
        Some(Kind::Object)
    }
    fn property(&self, _: &str) -> Option<&dyn Schema> {
        None
    }
    fn element(&self) -> Option<&dyn Schema> {
        None
    }
    fn is_open(&self) -> bool {
        true
    }
    fn is_embedded_object(&self) -> bool {
        false
    }
    fn list_type(&self) -> crate::schema::ListType {
        crate::schema::ListType::Atomic
    }
    fn list_keys(&self) -> &[String] {
        &[]
    }
    fn is_atomic_map(&self) -> bool {
        false
    }
    fn default(&self) -> Option<&Value> {
        None
    }
}

#[test]
fn of_what_nothing_is_known_maps_are_merged_and_lists_are_not() {
    let mut live = Live { type_: Type::custom(&Open), ..Live::map() };
    live.apply("one", &json!({"spec": {"a": {"b": 1}, "l": [1, 2]}, "metadata": {"finalizers": ["x/y"]}}));
    assert_eq!(
        live.owners(),
        [
            r#"one Apply 1 {"f:metadata":{"f:finalizers":{"v:\"x/y\"":{}}},"f:spec":{".":{},"f:a":{".":{},"f:b":{}},"f:l":{}}}"#
        ]
    );
    assert_eq!(live.conflicts("two", &json!({"spec": {"l": [1]}})), [r#""one" .spec.l"#]);
    live.apply("two", &json!({"spec": {"a": {"c": 1}}}));
    live.apply("one", &json!({}));
    assert_eq!(live.object["spec"], json!({"a": {"c": 1}}));
    // A value may become one of another form.
    live.update("three", &json!({"spec": {"a": 5}}));
    assert_eq!(live.owners(), [r#"two Apply 3 {"f:spec":{}}"#, r#"three Update 5 {"f:spec":{"f:a":{}}}"#]);
}

/// What a manager does in a scenario.
#[derive(Debug)]
enum Act {
    Apply,
    Force,
    Update,
}

/// What it is about, who writes what, where to look at the object, what is there, and who owns what.
type Story = (&'static str, Vec<(&'static str, Act, Value)>, &'static str, Value, Vec<String>);

/// Small stories of upstream's merging: each write with its manager, then the object and who owns what.
#[test]
fn upstreams_scenarios_end_as_they_end_there() {
    use Act::{Apply, Force, Update};
    let of_containers = |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
    let stories: Vec<Story> = vec![
        (
            "null in a configuration is owned, and leaves a map as it is",
            vec![
                ("a", Apply, json!({"spec": {"template": {"metadata": {"labels": {"x": "1"}}}}})),
                ("b", Apply, json!({"spec": {"template": {"metadata": {"labels": null}}}})),
            ],
            "/spec/template/metadata",
            json!({"labels": {"x": "1"}}),
            vec![
                r#"b Apply - {"f:spec":{"f:template":{"f:metadata":{"f:labels":{}}}}}"#.into(),
                r#"a Apply 1 {"f:spec":{"f:template":{"f:metadata":{"f:labels":{"f:x":{}}}}}}"#.into(),
            ],
        ),
        (
            "a scalar that is null is so",
            vec![
                ("a", Apply, json!({"spec": {"paused": true}})),
                ("a", Apply, json!({"spec": {"paused": null}})),
            ],
            "/spec",
            json!({"paused": null}),
            vec![r#"a Apply 2 {"f:spec":{"f:paused":{}}}"#.into()],
        ),
        (
            "an atomic list is taken as a whole",
            vec![
                ("a", Apply, of_containers(json!([{"name": "a", "args": ["x"]}]))),
                ("b", Force, of_containers(json!([{"name": "a", "args": ["y", "x"]}]))),
            ],
            "/spec/template/spec/containers/0/args",
            json!(["y", "x"]),
            vec![
                r#"a Apply 1 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}}}}"#.into(),
                r#"b Apply 2 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:args":{},"f:name":{}}}}}}}"#.into(),
            ],
        ),
        (
            "an empty list that merges is there, and nobody's",
            vec![("a", Apply, of_containers(json!([{"name": "a", "env": []}])))],
            "/spec/template/spec/containers/0",
            json!({"name": "a", "env": []}),
            vec![r#"a Apply 1 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}}}}}"#.into()],
        ),
        (
            "what an updater changed is not taken out when the applier no longer names it",
            vec![
                ("a", Apply, json!({"metadata": {"labels": {"x": "1", "y": "1"}}})),
                ("u", Update, json!({"metadata": {"labels": {"x": "2", "y": "1"}}})),
                ("a", Apply, json!({"metadata": {"labels": {"y": "1"}}})),
            ],
            "/metadata/labels",
            json!({"x": "2", "y": "1"}),
            vec![
                r#"a Apply 1 {"f:metadata":{"f:labels":{"f:y":{}}}}"#.into(),
                r#"u Update 2 {"f:metadata":{"f:labels":{"f:x":{}}}}"#.into(),
            ],
        ),
        (
            "what an update dropped comes back with its applier",
            vec![
                ("a", Apply, json!({"metadata": {"finalizers": ["x/a", "x/b"]}})),
                ("u", Update, json!({"metadata": {"finalizers": ["x/b"]}})),
                ("a", Apply, json!({"metadata": {"finalizers": ["x/a", "x/b"]}})),
            ],
            "/metadata/finalizers",
            json!(["x/a", "x/b"]),
            vec![r#"a Apply 3 {"f:metadata":{"f:finalizers":{"v:\"x/a\"":{},"v:\"x/b\"":{}}}}"#.into()],
        ),
        (
            "elements that stand twice in the object are one leaf, and are left alone",
            vec![
                ("u", Update, of_containers(json!([{"name": "a", "ports": [{"containerPort": 1, "name": "p"}, {"containerPort": 1}]}]))),
                ("a", Apply, of_containers(json!([{"name": "a", "ports": [{"containerPort": 2}]}]))),
            ],
            "/spec/template/spec/containers/0/ports",
            json!([{"containerPort": 1, "name": "p"}, {"containerPort": 1}, {"containerPort": 2}]),
            vec![
                r#"a Apply 2 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":2,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}"#.into(),
                r#"u Update 1 {"f:spec":{".":{},"f:template":{".":{},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":1,\"protocol\":\"TCP\"}":{}}}}}}}}"#.into(),
            ],
        ),
        (
            "the protocol that is said and the one that is not are the same key",
            vec![
                ("a", Apply, of_containers(json!([{"name": "a", "ports": [{"containerPort": 1}]}]))),
                ("b", Apply, of_containers(json!([{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP", "name": "n"}]}]))),
            ],
            "/spec/template/spec/containers/0/ports",
            json!([{"containerPort": 1, "protocol": "TCP", "name": "n"}]),
            vec![
                r#"a Apply 1 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":1,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}"#.into(),
                r#"b Apply 2 {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":1,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}}}}}}}}"#.into(),
            ],
        ),
    ];
    for (about, writes, pointer, object, owners) in stories {
        let mut live = Live::deployment();
        for (manager, act, value) in &writes {
            match act {
                Apply => live.try_apply(manager, false, value).unwrap(),
                Force => live.try_apply(manager, true, value).unwrap(),
                Update => live.update(manager, value),
            }
        }
        assert_eq!(live.object.pointer(pointer), Some(&object), "{about}");
        assert_eq!(live.owners(), owners, "{about}");
    }
}

/// Two versions of which the second has the entries of `data` under other names.
#[derive(Debug)]
struct Renamed {
    share_reset: bool,
}

impl Versions for Renamed {
    fn convert(&self, object: &Value, api_version: &str) -> Option<(Value, Type<'_>)> {
        let from = object["apiVersion"].as_str()?;
        let mut object = object.clone();
        if let Some(data) = object.get_mut("data").and_then(Value::as_object_mut).filter(|_| from != api_version) {
            let name = |name: &str| match api_version {
                "v2" => format!("new-{name}"),
                _ => name.trim_start_matches("new-").to_owned(),
            };
            *data = std::mem::take(data).into_iter().map(|(key, value)| (name(&key), value)).collect();
        }
        object["apiVersion"] = api_version.into();
        ["v1", "v2"].contains(&api_version).then(|| (object, Live::map().type_))
    }

    fn type_in(&self, api_version: &str) -> Option<Type<'_>> {
        ["v1", "v2"].contains(&api_version).then(|| Live::map().type_)
    }

    fn share_reset(&self) -> bool {
        self.share_reset
    }

    fn may_change(&self) -> bool {
        false
    }
}

#[test]
fn managers_of_several_versions_own_the_same_fields() {
    struct Story {
        object: Value,
        managed: Vec<u8>,
        seconds: i64,
    }
    fn request<'r>(manager: &'r str, api_version: &'r str, seconds: i64, versions: &'r Renamed) -> Request<'r> {
        let (type_, reset) = (Live::map().type_, Reset::Except(&[&["immutable"]]));
        Request { manager, api_version, subresource: "", seconds, type_, reset, versions }
    }
    let versions = Renamed { share_reset: true };
    let mut story = Story { object: json!({"apiVersion": "v1"}), managed: Vec::new(), seconds: 0 };
    let apply = |story: &mut Story, manager, version: &'static str, data: Value, force| {
        story.seconds += 1;
        let config = json!({"apiVersion": version, "kind": "ConfigMap", "data": data});
        let (live, _) = versions.convert(&story.object, version).unwrap();
        let zero = json!({"apiVersion": version, "kind": "ConfigMap"});
        let live = if story.managed.is_empty() { zero.clone() } else { live };
        let applied =
            request(manager, version, story.seconds, &versions).apply(&zero, &live, &story.managed, &config, force)?;
        story.object = applied.object.unwrap_or(live);
        story.managed = applied.managed;
        Ok::<_, ApplyError>(())
    };
    let owners = |story: &Story| {
        let all = Managed::read(&story.managed).unwrap();
        let told = |entry: &Entry<'_>| {
            let mut fields = Vec::new();
            entry.fields.write(&mut fields);
            format!("{} {} {}", entry.manager.name, entry.api_version, String::from_utf8(fields).unwrap())
        };
        all.entries.iter().map(told).collect::<Vec<_>>()
    };
    apply(&mut story, "one", "v1", json!({"a": "1", "b": "1"}), false).unwrap();
    apply(&mut story, "two", "v2", json!({"new-b": "1", "new-c": "1"}), false).unwrap();
    assert_eq!(story.object["data"], json!({"new-a": "1", "new-b": "1", "new-c": "1"}));
    let refused = apply(&mut story, "two", "v2", json!({"new-b": "2"}), false).unwrap_err();
    let ApplyError::Conflicts(conflicts) = refused else { panic!("{refused:?}") };
    assert_eq!(conflicts, [Conflict { manager: r#""one""#.into(), field: ".data.b".into() }]);
    // What one of them lets go of stays with the other, whatever each calls it.
    apply(&mut story, "one", "v1", json!({"a": "1"}), false).unwrap();
    assert_eq!(story.object["data"], json!({"a": "1", "b": "1", "c": "1"}));
    apply(&mut story, "two", "v2", json!({"new-c": "2"}), false).unwrap();
    assert_eq!(story.object["data"], json!({"new-a": "1", "new-c": "2"}));
    // A manager that goes over to another version still lets go of what it had.
    apply(&mut story, "one", "v2", json!({"new-d": "1"}), false).unwrap();
    assert_eq!(story.object["data"], json!({"new-c": "2", "new-d": "1"}));
    let owned = [r#"two v2 {"f:data":{"f:new-c":{}}}"#, r#"one v2 {"f:data":{"f:new-d":{}}}"#];
    assert_eq!(owners(&story), owned);
    // An update in one version takes from managers of the other; what it cannot change it doesn't, where versions share that.
    let given = br#"[{"manager":"x","operation":"Update","apiVersion":"v2","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:new-a":{}},"f:immutable":{}}},
        {"manager":"y","operation":"Update","apiVersion":"v3","fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}}]"#;
    let (old, new) = (
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "immutable": true}).to_string(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "2"}}).to_string(),
    );
    for (share_reset, left) in [(true, r#"x v2 {"f:immutable":{}}"#), (false, "")] {
        let versions = Renamed { share_reset };
        let live = State { json: old.as_bytes(), managed: given };
        let managed = request("z", "v1", 9, &versions).updated(live, State { json: new.as_bytes(), managed: b"" });
        let all = owners(&Story { object: Value::Null, managed, seconds: 0 });
        let expected: Vec<&str> =
            [left, r#"z v1 {"f:data":{"f:a":{}}}"#].into_iter().filter(|one| !one.is_empty()).collect();
        assert_eq!(all, expected);
    }
}

/// Some of a deployment, as an applier may say it, with at least so many entries in each map and list that it names.
fn config(entries_min: usize) -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let env = prop::collection::btree_map(name(), "[xy]", entries_min..3).prop_map(|env| {
        Value::Array(env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect())
    });
    let container = (prop::option::of("[xy]"), prop::option::of(env));
    let containers = prop::collection::btree_map(name(), container, entries_min..3).prop_map(|all| {
        let each = |(name, (image, env)): (&str, (Option<String>, Option<Value>))| {
            let mut container = json!({"name": name});
            if let Some(image) = image {
                container["image"] = image.into();
            }
            if let Some(env) = env {
                container["env"] = env;
            }
            container
        };
        Value::Array(all.into_iter().map(each).collect())
    });
    let labels = prop::option::of(prop::collection::btree_map(name(), "[xy]", entries_min..3));
    let finalizers = prop::option::of(prop::collection::btree_set(name(), entries_min..3));
    (labels, finalizers, prop::option::of(0_i64..3), prop::option::of(containers)).prop_map(
        |(labels, finalizers, replicas, containers)| {
            let mut config = json!({"metadata": {}, "spec": {}});
            if let Some(labels) = labels {
                config["metadata"]["labels"] = json!(labels);
            }
            if let Some(finalizers) = finalizers {
                config["metadata"]["finalizers"] = json!(finalizers);
            }
            if let Some(replicas) = replicas {
                config["spec"]["replicas"] = json!(replicas);
            }
            if let Some(containers) = containers {
                config["spec"]["template"] = json!({"spec": {"containers": containers}});
            }
            config
        },
    )
}

/// Every text in a configuration with a suffix, so that no two of them share a key.
fn renamed(value: &Value, suffix: &str) -> Value {
    match value {
        Value::String(text) => format!("{text}{suffix}").into(),
        Value::Array(all) => all.iter().map(|one| renamed(one, suffix)).collect(),
        Value::Object(all) => {
            let name = |name: &str| if name.len() == 1 { format!("{name}{suffix}") } else { name.to_owned() };
            Value::Object(all.iter().map(|(k, v)| (name(k), renamed(v, suffix))).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn to_apply_the_same_again_changes_nothing(first in config(0), second in config(0)) {
        let mut live = Live::deployment();
        live.apply("other", &first);
        live.try_apply("one", true, &second).unwrap();
        let before = live.clone();
        live.apply("one", &second);
        prop_assert_eq!(before.object.to_string(), live.object.to_string());
        prop_assert_eq!(before.managed, live.managed);
    }

    #[test]
    fn what_only_one_names_goes_when_it_names_it_no_more(all in prop::collection::vec(config(1), 1..4)) {
        let mut live = Live::deployment();
        let empty = Live::deployment().whole(&json!({"metadata": {}}));
        for config in &all {
            live.apply("one", config);
        }
        live.apply("one", &json!({}));
        prop_assert_eq!(live.managed, b"");
        // All that is left are structs of which nothing is said.
        live.object["spec"].take();
        live.object.as_object_mut().unwrap().remove("spec");
        prop_assert_eq!(live.object, empty);
    }

    #[test]
    fn who_wants_other_things_is_in_nobodys_way(one in config(1), two in config(1)) {
        let (mut one, mut two) = (renamed(&one, "1"), renamed(&two, "2"));
        for config in [&mut one, &mut two] {
            config["spec"].as_object_mut().unwrap().remove("replicas");
        }
        let mut live = Live::deployment();
        live.apply("one", &one);
        let alone = live.object.clone();
        live.apply("two", &two);
        live.apply("two", &json!({}));
        prop_assert_eq!(live.object["metadata"].clone(), alone["metadata"].clone());
        let containers = "/spec/template/spec/containers";
        prop_assert_eq!(live.object.pointer(containers), alone.pointer(containers));
    }

    #[test]
    fn sets_survive_being_written(config in config(0)) {
        let type_ = Live::deployment().type_;
        let fields = super::fields_of::fields_of(&config, type_).unwrap();
        let mut text = Vec::new();
        fields.write(&mut text);
        let read = Set::read(std::str::from_utf8(&text).unwrap()).unwrap();
        prop_assert_eq!(&read, &fields);
        let mut left = fields.clone();
        left.subtract(&read);
        prop_assert!(left.is_empty());
    }
}
