//! Any text in each of the small languages that are read: what is read is written so that it is read as the same, and
//! what is refused is refused in time.
#![no_main]

use coracle_api::custom::json_path::JsonPath;
use coracle_api::custom::{Structural, cel, validate};
use coracle_api::kinds;
use coracle_api::ownership::{Managed, Set};
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::validation;
use coracle_fuzz::choose;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const FORMATS: [&str; 26] = [
    "date",
    "date-time",
    "datetime",
    "duration",
    "ipv4",
    "ipv6",
    "cidr",
    "uri",
    "hostname",
    "email",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "int32",
    "k8s-short-name",
];
/// What a conversion in a rule takes.
const CONVERSIONS: [&str; 12] = [
    "duration(self) == duration(self)",
    "timestamp(self) == timestamp(self)",
    "quantity(self).isInteger()",
    "semver(self) == semver(self)",
    "url(self).getHost() == ''",
    "ip(self).family() == 4",
    "cidr(self).prefixLength() == 0",
    "int(self) == 0",
    "double(self) == 0.0",
    "self.matches(self)",
    "self.findAll(self).size() == 0",
    "self.format([1, 'a', 2.5]) == ''",
];

fuzz_target!(|data: &[u8]| {
    let Some((language, rest)) = choose(data, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match language {
        0 => label_selector(text),
        1 => field_selector(text),
        2 => json_path(text),
        3 => pattern(text),
        4 => format(rest),
        5 => conversion(rest),
        6 => fields(text),
        7 => schedule(text),
        8 => names(text),
        _ => {
            let _ = cel::field_path(text, true);
        }
    }
});

fn label_selector(text: &str) {
    let Ok(read) = LabelSelector::parse(text) else { return };
    let written = read.to_string();
    assert_eq!(LabelSelector::parse(&written).expect("what is written can be read"), read, "{written}");
}

fn field_selector(text: &str) {
    let Ok(read) = FieldSelector::parse(text) else { return };
    let written = read.to_string();
    assert_eq!(FieldSelector::parse(&written).expect("what is written can be read"), read, "{written}");
}

fn json_path(text: &str) {
    let object = json!({"a": [{"b": 1, "c": "x"}, {"b": 2.5}, [null, [true]]], "d": {"e": {"f": "g"}}});
    if let Ok(path) = JsonPath::parse(text) {
        let _ = path.find(&object);
    }
}

/// A pattern and a text, divided by a line's end.
fn pattern(text: &str) {
    let (pattern, text) = text.split_once('\n').unwrap_or((text, "aaaaaaaaaaaaaaaaaaaaaaaa"));
    judge(json!({"type": "string", "pattern": pattern}), text.into());
}

fn format(data: &[u8]) {
    let Some((format, rest)) = choose(data, &FORMATS) else { return };
    judge(json!({"type": "string", "format": format}), String::from_utf8_lossy(rest).into());
}

fn conversion(data: &[u8]) {
    let Some((rule, rest)) = choose(data, &CONVERSIONS) else { return };
    let schema = json!({"type": "string", "maxLength": 1000, "x-kubernetes-validations": [{"rule": rule}]});
    judge(schema, String::from_utf8_lossy(rest).into());
}

fn judge(schema: Value, value: Value) {
    let props: JSONSchemaProps = serde_json::from_value(schema).expect("a schema");
    let Ok(schema) = Structural::new(&props) else { return };
    let _ = validate(&value, None, &schema);
}

fn fields(text: &str) {
    let _ = Managed::read(text.as_bytes());
    let Ok(read) = Set::read(text) else { return };
    let mut written = Vec::new();
    read.write(&mut written);
    let again = std::str::from_utf8(&written).expect("text");
    assert_eq!(Set::read(again).expect("what is written can be read"), read, "{again}");
}

fn schedule(text: &str) {
    let (schedule, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let container = json!({"name": "c", "image": "i"});
    let job = json!({"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}});
    typed("batch", "cronjobs", json!({"schedule": schedule, "timeZone": zone, "jobTemplate": {"spec": job}}));
}

fn names(text: &str) {
    let peer = json!({"ipBlock": {"cidr": text, "except": [text]}});
    typed(
        "networking.k8s.io",
        "networkpolicies",
        json!({"podSelector": {"matchLabels": {text: text}}, "ingress": [{"from": [peer]}]}),
    );
    typed(
        "",
        "services",
        json!({"clusterIP": text, "externalIPs": [text], "externalName": text, "ports": [{"name": text, "port": 1}]}),
    );
}

/// Judges an object of a kind of the table.
fn typed(group: &str, plural: &str, spec: Value) {
    let kind = kinds::all().iter().find(|kind| kind.group == group && kind.plural == plural).expect("a kind");
    let object = json!({"metadata": {"name": "x"}, "spec": spec}).to_string();
    let Ok(object) = kind.model.decode(object.as_bytes()) else { return };
    let _ = validation::create(&object).into_iter().count();
}
