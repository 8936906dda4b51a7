//! Expressions of policies, of webhooks' conditions and of the selectors of devices: what they may name, and what they
//! must give. They are compiled here, and run by whoever asks.
//!
//! Source: `k8s.io/apiserver/pkg/admission/plugin/cel/compile.go`, `k8s.io/dynamic-resource-allocation/cel`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::check::Checker;
use super::types::{Record, Type};
use super::{Failure, parse};

/// What an expression must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    Bool,
    /// A truth value, or what may turn out to be one.
    PerhapsBool,
    String,
    StringOrNull,
    /// An object to be applied.
    Object,
    JsonPatches,
}

/// What expressions may name.
pub(crate) struct Scope {
    vars: Vec<(String, Type<'static>)>,
    /// The variables of a policy, in which those that come later see those before.
    variables: Option<BTreeMap<String, Type<'static>>>,
    /// Whether objects of types may be made.
    messages: bool,
}

impl Scope {
    /// What a request to change something is about, with parameters where there are some.
    pub(crate) fn of_request(has_params: bool) -> Self {
        let mut vars = vec![
            ("object".to_owned(), Type::Dyn),
            ("oldObject".to_owned(), Type::Dyn),
            ("namespaceObject".to_owned(), Type::Record(&NAMESPACE)),
            ("request".to_owned(), Type::Record(&REQUEST)),
        ];
        vars.extend(has_params.then(|| ("params".to_owned(), Type::Dyn)));
        Self { vars, variables: None, messages: false }
    }

    /// A device that is to be chosen or not.
    pub(crate) fn of_device() -> Self {
        Self { vars: vec![("device".to_owned(), Type::Record(&DEVICE))], variables: None, messages: false }
    }

    /// Together with what the asker is allowed to do.
    pub(crate) fn with_authorizer(mut self) -> Self {
        self.vars.push(("authorizer".to_owned(), Type::Opaque("Authorizer")));
        self
    }

    /// Together with the variables of a policy, of which there are none yet.
    pub(crate) fn with_variables(mut self) -> Self {
        self.variables = Some(BTreeMap::new());
        self
    }

    /// Together with the types that mutations are made of.
    pub(crate) fn with_messages(mut self) -> Self {
        self.messages = true;
        self
    }

    /// Together with the variables of another.
    pub(crate) fn with_variables_of(mut self, other: &Scope) -> Self {
        self.variables.clone_from(&other.variables);
        self
    }

    /// Adds a variable, of which nothing is known if it does not compile.
    ///
    /// # Errors
    /// What is wrong with its expression.
    pub(crate) fn declare(&mut self, name: &str, source: &str) -> Result<(), String> {
        let found = self.check(source);
        let type_ = found.as_ref().map_or(Type::Dyn, Clone::clone);
        if let Some(variables) = &mut self.variables {
            variables.insert(name.to_owned(), type_);
        }
        found.map(|_| ())
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, as `compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'`.
    pub(crate) fn compile(&self, source: &str, gives: Gives) -> Result<(), String> {
        let found = self.check(source)?;
        let patch = |of: &Type<'_>| matches!(of, Type::Message(name) if &**name == "JSONPatch");
        let (fits, wanted) = match gives {
            Gives::Bool => (matches!(found, Type::Bool), "bool"),
            Gives::PerhapsBool => (matches!(found, Type::Bool | Type::Dyn), "bool or the unknown type"),
            Gives::String => (matches!(found, Type::String), "string"),
            Gives::StringOrNull => (matches!(found, Type::String | Type::Null), "one of [string null_type]"),
            Gives::Object => (matches!(&found, Type::Message(name) if &**name == "Object"), "Object"),
            Gives::JsonPatches => (matches!(&found, Type::List(of) if patch(of)), "list(JSONPatch)"),
        };
        if fits { Ok(()) } else { Err(format!("must evaluate to {wanted} but got {found}")) }
    }

    fn check(&self, source: &str) -> Result<Type<'static>, String> {
        let failed = |failures: &[Failure]| {
            let lines: Vec<String> = failures.iter().map(|failure| failure.shown(source)).collect();
            format!("compilation failed: {}", lines.join("\n"))
        };
        let parsed = if self.messages { parse::parse_with_messages(source) } else { parse::parse(source) };
        let expr = parsed.map_err(|failure| failed(&[failure]))?;
        let mut vars = self.vars.clone();
        let variables = self.variables.as_ref().map(|all| Type::Variables(Rc::new(all.clone())));
        vars.extend(variables.map(|all| ("variables".to_owned(), all)));
        let mut checker = Checker::new(vars);
        let found = checker.check(&expr);
        if checker.failures.is_empty() { Ok(found) } else { Err(failed(&checker.failures)) }
    }
}

const KIND: Record = Record {
    name: "kubernetes.GroupVersionKind",
    fields: &[("group", "string"), ("version", "string"), ("kind", "string")],
};

const RESOURCE: Record = Record {
    name: "kubernetes.GroupVersionResource",
    fields: &[("group", "string"), ("version", "string"), ("resource", "string")],
};

const USER: Record = Record {
    name: "kubernetes.UserInfo",
    fields: &[
        ("username", "string"),
        ("uid", "string"),
        ("groups", "list(string)"),
        ("extra", "map(string,list(string))"),
    ],
};

static REQUEST: Record = Record {
    name: "kubernetes.AdmissionRequest",
    fields: &[
        ("kind", "GroupVersionKind"),
        ("resource", "GroupVersionResource"),
        ("subResource", "string"),
        ("requestKind", "GroupVersionKind"),
        ("requestResource", "GroupVersionResource"),
        ("requestSubResource", "string"),
        ("name", "string"),
        ("namespace", "string"),
        ("operation", "string"),
        ("userInfo", "UserInfo"),
        ("dryRun", "bool"),
        ("options", "dyn"),
    ],
};

static NAMESPACE: Record = Record {
    name: "kubernetes.Namespace",
    fields: &[("metadata", "NamespaceMetadata"), ("spec", "NamespaceSpec"), ("status", "NamespaceStatus")],
};

const NAMESPACE_METADATA: Record = Record {
    name: "kubernetes.NamespaceMetadata",
    fields: &[
        ("name", "string"),
        ("generateName", "string"),
        ("namespace", "string"),
        ("labels", "map(string,string)"),
        ("annotations", "map(string,string)"),
        ("UID", "string"),
        ("creationTimestamp", "timestamp"),
        ("deletionGracePeriodSeconds", "int"),
        ("deletionTimestamp", "timestamp"),
        ("generation", "int"),
        ("resourceVersion", "string"),
        ("finalizers", "list(string)"),
    ],
};

const NAMESPACE_SPEC: Record = Record { name: "kubernetes.NamespaceSpec", fields: &[("finalizers", "list(string)")] };

const NAMESPACE_STATUS: Record = Record {
    name: "kubernetes.NamespaceStatus",
    fields: &[("conditions", "list(NamespaceCondition)"), ("phase", "string")],
};

const NAMESPACE_CONDITION: Record = Record {
    name: "kubernetes.NamespaceCondition",
    fields: &[
        ("status", "string"),
        ("type", "string"),
        ("lastTransitionTime", "timestamp"),
        ("message", "string"),
        ("reason", "string"),
    ],
};

static DEVICE: Record = Record {
    name: "kubernetes.DRADevice",
    fields: &[
        ("driver", "string"),
        ("attributes", "map(string,map(string,dyn))"),
        ("capacity", "map(string,map(string,Quantity))"),
        ("allowMultipleAllocations", "bool"),
    ],
};

static PARTS: [&Record; 7] =
    [&KIND, &RESOURCE, &USER, &NAMESPACE_METADATA, &NAMESPACE_SPEC, &NAMESPACE_STATUS, &NAMESPACE_CONDITION];

/// The record that is so called, of those that are fields of others.
pub(super) fn record(name: &str) -> Option<&'static Record> {
    PARTS.into_iter().find(|record| record.name.strip_prefix("kubernetes.") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_name_what_there_is_and_give_what_is_asked_for() {
        use Gives::{Bool, String as Text};
        let mut scope = Scope::of_request(false).with_authorizer().with_variables();
        assert_eq!(scope.declare("count", "size(object.spec.containers)"), Ok(()));
        assert!(scope.declare("later", "variables.none").is_err());
        for (source, gives, is_right) in [
            ("object.spec.replicas <= 5 && oldObject == null", Bool, true),
            ("object.spec.ready", Bool, false),
            ("object.metadata.name.startsWith('a')", Bool, true),
            ("has(object.x) && object.containers.all(c, c.image.contains('/'))", Bool, true),
            ("1 + 1", Bool, false),
            ("nobody.knows", Bool, false),
            ("params.x == 1", Bool, false),
            ("variables.count > 1", Bool, true),
            ("variables.count", Bool, false),
            ("variables.unheard > 1", Bool, false),
            ("variables.later == 1", Bool, true),
            ("request.userInfo.groups.exists(g, g == 'a') && !('k' in request.userInfo.extra)", Bool, true),
            ("request.kind.group == '' && request.operation == 'CREATE'", Bool, true),
            ("request.unheard == ''", Bool, false),
            ("request.dryRun ? 'a' : 'b'", Text, true),
            ("namespaceObject.metadata.labels['a'] == 'b'", Bool, true),
            ("authorizer.group('').resource('pods').namespace('n').check('create').allowed()", Bool, true),
            ("authorizer.requestResource.check('get').reason()", Text, true),
            ("authorizer.path('/x').check('get')", Bool, false),
            ("quantity('1').isGreaterThan(quantity('2'))", Bool, true),
            ("null", Gives::StringOrNull, true),
            ("1", Gives::StringOrNull, false),
            ("Object{}", Bool, false),
        ] {
            assert_eq!(scope.compile(source, gives).is_ok(), is_right, "{source}: {:?}", scope.compile(source, gives));
        }
    }

    #[test]
    fn mutations_are_made_of_types() {
        let scope = Scope::of_request(false).with_messages();
        for (source, gives, is_right) in [
            (r#"Object{spec: Object.spec{replicas: 1, ?b: optional.none()}}"#, Gives::Object, true),
            ("Object.spec{}", Gives::Object, false),
            ("{'spec': 1}", Gives::Object, false),
            (r#"[JSONPatch{op: "add", path: "/a/" + jsonpatch.escapeKey("b/c"), value: 1}]"#, Gives::JsonPatches, true),
            (r#"has(object.x) ? [JSONPatch{op: "remove", path: "/x"}] : []"#, Gives::JsonPatches, true),
            (r#"[JSONPatch{op: 1}]"#, Gives::JsonPatches, false),
            (r#"[JSONPatch{odd: "a"}]"#, Gives::JsonPatches, false),
            ("Other{}", Gives::Object, false),
            ("[]", Gives::JsonPatches, false),
        ] {
            assert_eq!(scope.compile(source, gives).is_ok(), is_right, "{source}: {:?}", scope.compile(source, gives));
        }
    }

    #[test]
    fn devices_have_attributes_and_capacity() {
        for (source, is_right) in [
            ("device.driver == 'd' && device.attributes['d'].model == 'x'", true),
            ("device.attributes['d'].ready", true),
            ("device.capacity['d'].memory.compareTo(quantity('1Gi')) >= 0", true),
            ("device.unheard == 1", false),
            ("device.driver", false),
            ("object.x", false),
        ] {
            let result = Scope::of_device().compile(source, Gives::PerhapsBool);
            assert_eq!(result.is_ok(), is_right, "{source}: {result:?}");
        }
    }
}
