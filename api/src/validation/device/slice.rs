//! The devices of a node, or of several, as their driver publishes them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{
    CapacityRequestPolicy, CapacityRequestPolicyRange, Counter, CounterSet, Device, DeviceAttribute, DeviceTaint,
    ResourcePool, ResourceSlice, ResourceSliceSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{EFFECTS, binding_conditions, driver, pool, qualified, too_many};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::{self, Quantity};
use crate::validation::pod::node_terms;
use crate::validation::rules::{immutable, named, required_one_of, text, unique};
use crate::validation::{Validate, meta};

const DEVICES_MAX: usize = 128;
/// When the devices have taints, share counters or have lists for attributes.
const RICH_DEVICES_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 32;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const VALUE_BYTES_MAX: usize = 64;
const OPTIONS_MAX: usize = 10;
const SPEC: Path<'static> = Path::new("spec");

impl Validate for ResourceSlice {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        spec(&self.spec, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        spec(&self.spec, errors);
        let (new, old) = (&self.spec, &old.spec);
        immutable(&new.pool.name, &old.pool.name, &SPEC.child("pool").child("name"), errors);
        immutable(&new.driver, &old.driver, &SPEC.child("driver"), errors);
        immutable(&new.node_name, &old.node_name, &SPEC.child("nodeName"), errors);
    }
}

fn spec(spec: &ResourceSliceSpec, errors: &mut Errors) {
    driver(&spec.driver, &SPEC.child("driver"), errors);
    resource_pool(&spec.pool, &SPEC.child("pool"), errors);
    let per_device = spec.per_device_node_selection == Some(true);
    if spec.per_device_node_selection == Some(false) {
        let rule = "must be either unset or set to true";
        errors.invalid(&SPEC.child("perDeviceNodeSelection"), &false, rule);
    }
    let place = Place { node: spec.node_name.as_ref(), selector: spec.node_selector.as_ref(), all: spec.all_nodes };
    let ways = place.check(&SPEC, errors) + usize::from(per_device);
    if let Some(terms) = spec.node_selector.as_ref().map(|s| &s.node_selector_terms).filter(|terms| terms.len() != 1) {
        let at = SPEC.child("nodeSelector");
        errors.invalid(&at.child("nodeSelectorTerms"), terms, "must have exactly one node selector term");
    }
    let rule = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match ways {
        0 => errors.required(&SPEC, rule),
        1 => {}
        _ => errors.invalid(&SPEC, "", &format!("{rule}, but multiple fields are set")),
    }
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.invalid(&SPEC, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    devices(spec.devices.as_deref().unwrap_or_default(), per_device, errors);
    let sets = spec.shared_counters.as_deref().unwrap_or_default();
    let list = SPEC.child("sharedCounters");
    if !too_many(sets, COUNTER_SETS_MAX, &list, errors) {
        for (i, set) in sets.iter().enumerate() {
            counter_set(set, &list.index(i), errors);
        }
        unique(sets, |set| Some(set.name.clone()), &list, None, errors);
    }
}

fn resource_pool(value: &ResourcePool, path: &Path<'_>, errors: &mut Errors) {
    pool(&value.name, &path.child("name"), errors);
    if value.resource_slice_count <= 0 {
        let at = path.child("resourceSliceCount");
        errors.invalid(&at, &value.resource_slice_count, "must be greater than zero");
    }
    if value.generation < 0 {
        let at = path.child("generation");
        errors.invalid(&at, &value.generation, "must be greater than or equal to zero");
    }
}

/// The nodes that devices can be used on.
struct Place<'a> {
    node: Option<&'a String>,
    selector: Option<&'a NodeSelector>,
    all: Option<bool>,
}

impl Place<'_> {
    fn is_said(&self) -> bool {
        self.node.is_some() || self.selector.is_some() || self.all.is_some()
    }

    /// In how many ways it is said.
    fn check(&self, path: &Path<'_>, errors: &mut Errors) -> usize {
        let at = path.child("nodeName");
        match self.node.map(String::as_str) {
            Some("") => errors.invalid(&at, "", "must be either unset or set to a non-empty string"),
            Some(name) => errors.invalid_each(&at, name, names::dns_subdomain(name)),
            None => {}
        }
        if let Some(selector) = self.selector {
            node_terms(&selector.node_selector_terms, &path.child("nodeSelector"), errors);
        }
        if self.all == Some(false) {
            errors.invalid(&path.child("allNodes"), &false, "must be either unset or set to true");
        }
        let ways = [self.node.is_some_and(|n| !n.is_empty()), self.selector.is_some(), self.all == Some(true)];
        ways.into_iter().filter(|said| *said).count()
    }
}

fn counter_set(set: &CounterSet, path: &Path<'_>, errors: &mut Errors) {
    named(&set.name, names::dns_label, &path.child("name"), errors);
    counters(&set.counters, path, errors);
}

fn counters(counters: &BTreeMap<String, Counter>, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("counters");
    if counters.is_empty() {
        errors.required(&path, "");
    } else if counters.len() > COUNTERS_MAX {
        errors.too_many(&path, counters.len(), COUNTERS_MAX);
    } else {
        for name in counters.keys() {
            errors.invalid_each(&path, name, names::dns_label(name));
        }
    }
}

fn devices(devices: &[Device], per_device: bool, errors: &mut Errors) {
    let has_lists =
        |a: &DeviceAttribute| a.bools.is_some() || a.ints.is_some() || a.strings.is_some() || a.versions.is_some();
    let rich = devices.iter().any(|d| {
        d.taints.as_ref().is_some_and(|t| !t.is_empty())
            || d.consumes_counters.as_ref().is_some_and(|c| !c.is_empty())
            || d.attributes.iter().flatten().any(|(_, a)| has_lists(a))
    });
    let list = SPEC.child("devices");
    if too_many(devices, if rich { RICH_DEVICES_MAX } else { DEVICES_MAX }, &list, errors) {
        return;
    }
    for (i, device) in devices.iter().enumerate() {
        self::device(device, per_device, &list.index(i), errors);
    }
    unique(devices, |d| Some(d.name.clone()), &list, None, errors);
}

fn device(device: &Device, per_device: bool, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(&path.child("name"), &device.name, names::dns_label(&device.name));
    let count = device.attributes.as_ref().map_or(0, BTreeMap::len) + device.capacity.as_ref().map_or(0, BTreeMap::len);
    if count > ATTRIBUTES_MAX {
        let rule = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid(path, &count, &rule);
    }
    let map = path.child("attributes");
    for (name, attribute) in device.attributes.iter().flatten() {
        qualified(name, &map, errors);
        self::attribute(attribute, &map.key(name), errors);
    }
    capacity(device, path, errors);
    let taints = device.taints.as_deref().unwrap_or_default();
    let list = path.child("taints");
    if !too_many(taints, TAINTS_MAX, &list, errors) {
        for (i, taint) in taints.iter().enumerate() {
            self::taint(taint, &list.index(i), errors);
        }
    }
    let consumptions = device.consumes_counters.as_deref().unwrap_or_default();
    let list = path.child("consumesCounters");
    if !too_many(consumptions, CONSUMPTIONS_MAX, &list, errors) {
        for (i, consumption) in consumptions.iter().enumerate() {
            let path = list.index(i);
            named(&consumption.counter_set, names::dns_label, &path.child("counterSet"), errors);
            counters(&consumption.counters, &path, errors);
        }
        unique(consumptions, |c| Some(c.counter_set.clone()), &list, None, errors);
    }
    let place =
        Place { node: device.node_name.as_ref(), selector: device.node_selector.as_ref(), all: device.all_nodes };
    device_place(&place, per_device, path, errors);
    binding_conditions(
        device.binding_conditions.as_deref().unwrap_or_default(),
        device.binding_failure_conditions.as_deref().unwrap_or_default(),
        path,
        errors,
    );
}

fn device_place(place: &Place<'_>, per_device: bool, path: &Path<'_>, errors: &mut Errors) {
    if !per_device {
        if place.is_said() {
            let rule = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, &(), rule);
        }
        return;
    }
    let rule = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match place.check(path, errors) {
        0 => errors.required(path, rule),
        1 => {}
        _ => errors.invalid(path, "", rule),
    }
}

fn attribute(attribute: &DeviceAttribute, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = &attribute.string {
        attribute_text(value, &path.child("string"), errors);
    }
    if let Some(value) = &attribute.version {
        version(value, &path.child("version"), errors);
    }
    for (field, is_empty) in [
        ("bools", attribute.bools.as_ref().is_some_and(Vec::is_empty)),
        ("ints", attribute.ints.as_ref().is_some_and(Vec::is_empty)),
        ("strings", attribute.strings.as_ref().is_some_and(Vec::is_empty)),
        ("versions", attribute.versions.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            errors.invalid(&path.child(field), &[(); 0], "must not be empty if specified");
        }
    }
    let list = path.child("strings");
    for (i, value) in attribute.strings.iter().flatten().enumerate() {
        attribute_text(value, &list.index(i), errors);
    }
    let list = path.child("versions");
    for (i, value) in attribute.versions.iter().flatten().enumerate() {
        version(value, &list.index(i), errors);
    }
    let set = [
        attribute.bool.is_some(),
        attribute.int.is_some(),
        attribute.string.is_some(),
        attribute.version.is_some(),
        attribute.bools.is_some(),
        attribute.ints.is_some(),
        attribute.strings.is_some(),
        attribute.versions.is_some(),
    ];
    if set.into_iter().filter(|set| *set).count() != 1 {
        errors.invalid(path, attribute, "exactly one value must be specified");
    }
}

fn attribute_text(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.len() > VALUE_BYTES_MAX {
        errors.too_long(path, VALUE_BYTES_MAX);
    }
}

fn version(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if !is_semantic_version(value) {
        errors.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0");
    }
    attribute_text(value, path, errors);
}

/// `1.2.3-rc.1+build.5`
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (numbers, release) = text.split_once('-').map_or((text, None), |(text, release)| (text, Some(release)));
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && release.is_none_or(|r| r.split('.').all(|part| word(part) && (number(part) || !digits(part))))
        && build.is_none_or(|b| b.split('.').all(word))
}

fn capacity(device: &Device, path: &Path<'_>, errors: &mut Errors) {
    let map = path.child("capacity");
    for (name, capacity) in device.capacity.iter().flatten() {
        qualified(name, &map, errors);
        let Some(policy) = &capacity.request_policy else { continue };
        let path = map.key(name);
        let path = path.child("requestPolicy");
        if device.allow_multiple_allocations == Some(true) {
            request_policy(policy, quantity::parse_or_zero(Some(&capacity.value)), &path, errors);
        } else {
            errors.forbidden(&path, "allowMultipleAllocations must be true");
        }
    }
}

fn request_policy(policy: &CapacityRequestPolicy, most: Quantity, path: &Path<'_>, errors: &mut Errors) {
    let values = policy.valid_values.as_deref().unwrap_or_default();
    let (field, range) = match (values, &policy.valid_range) {
        ([], None) => return,
        ([_, ..], Some(_)) => {
            let rule = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            return errors.forbidden(path, rule);
        }
        (_, range) => (if range.is_some() { "validRange" } else { "validValues" }, range),
    };
    let Some(default) = &policy.default else {
        return errors.required(&path.child("default"), &format!("required when {field} is defined"));
    };
    match range {
        Some(range) => valid_range(default, range, most, &path.child(field), errors),
        None => valid_values(default, values, most, &path.child(field), errors),
    }
}

fn valid_values(default: &Text, values: &[Text], most: Quantity, list: &Path<'_>, errors: &mut Errors) {
    let parsed: Vec<Quantity> = values.iter().map(|v| quantity::parse_or_zero(Some(v))).collect();
    for (i, pair) in parsed.windows(2).enumerate() {
        if pair[0] > pair[1] {
            errors.invalid(&list.index(i + 1), &values[i + 1], "values must be sorted in ascending order");
        }
    }
    if too_many(values, OPTIONS_MAX, list, errors) {
        return;
    }
    for (i, value) in parsed.iter().enumerate() {
        if *value > most {
            let rule = format!("option is larger than capacity value: {most}");
            errors.invalid(&list.index(i), &values[i], &rule);
        }
        if parsed[..i].contains(value) {
            errors.duplicate(&list.index(i), &values[i]);
        }
    }
    if !parsed.contains(&quantity::parse_or_zero(Some(default))) {
        errors.invalid(list, default, "default value is not valid according to the requestPolicy");
    }
}

fn valid_range(
    default: &Text,
    range: &CapacityRequestPolicyRange,
    most: Quantity,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let read = |text: &Text| quantity::parse_or_zero(Some(text));
    if range.min.0.is_empty() {
        return errors.required(&path.child("min"), "required when validRange is defined");
    }
    let (min, value) = (read(&range.min), read(default));
    if min > most {
        errors.invalid(&path.child("min"), &range.min, &format!("min is larger than capacity value: {most}"));
    }
    if value < min {
        errors.invalid(&path.child("default"), default, &format!("default is less than min: {min}"));
    }
    if let Some(text) = &range.max {
        let max = read(text);
        if min > max {
            errors.invalid(&path.child("max"), &range.min, &format!("min is larger than max: {max}"));
        }
        if max > most {
            errors.invalid(&path.child("max"), text, &format!("max is larger than capacity value: {most}"));
        }
        if value > max {
            errors.invalid(&path.child("default"), default, &format!("default is more than max: {max}"));
        }
    }
    let Some(text) = &range.step else { return };
    let (step, at) = (read(text), path.child("step"));
    if step.is_zero() || step.is_negative() {
        return errors.invalid(&at, text, "must be greater than zero");
    }
    if min + step > most {
        let rule = format!("one step {} is larger than capacity value: {most}", min + step);
        errors.invalid(&at, text, &rule);
    }
    for end in [Some(default), range.max.as_ref()].into_iter().flatten() {
        if step.units() > 0 && (read(end).units() - min.units()) % step.units() != 0 {
            let rule = format!("value is not a multiple of a given step ({step}) from ({min})");
            errors.invalid(&at, end, &rule);
        }
    }
}

fn taint(taint: &DeviceTaint, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(&path.child("key"), &taint.key, names::qualified(&taint.key));
    let value = text(taint.value.as_ref());
    errors.invalid_each(&path.child("value"), value, names::label_value(value));
    required_one_of(&taint.effect, &EFFECTS, &path.child("effect"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn slice(spec: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"s"}},"spec":{{"driver":"d.e","pool":{{"name":"p","resourceSliceCount":1}},{spec}}}}}"#
        )
    }

    #[test]
    fn devices_are_somewhere_and_have_something() {
        let on_node = |device: &str| format!(r#""nodeName":"n","devices":[{device}]"#);
        let at = |field: &str| format!("spec.devices[0]{field}");
        for (spec, expected) in [
            (on_node(r#"{"name":"x","attributes":{"a.b/c":{"version":"1.2.3-rc.1+b"}}}"#), vec![]),
            (r#""devices":[]"#.to_owned(), vec!["spec Required".to_owned()]),
            (r#""nodeName":"n","allNodes":true"#.to_owned(), vec!["spec Invalid".to_owned()]),
            (r#""nodeName":"","allNodes":true"#.to_owned(), vec!["spec.nodeName Invalid".to_owned()]),
            (
                on_node(
                    r#"{"name":"X","allNodes":true,"attributes":{"a-b":{"int":1,"bool":true},"v":{"version":"1.2"},"w":{"ints":[]}},"taints":[{"effect":"X"}],"consumesCounters":[{}]}"#,
                ),
                [
                    ".name Invalid",
                    ".attributes Invalid",
                    ".attributes[a-b] Invalid",
                    ".attributes[v].version Invalid",
                    ".attributes[w].ints Invalid",
                    ".taints[0].key Invalid",
                    ".taints[0].key Invalid",
                    ".taints[0].effect NotSupported",
                    ".consumesCounters[0].counterSet Required",
                    ".consumesCounters[0].counters Required",
                    " Invalid",
                ]
                .map(at)
                .to_vec(),
            ),
            (
                on_node(
                    r#"{"name":"x","allowMultipleAllocations":true,"capacity":{"m":{"value":"10","requestPolicy":{"default":"3","validValues":["4","2","20"]}},"n":{"value":"10","requestPolicy":{"default":"4","validRange":{"min":"1","max":"11","step":"2"}}}}}"#,
                ),
                [
                    ".capacity[m].requestPolicy.validValues[1] Invalid",
                    ".capacity[m].requestPolicy.validValues[2] Invalid",
                    ".capacity[m].requestPolicy.validValues Invalid",
                    ".capacity[n].requestPolicy.validRange.max Invalid",
                    ".capacity[n].requestPolicy.validRange.step Invalid",
                ]
                .map(at)
                .to_vec(),
            ),
            (
                r#""allNodes":true,"sharedCounters":[{"name":"A"},{"name":"b","counters":{"C":{"value":"1"}}}]"#
                    .to_owned(),
                ["[0].name Invalid", "[0].counters Required", "[1].counters Invalid"]
                    .map(|f| format!("spec.sharedCounters{f}"))
                    .to_vec(),
            ),
        ] {
            assert_eq!(refused::<ResourceSlice>(&slice(&spec)), expected, "{spec}");
        }
        let (old, new) = (slice(r#""nodeName":"n""#), slice(r#""nodeName":"m""#));
        assert_eq!(refused_update::<ResourceSlice>(&old, &new), ["spec.nodeName Invalid"]);
    }
}
