//! Limit ranges.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{Validate, amounts, meta};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::{self, Quantity};

impl Validate for LimitRange {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        limits(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        limits(self, errors);
    }
}

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

type Amounts = Option<BTreeMap<String, Text>>;

fn limits(range: &LimitRange, errors: &mut Errors) {
    let spec = Path::new("spec");
    let list = spec.child("limits");
    let mut types = HashSet::new();
    for (i, item) in range.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
        let path = list.index(i);
        type_(&item.type_, &path.child("type"), errors);
        if !types.insert(&item.type_) {
            errors.duplicate(&path.child("type"), &item.type_);
        }
        resources(item, &path, errors);
        for name in names_of(item) {
            amounts_fit(item, name, &path, errors);
        }
    }
}

fn type_(value: &str, path: &Path<'_>, errors: &mut Errors) {
    let wrong = names::qualified(value);
    if wrong.is_empty() && !value.contains('/') && !TYPES.contains(&value) {
        errors.invalid(path, value, "must be a standard limit type or fully qualified");
    }
    errors.invalid_each(path, value, wrong);
}

/// Pods and containers have what containers ask for; claims and other things may have anything.
fn resources(item: &LimitRangeItem, path: &Path<'_>, errors: &mut Errors) {
    let of_pods = matches!(item.type_.as_str(), "Pod" | "Container");
    let check = if of_pods { amounts::container_resource_name } else { amounts::resource_name };
    let named = |field: &str, list: &Amounts, errors: &mut Errors| {
        let path = path.child(field);
        for name in list.iter().flatten().map(|(name, _)| name) {
            check(name, &path.key(name), errors);
        }
    };
    named("max", &item.max, errors);
    named("min", &item.min, errors);
    if item.type_ == "Pod" {
        for (field, list) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
            }
        }
    } else {
        named("default", &item.default, errors);
        named("defaultRequest", &item.default_request, errors);
    }
    let has_storage = |list: &Amounts| list.as_ref().is_some_and(|list| list.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !has_storage(&item.min) && !has_storage(&item.max) {
        let rule = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), rule);
    }
    named("maxLimitRequestRatio", &item.max_limit_request_ratio, errors);
}

fn names_of(item: &LimitRangeItem) -> BTreeSet<&String> {
    let lists = [&item.max, &item.min, &item.default, &item.default_request, &item.max_limit_request_ratio];
    lists.into_iter().flat_map(|list| list.iter().flatten().map(|(name, _)| name)).collect()
}

/// The least, what is asked for by default, what is given by default and the most of a resource stand in this order.
fn amounts_fit(item: &LimitRangeItem, name: &str, path: &Path<'_>, errors: &mut Errors) {
    let of = |list: &Amounts| list.as_ref().and_then(|list| list.get(name)).and_then(|text| quantity::parse(text).ok());
    let (min, max, ratio) = (of(&item.min), of(&item.max), of(&item.max_limit_request_ratio));
    let pod = item.type_ == "Pod";
    let (given, asked) = if pod { (None, None) } else { (of(&item.default), of(&item.default_request)) };
    let mut ordered =
        |least: (&str, Option<Quantity>), most: (&str, Option<Quantity>), field: &str, wrong: Option<Quantity>| {
            let ((low_name, Some(low)), (high_name, Some(high))) = (least, most) else { return };
            if low > high {
                let rule = format!("{low_name} value {low} is greater than {high_name} value {high}");
                errors.invalid(&path.child(field).key(name), &wrong.unwrap_or(low).to_text(), &rule);
            }
        };
    ordered(("min", min), ("max", max), "min", min);
    ordered(("min", min), ("default request", asked), "defaultRequest", asked);
    ordered(("default request", asked), ("max", max), "defaultRequest", asked);
    ordered(("default request", asked), ("default", given), "defaultRequest", asked);
    ordered(("min", min), ("default", given), "default", min);
    ordered(("default", given), ("max", max), "default", max);
    ratio_fits(ratio, min, max, &path.child("maxLimitRequestRatio").key(name), errors);
    if let (Some(given), Some(asked)) = (given, asked)
        && !amounts::may_be_over_committed(name)
        && given != asked
    {
        let rule = format!("default value {given} must equal to defaultRequest value {asked} in {name}");
        errors.invalid(&path.child("defaultRequest").key(name), &asked.to_text(), &rule);
    }
}

fn ratio_fits(
    ratio: Option<Quantity>,
    min: Option<Quantity>,
    max: Option<Quantity>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let Some(ratio) = ratio else { return };
    if ratio < Quantity::from_units(1) {
        errors.invalid(path, &ratio.to_text(), &format!("ratio {ratio} is less than 1"));
    }
    let (Some(min), Some(max)) = (min, max) else { return };
    if !min.is_zero() && i128::from(ratio.milli()) * i128::from(min.milli()) > i128::from(max.milli()) * 1000 {
        errors.invalid(path, &ratio.to_text(), &format!("ratio {ratio} is greater than max/min = {max}/{min}"));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::LimitRange;

    use crate::validation::tests::{refused, refused_update};

    fn range(items: &str) -> String {
        format!(r#"{{"metadata":{{"name":"l","namespace":"n"}},"spec":{{"limits":[{items}]}}}}"#)
    }

    #[test]
    fn limits_stand_in_their_order() {
        for (items, expected) in [
            (r#"{"type":"Container","min":{"cpu":"100m"},"default":{"cpu":"1"},"max":{"cpu":"2"}}"#, &[][..]),
            (r#"{"type":"Thing"}"#, &["spec.limits[0].type Invalid"]),
            (r#"{"type":"a.test/Thing","max":{"storage":"1"}}"#, &[]),
            (r#"{"type":"Pod"},{"type":"Pod"}"#, &["spec.limits[1].type Duplicate"]),
            (r#"{"type":"Pod","default":{"cpu":"1"}}"#, &["spec.limits[0].default Forbidden"]),
            (r#"{"type":"PersistentVolumeClaim","max":{"cpu":"1"}}"#, &["spec.limits[0].limits Required"]),
            (r#"{"type":"Pod","max":{"storage":"1"}}"#, &["spec.limits[0].max[storage] Invalid"]),
            (
                r#"{"type":"Pod","min":{"odd":"1"}}"#,
                &["spec.limits[0].min[odd] Invalid", "spec.limits[0].min[odd] Invalid"],
            ),
            (r#"{"type":"Pod","min":{"cpu":"2"},"max":{"cpu":"1"}}"#, &["spec.limits[0].min[cpu] Invalid"]),
            (
                r#"{"type":"Container","min":{"cpu":"2"},"defaultRequest":{"cpu":"1"},"default":{"cpu":"1"}}"#,
                &["spec.limits[0].defaultRequest[cpu] Invalid", "spec.limits[0].default[cpu] Invalid"],
            ),
            (
                r#"{"type":"Pod","maxLimitRequestRatio":{"cpu":"500m"}}"#,
                &["spec.limits[0].maxLimitRequestRatio[cpu] Invalid"],
            ),
            (
                r#"{"type":"Pod","min":{"cpu":"1"},"max":{"cpu":"2"},"maxLimitRequestRatio":{"cpu":"3"}}"#,
                &["spec.limits[0].maxLimitRequestRatio[cpu] Invalid"],
            ),
        ] {
            assert_eq!(refused::<LimitRange>(&range(items)), expected, "{items}");
            let good = range(r#"{"type":"Container"}"#);
            assert_eq!(refused_update::<LimitRange>(&good, &range(items)), expected, "{items}");
        }
    }
}
