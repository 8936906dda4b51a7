//! Priority levels, and the flow schemas that sort requests into them.

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, FlowSchema, FlowSchemaSpec, LimitResponse, LimitedPriorityLevelConfiguration,
    NonResourcePolicyRule, PolicyRulesWithSubjects, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
    QueuingConfiguration, ResourcePolicyRule, Subject,
};

use super::rules::{between, named, required, text, unique};
use super::{Validate, meta};
use crate::field::{Errors, Path};
use crate::{flow, names};

const PRECEDENCE_MAX: i32 = 10_000;
const QUEUES_MAX: i32 = 10_000_000;
/// The bits of the hash that a hand of queues is dealt by.
const HASH_BITS_MAX: u32 = 60;
const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const SUBJECTS: [&str; 3] = ["Group", "ServiceAccount", "User"];
const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");

impl Validate for FlowSchema {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        schema(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        schema(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let types = self.status.iter().flat_map(|s| s.conditions.iter().flatten()).map(|c| text(c.type_.as_ref()));
        conditions(&types.collect::<Vec<_>>(), errors);
    }
}

impl Validate for PriorityLevelConfiguration {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        level(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        level(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let types = self.status.iter().flat_map(|s| s.conditions.iter().flatten()).map(|c| text(c.type_.as_ref()));
        conditions(&types.collect::<Vec<_>>(), errors);
    }
}

fn conditions(types: &[&str], errors: &mut Errors) {
    let list = STATUS.child("conditions");
    unique(types, |type_| Some((*type_).to_owned()), &list, Some("type"), errors);
    for (i, type_) in types.iter().enumerate() {
        if type_.is_empty() {
            errors.required(&list.index(i).child("type"), "must not be empty");
        }
    }
}

fn schema(schema: &FlowSchema, errors: &mut Errors) {
    let name = text(schema.metadata.name.as_ref());
    let none = FlowSchemaSpec::default();
    let spec = schema.spec.as_ref().unwrap_or(&none);
    schema_spec(name, spec, errors);
    if flow::mandatory(flow::flow_schemas(), name).is_some_and(|fixed| fixed.spec.as_ref() != Some(spec)) {
        errors.invalid(&SPEC, spec, &format!("spec of '{name}' must equal the fixed value"));
    }
}

fn schema_spec(name: &str, spec: &FlowSchemaSpec, errors: &mut Errors) {
    let at = SPEC.child("matchingPrecedence");
    match spec.matching_precedence.unwrap_or_default() {
        value if value <= 0 => errors.invalid(&at, &value, "must be a positive value"),
        value if value > PRECEDENCE_MAX => {
            errors.invalid(&at, &value, &format!("must not be greater than {PRECEDENCE_MAX}"));
        }
        1 if name != EXEMPT => {
            errors.invalid(&at, &1, "only the schema named 'exempt' may have matchingPrecedence 1");
        }
        _ => {}
    }
    if let Some(method) = &spec.distinguisher_method
        && !matches!(method.type_.as_str(), "ByNamespace" | "ByUser")
    {
        let at = SPEC.child("distinguisherMethod");
        errors.not_supported(&at.child("type"), &method.type_, &["ByNamespace", "ByUser"]);
    }
    let at = SPEC.child("priorityLevelConfiguration");
    named(&spec.priority_level_configuration.name, names::dns_subdomain, &at.child("name"), errors);
    let list = SPEC.child("rules");
    for (i, rule) in spec.rules.iter().flatten().enumerate() {
        self::rule(rule, &list.index(i), errors);
    }
}

fn rule(rule: &PolicyRulesWithSubjects, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("subjects");
    if rule.subjects.is_empty() {
        errors.required(&list, "subjects must contain at least one value");
    }
    for (i, subject) in rule.subjects.iter().enumerate() {
        self::subject(subject, &list.index(i), errors);
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let paths = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && paths.is_empty() {
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    let list = path.child("resourceRules");
    for (i, rule) in resources.iter().enumerate() {
        resource_rule(rule, &list.index(i), errors);
    }
    let list = path.child("nonResourceRules");
    for (i, rule) in paths.iter().enumerate() {
        path_rule(rule, &list.index(i), errors);
    }
}

fn subject(subject: &Subject, path: &Path<'_>, errors: &mut Errors) {
    if !SUBJECTS.contains(&subject.kind.as_str()) {
        return errors.not_supported(&path.child("kind"), &subject.kind, &SUBJECTS);
    }
    let account = path.child("serviceAccount");
    for (kind, at, is_set) in [
        ("ServiceAccount", account, subject.service_account.is_some()),
        ("User", path.child("user"), subject.user.is_some()),
        ("Group", path.child("group"), subject.group.is_some()),
    ] {
        let field = at.fields_only();
        let field = field.rsplit('.').next().unwrap_or_default();
        match (kind == subject.kind, is_set) {
            (true, false) => errors.required(&at, &format!("{field} is required when subject kind is '{kind}'")),
            (false, true) => {
                errors.forbidden(&at, &format!("{field} is forbidden when subject kind is not '{kind}'"));
            }
            _ => {}
        }
    }
    match (subject.kind.as_str(), &subject.service_account, &subject.user, &subject.group) {
        ("ServiceAccount", Some(named_by), ..) => {
            if named_by.name != "*" {
                named(&named_by.name, names::dns_subdomain, &account.child("name"), errors);
            }
            named(&named_by.namespace, names::dns_label, &account.child("namespace"), errors);
        }
        ("User", _, Some(user), _) => required(&user.name, &path.child("user").child("name"), errors),
        ("Group", _, _, Some(group)) => required(&group.name, &path.child("group").child("name"), errors),
        _ => {}
    }
}

/// `*` stands alone. Whether it is there.
fn wildcard(values: &[String], what: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    let wild = values.iter().any(|v| v == "*");
    if wild && values.len() > 1 {
        errors.invalid(path, values, &format!("if '*' is present, must not specify other {what}"));
    }
    wild
}

fn verbs(verbs: &[String], path: &Path<'_>, errors: &mut Errors) {
    if verbs.is_empty() {
        errors.required(path, "verbs must contain at least one value");
    } else if !wildcard(verbs, "verbs", path, errors) && !verbs.iter().all(|v| VERBS.contains(&v.as_str())) {
        errors.not_supported(path, &verbs.join(" "), &VERBS);
    }
}

fn resource_rule(rule: &ResourcePolicyRule, path: &Path<'_>, errors: &mut Errors) {
    verbs(&rule.verbs, &path.child("verbs"), errors);
    for (values, at, what, one) in [
        (&rule.api_groups, path.child("apiGroups"), "api groups", "api group"),
        (&rule.resources, path.child("resources"), "resources", "resource"),
    ] {
        if values.is_empty() {
            errors.required(&at, &format!("resource rules must supply at least one {one}"));
        }
        wildcard(values, what, &at, errors);
    }
    let list = path.child("namespaces");
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&list, why);
    } else if !wildcard(namespaces, "namespaces", &list, errors) {
        for (i, namespace) in namespaces.iter().enumerate() {
            let wrong = names::dns_label(namespace).into_iter();
            let wrong = wrong.map(|w| format!("each member of this list must be '*' or a DNS-1123 label; {w}"));
            errors.invalid_each(&list.index(i), namespace, wrong.collect());
        }
    }
}

fn path_rule(rule: &NonResourcePolicyRule, path: &Path<'_>, errors: &mut Errors) {
    verbs(&rule.verbs, &path.child("verbs"), errors);
    let list = path.child("nonResourceURLs");
    if rule.non_resource_urls.is_empty() {
        errors.required(&list, "nonResourceURLs must contain at least one value");
    } else if !wildcard(&rule.non_resource_urls, "non-resource URLs", &list, errors) {
        for (i, url) in rule.non_resource_urls.iter().enumerate() {
            if let Some(wrong) = wrong_with_path(url) {
                errors.invalid(&list.index(i), url, wrong);
            }
        }
    }
}

fn wrong_with_path(url: &str) -> Option<&'static str> {
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        url if !url.starts_with('/') => Some("must start with slash"),
        url if url.contains(' ') => Some("must not contain white-space"),
        url if url.contains("//") => Some("must not contain double slash"),
        url if url.matches('*').count() > 1 || (url.contains('*') && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn level(level: &PriorityLevelConfiguration, errors: &mut Errors) {
    let name = text(level.metadata.name.as_ref());
    let none = PriorityLevelConfigurationSpec::default();
    let spec = level.spec.as_ref().unwrap_or(&none);
    level_spec(name, spec, errors);
    let Some(fixed) = flow::mandatory(flow::priority_levels(), name).and_then(|fixed| fixed.spec.as_ref()) else {
        return;
    };
    // How many shares the exempt level lends is for its owner to say.
    let unlent = PriorityLevelConfigurationSpec { exempt: fixed.exempt.clone(), ..spec.clone() };
    if name == EXEMPT && unlent != *fixed {
        let rule = format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value");
        errors.invalid(&SPEC, spec, &rule);
    } else if name != EXEMPT && spec != fixed {
        errors.invalid(&SPEC, spec, &format!("spec of '{name}' must equal the fixed value"));
    }
}

fn level_spec(name: &str, spec: &PriorityLevelConfigurationSpec, errors: &mut Errors) {
    let at = SPEC.child("type");
    if (name == EXEMPT) != (spec.type_ == "Exempt") {
        errors.invalid(&at, &spec.type_, "type must be 'Exempt' if and only if name is 'exempt'");
    }
    match (spec.type_.as_str(), &spec.exempt, &spec.limited) {
        ("Exempt", exempt, limited) => {
            if limited.is_some() {
                errors.forbidden(&SPEC.child("limited"), "must be nil if the type is not Limited");
            }
            if let Some(exempt) = exempt {
                self::exempt(exempt, &SPEC.child("exempt"), errors);
            }
        }
        ("Limited", exempt, limited) => {
            if exempt.is_some() {
                errors.forbidden(&SPEC.child("exempt"), "must be nil if the type is Limited");
            }
            match limited {
                None => errors.required(&SPEC.child("limited"), "must not be empty when type is Limited"),
                Some(limited) => self::limited(limited, &SPEC.child("limited"), errors),
            }
        }
        (other, ..) => errors.not_supported(&at, other, &["Exempt", "Limited"]),
    }
}

fn shares(value: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value.filter(|v| *v < 0) {
        errors.invalid(&path.child("nominalConcurrencyShares"), &value, "must be a non-negative integer");
    }
}

fn exempt(exempt: &ExemptPriorityLevelConfiguration, path: &Path<'_>, errors: &mut Errors) {
    shares(exempt.nominal_concurrency_shares, path, errors);
    between(exempt.lendable_percent.unwrap_or_default(), 0, 100, &path.child("lendablePercent"), errors);
}

fn limited(limited: &LimitedPriorityLevelConfiguration, path: &Path<'_>, errors: &mut Errors) {
    shares(limited.nominal_concurrency_shares, path, errors);
    let none = LimitResponse::default();
    response(limited.limit_response.as_ref().unwrap_or(&none), &path.child("limitResponse"), errors);
    between(limited.lendable_percent.unwrap_or_default(), 0, 100, &path.child("lendablePercent"), errors);
    if let Some(value) = limited.borrowing_limit_percent.filter(|v| *v < 0) {
        let at = path.child("borrowingLimitPercent");
        errors.invalid(&at, &value, "if specified, must be a non-negative integer");
    }
}

fn response(response: &LimitResponse, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            errors.forbidden(&at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => errors.required(&at, "must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", Some(queuing)) => self::queuing(queuing, &at, errors),
        (other, _) => errors.not_supported(&path.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queuing(queuing: &QueuingConfiguration, path: &Path<'_>, errors: &mut Errors) {
    let value = |value: Option<i32>| value.unwrap_or_default();
    let (length, queues, hand) = (value(queuing.queue_length_limit), value(queuing.queues), value(queuing.hand_size));
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), &length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), &queues, "must be positive");
    } else if queues > QUEUES_MAX {
        errors.invalid(&path.child("queues"), &queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    let at = path.child("handSize");
    if hand <= 0 {
        errors.invalid(&at, &hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, &hand, &format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > f64::from(HASH_BITS_MAX) {
        let rule = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        errors.invalid(&at, &hand, &rule);
    }
}

/// How many bits it takes to deal a hand from a deck.
fn entropy_bits(deck: i32, hand: i32) -> f64 {
    (0..hand).map(|dealt| f64::from(deck - dealt).log2()).sum::<f64>().ceil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_status};

    fn object(name: &str, spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#)
    }

    #[test]
    fn schemas_sort_requests() {
        const RULE: &str = r#""nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]"#;
        const LEVEL: &str = r#""priorityLevelConfiguration":{"name":"l"}"#;
        let rule = |rule: &str| format!(r#"{{{LEVEL},"rules":[{rule}]}}"#);
        for (spec, expected) in [
            (format!("{{{LEVEL}}}"), &[][..]),
            (
                r#"{"matchingPrecedence":1,"distinguisherMethod":{"type":"X"}}"#.to_owned(),
                &[
                    "spec.matchingPrecedence Invalid",
                    "spec.distinguisherMethod.type NotSupported",
                    "spec.priorityLevelConfiguration.name Required",
                ],
            ),
            (rule("{}"), &["spec.rules[0].subjects Required", "spec.rules[0] Required"]),
            (
                rule(&format!(
                    r#"{{"subjects":[{{"kind":"User"}},{{"kind":"Group","group":{{"name":""}},"user":{{"name":"u"}}}},{{"kind":"X"}},{{"kind":"ServiceAccount","serviceAccount":{{"name":"*","namespace":""}}}}],{RULE}}}"#
                )),
                &[
                    "spec.rules[0].subjects[0].user Required",
                    "spec.rules[0].subjects[1].user Forbidden",
                    "spec.rules[0].subjects[1].group.name Required",
                    "spec.rules[0].subjects[2].kind NotSupported",
                    "spec.rules[0].subjects[3].serviceAccount.namespace Required",
                ],
            ),
            (
                rule(
                    r#"{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["fly"],"apiGroups":["*","a"],"resources":[]}],"nonResourceRules":[{"verbs":["*","get"],"nonResourceURLs":["a","/a*","/a/*"]}]}"#,
                ),
                &[
                    "spec.rules[0].resourceRules[0].verbs NotSupported",
                    "spec.rules[0].resourceRules[0].apiGroups Invalid",
                    "spec.rules[0].resourceRules[0].resources Required",
                    "spec.rules[0].resourceRules[0].namespaces Required",
                    "spec.rules[0].nonResourceRules[0].verbs Invalid",
                    "spec.rules[0].nonResourceRules[0].nonResourceURLs[0] Invalid",
                    "spec.rules[0].nonResourceRules[0].nonResourceURLs[1] Invalid",
                ],
            ),
        ] {
            assert_eq!(refused::<FlowSchema>(&object("s", &spec)), expected, "{spec}");
        }
        assert_eq!(refused::<FlowSchema>(&object("catch-all", &format!("{{{LEVEL}}}"))), ["spec Invalid"]);
        let status = r#"{"metadata":{"name":"s"},"status":{"conditions":[{"type":"A"},{"type":"A"},{}]}}"#;
        assert_eq!(
            refused_status::<FlowSchema>(&object("s", "{}"), status),
            ["status.conditions[1].type Duplicate", "status.conditions[2].type Required"]
        );
    }

    #[test]
    fn levels_have_room() {
        let queue = |queuing: &str| {
            format!(r#"{{"type":"Limited","limited":{{"limitResponse":{{"type":"Queue","queuing":{queuing}}}}}}}"#)
        };
        for (name, spec, expected) in [
            ("l", queue("{}"), &[][..]),
            ("l", r#"{"type":"Exempt"}"#.to_owned(), &["spec.type Invalid"]),
            ("exempt", r#"{"type":"Exempt","exempt":{"lendablePercent":50}}"#.to_owned(), &[]),
            ("l", "{}".to_owned(), &["spec.type NotSupported"]),
            ("l", r#"{"type":"Limited"}"#.to_owned(), &["spec.limited Required"]),
            (
                "l",
                r#"{"type":"Limited","limited":{"nominalConcurrencyShares":-1,"lendablePercent":101,"borrowingLimitPercent":-1,"limitResponse":{"type":"Reject","queuing":{}}}}"#.to_owned(),
                &[
                    "spec.limited.nominalConcurrencyShares Invalid",
                    "spec.limited.limitResponse.queuing Forbidden",
                    "spec.limited.lendablePercent Invalid",
                    "spec.limited.borrowingLimitPercent Invalid",
                ],
            ),
            ("l", queue(r#"{"queues":4,"handSize":5}"#), &["spec.limited.limitResponse.queuing.handSize Invalid"]),
            ("l", queue(r#"{"queues":1000,"handSize":10}"#), &["spec.limited.limitResponse.queuing.handSize Invalid"]),
        ] {
            assert_eq!(refused::<PriorityLevelConfiguration>(&object(name, &spec)), expected, "{spec}");
        }
    }
}
