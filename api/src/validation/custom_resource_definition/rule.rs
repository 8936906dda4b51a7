//! The rules of a schema (`x-kubernetes-validations`): that they are well written, compile, and cost no more than they may.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};

use serde::Serialize;

use super::schema::{Context, at_path};
use crate::custom::Structural;
use crate::custom::cel;
use crate::field::{Errors, Path};

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// What one rule may be estimated to cost, and all of a schema. Source: `StaticEstimatedCostLimit`, `…CRDCostLimit`.
const COST_MAX: u64 = 10_000_000;
const TOTAL_COST_MAX: u64 = 100_000_000;
/// How many of the rules that made the total too large are told.
const EXPENSIVE_MAX: usize = 4;

/// What of rules can be seen without compiling them.
pub(super) fn words(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("x-kubernetes-validations");
    for (i, rule) in schema.x_kubernetes_validations.iter().flatten().enumerate() {
        let path = list.index(i);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (message, expression, field) =
            (text(&rule.message), text(&rule.message_expression), text(&rule.field_path));
        let breaks = |text: &str| text.trim().contains(['\n', '\r']);
        if rule.rule.trim().is_empty() {
            errors.required(&path.child("rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.invalid(&path.child("message"), &message, "must be non-empty if specified");
        } else if breaks(&message) {
            errors.invalid(&path.child("message"), &message, "must not contain line breaks");
        } else if breaks(&rule.rule) && message.is_empty() {
            errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
        }
        if !expression.is_empty() && expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.required(&path.child("messageExpression"), detail);
        }
        if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            errors.not_supported(&path.child("reason"), reason, &REASONS);
        }
        let field_path = path.child("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            errors.invalid(&field_path, &field, "must be non-empty if specified");
        }
        if field.contains(['\n', '\r']) {
            errors.invalid(&field_path, &field, "must not contain line breaks");
        }
        if !field.is_empty() && at_path(&field, schema, true).is_err() {
            errors.invalid(&field_path, &field, "must be a valid path");
        }
    }
}

/// A rule as Kubernetes' internal type has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    rule: &'a str,
    message: &'a str,
    message_expression: &'a str,
    reason: Option<&'a str>,
    field_path: &'a str,
    optional_old_self: Option<bool>,
}

fn shown(rule: &ValidationRule) -> Shown<'_> {
    Shown {
        rule: &rule.rule,
        message: rule.message.as_deref().unwrap_or_default(),
        message_expression: rule.message_expression.as_deref().unwrap_or_default(),
        reason: rule.reason.as_deref(),
        field_path: rule.field_path.as_deref().unwrap_or_default(),
        optional_old_self: rule.optional_old_self,
    }
}

/// The rules of a schema, added up.
#[derive(Default)]
pub(super) struct Rules {
    errors: Errors,
    total: u64,
    /// What rules cost that cost much, and where they stand.
    expensive: Vec<(u64, String)>,
}

impl Rules {
    /// Compiles the rules of one node.
    pub(super) fn compile(
        &mut self,
        schema: &JSONSchemaProps,
        built: &Structural,
        context: Context<'_>,
        path: &Path<'_>,
    ) {
        let list = path.child("x-kubernetes-validations");
        for (i, rule) in schema.x_kubernetes_validations.iter().flatten().enumerate() {
            let path = list.index(i);
            let rule_path = path.child("rule");
            let uses_old_self = match cel::compile_rule(rule, built, context.is_root) {
                Err(reason) => {
                    self.errors.invalid(&rule_path, &shown(rule), &reason);
                    false
                }
                Ok(compiled) => {
                    let times = context.cardinality.unwrap_or_else(|| cel::cardinality_max(built));
                    self.charge("estimated rule cost", compiled.cost.saturating_mul(times), &rule_path);
                    self.message(rule, built, context, &path.child("messageExpression"));
                    compiled.uses_old_self
                }
            };
            if let (true, Some(within)) = (uses_old_self, context.uncorrelatable) {
                let detail =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
                self.errors.invalid(&rule_path, &rule.rule, &detail);
            }
            if let (false, Some(optional)) = (uses_old_self, rule.optional_old_self) {
                let detail = "may not be set if oldSelf is not used in rule";
                self.errors.invalid(&path.child("optionalOldSelf"), &optional, detail);
            }
        }
    }

    /// Compiles the expression of a rule's message.
    fn message(&mut self, rule: &ValidationRule, built: &Structural, context: Context<'_>, path: &Path<'_>) {
        if rule.message_expression.as_ref().is_none_or(|expression| expression.is_empty()) {
            return;
        }
        match cel::compile_message(rule, built, context.is_root) {
            Err(reason) => self.errors.invalid(path, &shown(rule), &reason),
            Ok(compiled) => self.charge("estimated messageExpression cost", compiled.cost, path),
        }
    }

    fn charge(&mut self, name: &str, cost: u64, path: &Path<'_>) {
        self.total = self.total.saturating_add(cost);
        if cost > COST_MAX {
            self.errors.forbidden(path, &too_expensive(name, cost, COST_MAX));
        }
        if cost >= TOTAL_COST_MAX / 100 {
            self.expensive.push((cost, path.to_string()));
        }
    }

    /// What was wrong, the rules together included.
    pub(super) fn finish(mut self, path: &Path<'_>) -> Errors {
        if self.total > TOTAL_COST_MAX {
            self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            for (_, path) in self.expensive.iter().take(EXPENSIVE_MAX) {
                let detail =
                    "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
                self.errors.forbidden(&Path::new(path), detail);
            }
            let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            self.errors.forbidden(path, &too_expensive(name, self.total, TOTAL_COST_MAX));
        }
        self.errors
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is a factor for people to read")]
fn too_expensive(name: &str, cost: u64, max: u64) -> String {
    let factor = cost as f64 / max as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        1.5.. => format!("{factor:.1}x"),
        _ => format!("{factor:.6}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
