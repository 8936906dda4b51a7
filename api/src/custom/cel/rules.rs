//! Runs the rules of a schema on an object.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`.

use serde_json::Value as Json;

use super::eval::{COST_MAX, Evaluator};
use super::value::Value;
use super::{Program, Programs, Rule};
use crate::custom::structural::{Structural, Type};
use crate::custom::validate::NOWHERE;
use crate::custom::validate::lists::{Correlation, unchanged};
use crate::field::{Errors, Path, Reason};

/// What all rules of an object may cost together. Source: `RuntimeCELCostBudget`.
const BUDGET: u64 = 10_000_000;
/// How long the message of an expression may be. Source: `MaxEvaluatedMessageExpressionSizeBytes`.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";
const MESSAGE_OUT_OF_BUDGET: &str =
    "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
const MESSAGE_TOO_COSTLY: &str =
    "no further validation rules will be run due to call cost exceeds limit for messageExpression";

/// Judges an object that is created, or replaces `old`, by the rules of its schema.
pub(in crate::custom) fn validate(
    object: &Json,
    old: Option<&Json>,
    schema: &Structural,
    is_root: bool,
    errors: &mut Errors,
) {
    let mut run = Run { budget: Some(BUDGET), errors };
    let kept = old.map(|old| Kept { old, new: object, schema });
    run.value(&Node { value: object, old, kept, schema, is_root }, &Path::ROOT);
}

/// A value that can be told what it was, and what it was.
#[derive(Clone, Copy)]
struct Kept<'a> {
    old: &'a Json,
    new: &'a Json,
    schema: &'a Structural,
}

/// A value and what it was.
struct Node<'a> {
    value: &'a Json,
    /// What `oldSelf` is.
    old: Option<&'a Json>,
    /// The nearest value from here on upwards that can be told what it was: if it is the same, its faults are tolerated.
    kept: Option<Kept<'a>>,
    schema: &'a Structural,
    is_root: bool,
}

struct Run<'e> {
    /// What may still be spent; nothing once it is too late.
    budget: Option<u64>,
    errors: &'e mut Errors,
}

impl Run<'_> {
    fn value(&mut self, node: &Node<'_>, path: &Path<'_>) {
        if node.value.is_null() || self.budget.is_none() || !node.schema.has_rules() {
            return;
        }
        for rule in &node.schema.rules {
            self.rule(rule, node, path);
            if self.budget.is_none() {
                return;
            }
        }
        match node.value {
            Json::Object(map) => {
                for (name, value) in map {
                    let Some(child) = node.schema.child(name) else { continue };
                    let old = node.old.and_then(|old| old.get(name));
                    let is_type = node.is_root && matches!(name.as_str(), "apiVersion" | "kind");
                    let kept = old.map(|old| Kept { old, new: value, schema: child }).or(node.kept);
                    let kept = kept.filter(|_| !is_type);
                    let is_root = child.embedded_resource;
                    let below = Node { value, old, kept, schema: child, is_root };
                    let is_property = node.schema.properties.contains_key(name);
                    self.value(&below, &if is_property { path.child(name) } else { path.key(name) });
                }
            }
            Json::Array(list) => {
                let Some(items) = &node.schema.items else { return };
                let correlation = Correlation::new(node.old, node.schema);
                for (i, value) in list.iter().enumerate() {
                    let old = correlation.keyed(value);
                    let kept = old.map(|old| Kept { old, new: value, schema: items }).or(node.kept);
                    let is_root = items.embedded_resource;
                    self.value(&Node { value, old, kept, schema: items, is_root }, &path.index(i));
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Rule, node: &Node<'_>, path: &Path<'_>) {
        let kind = node.schema.kind.map_or("", |kind| kind.as_str());
        let here = if path.is_root() { NOWHERE } else { *path };
        let Some(budget) = self.budget else { return };
        if budget == 0 {
            self.budget = None;
            return self.errors.invalid(&here, kind, OUT_OF_BUDGET);
        }
        let programs = match rule.programs(node.schema, node.is_root) {
            Ok(programs) => programs,
            Err(reason) => return self.errors.invalid(&here, kind, &format!("rule compile error: {reason}")),
        };
        let optional = rule.source.optional_old_self == Some(true);
        let old = node.old.filter(|old| !old.is_null());
        if programs.uses_old_self && old.is_none() && !optional {
            return;
        }
        let (result, spent) = run(&programs.rule, node, old, optional, COST_MAX.min(budget));
        let left = budget - spent.min(budget);
        self.budget = Some(left);
        let name = shown(rule);
        match result {
            Ok(Value::Bool(true)) => {}
            Ok(Value::Bool(false)) => self.refuse(rule, programs, node, old, path),
            Ok(_) => {
                let detail = format!(
                    "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {name}"
                );
                self.errors.invalid(&here, kind, &detail);
            }
            Err(error) if error.is_limit && budget < COST_MAX => {
                self.budget = None;
                self.errors.invalid(&here, kind, OUT_OF_BUDGET);
            }
            Err(error) if error.is_limit => {
                self.budget = None;
                let detail = "no further validation rules will be run due to call cost exceeds limit for rule";
                self.errors.invalid(&here, kind, &format!("'{}': {detail}: {name}", error.message));
            }
            Err(error) if error.message.starts_with("no such overload") => {
                let detail = "call arguments did not match a supported operator, function or macro signature for rule";
                self.errors.invalid(&here, kind, &format!("'{}': {detail}: {name}", error.message));
            }
            Err(error) => self.errors.invalid(&here, kind, &format!("{} evaluating rule: {name}", error.message)),
        }
    }

    /// Tells that a rule is broken; if it was before and nothing has changed since, as a warning.
    fn refuse(&mut self, rule: &Rule, programs: &Programs, node: &Node<'_>, old: Option<&Json>, path: &Path<'_>) {
        let field = programs.field.as_str();
        let at = match (path.is_root(), field) {
            (true, "") => NOWHERE,
            (false, "") => *path,
            _ => path.child(field),
        };
        let mut broken = Errors::new();
        match self.detail(rule, programs, node, old) {
            Ok(detail) => {
                // What is large is not shown.
                let value = (!matches!(node.schema.kind, Some(Type::Object | Type::Array))).then_some(node.value);
                match rule.source.reason.as_deref() {
                    Some("FieldValueForbidden") => broken.forbidden(&at, &detail),
                    Some("FieldValueRequired") => broken.required(&at, &detail),
                    Some("FieldValueDuplicate") => broken.rule(&at, Reason::Duplicate, value, ""),
                    _ => broken.rule(&at, Reason::Invalid, value, &detail),
                }
            }
            Err(reason) => {
                self.budget = None;
                broken.invalid(&at, node.schema.kind.map_or("", |kind| kind.as_str()), &reason);
            }
        }
        let is_kept = node.kept.is_some_and(|kept| unchanged(kept.old, kept.new, kept.schema));
        if is_kept && !programs.uses_old_self { self.errors.tolerate(broken) } else { self.errors.append(broken) }
    }

    /// What is said of a broken rule, or why no more rules can be run.
    fn detail(
        &mut self,
        rule: &Rule,
        programs: &Programs,
        node: &Node<'_>,
        old: Option<&Json>,
    ) -> Result<String, String> {
        let usual = || match rule.source.message.as_deref().unwrap_or_default() {
            "" => format!("failed rule: {}", rule.source.rule.trim()),
            message => message.trim().to_owned(),
        };
        let Some(program) = &programs.message else { return Ok(usual()) };
        let budget = self.budget.unwrap_or(0);
        // The old value is given to it as it is, even where the rule sees it as one that may be missing.
        let (result, spent) = run(program, node, old, false, COST_MAX.min(budget));
        self.budget = Some(budget - spent.min(budget));
        match result {
            Err(error) if error.is_limit && budget < COST_MAX => Err(MESSAGE_OUT_OF_BUDGET.to_owned()),
            Err(error) if error.is_limit => {
                let source = rule.source.message_expression.as_deref().unwrap_or_default();
                Err(format!("{MESSAGE_TOO_COSTLY}: {source:?}"))
            }
            result => Ok(result.ok().and_then(|value| message(&value)).unwrap_or_else(usual)),
        }
    }
}

/// Runs a program, and tells what it cost.
fn run<'a>(
    program: &'a Program,
    node: &Node<'a>,
    old: Option<&'a Json>,
    optional: bool,
    cost_max: u64,
) -> (super::eval::Result<Value<'a>>, u64) {
    let mut vars = vec![("self", Value::of(node.value, Some(node.schema)))];
    let old = old.map(|old| Value::of(old, Some(node.schema)));
    match (old, optional) {
        (old, true) => vars.push(("oldSelf", old.map_or(Value::Optional(None), Value::some))),
        (Some(old), false) => vars.push(("oldSelf", old)),
        (None, false) => {}
    }
    let mut evaluator = Evaluator::new(vars, cost_max, &program.patterns);
    let result = evaluator.eval(&program.expr);
    (result, evaluator.cost())
}

/// What an expression gave for a message, if it can be one.
fn message(value: &Value<'_>) -> Option<String> {
    let Value::String(text) = value else { return None };
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
    fits.then(|| text.to_owned())
}

/// How messages name a rule.
fn shown(rule: &Rule) -> &str {
    match rule.source.message.as_deref().unwrap_or_default() {
        "" => rule.source.rule.trim(),
        message => message.trim(),
    }
}
