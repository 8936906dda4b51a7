//! Rules of custom resources in CEL (`x-kubernetes-validations`).
//!
//! An expression is read ([`parse`]), checked against the schema ([`check`]), judged for what it may cost ([`cost`]), and
//! run ([`eval`]) with a budget. The evaluator is our own: the crates there are have neither budgets nor Kubernetes'
//! libraries, and here every step is paid for before it is done, so that no rule hangs or grows without bound.

mod ast;
mod check;
mod cost;
pub(crate) mod duration;
mod escape;
mod eval;
mod lex;
mod library;
mod parse;
mod policy;
mod rules;
mod signatures;
mod types;
mod value;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use regex::Regex;

use super::structural::Structural;
use check::Checker;
use types::Type;

pub(crate) use policy::{Gives, Scope};
pub(super) use rules::validate;

/// What one pattern of a rule may need of memory, which bounds how slowly it can match.
const PATTERN_BYTES_MAX: usize = 512 << 10;

/// One rule of a schema, compiled when it is first run.
#[derive(Debug)]
pub struct Rule {
    pub source: ValidationRule,
    programs: OnceLock<Result<Programs, String>>,
}

/// What a rule runs.
#[derive(Debug)]
struct Programs {
    rule: Program,
    message: Option<Program>,
    uses_old_self: bool,
    /// The field that is told, from the value on.
    field: String,
}

#[derive(Debug)]
struct Program {
    expr: ast::Expr,
    patterns: BTreeMap<String, Regex>,
}

/// What is known of an expression that compiles.
#[derive(Clone, Copy, Debug)]
pub struct Compiled {
    /// What it may cost at most, by the bounds of the schema.
    pub cost: u64,
    pub uses_old_self: bool,
}

/// What is wrong with an expression, and the byte where.
#[derive(Clone, Debug, PartialEq)]
struct Failure {
    at: usize,
    message: String,
}

impl Rule {
    pub(super) fn new(source: &ValidationRule) -> Self {
        Self { source: source.clone(), programs: OnceLock::new() }
    }

    fn programs(&self, schema: &Structural, is_root: bool) -> Result<&Programs, &String> {
        self.programs.get_or_init(|| Programs::compile(&self.source, schema, is_root)).as_ref()
    }
}

impl Programs {
    fn compile(rule: &ValidationRule, schema: &Structural, is_root: bool) -> Result<Self, String> {
        let optional = rule.optional_old_self == Some(true);
        let (program, uses_old_self) = compile(&rule.rule, schema, is_root, optional, &Type::Bool)?;
        let expression = rule.message_expression.as_deref().filter(|e| !e.trim().is_empty());
        let message = expression
            .and_then(|e| compile(e, schema, is_root, optional, &Type::String).ok())
            .map(|(program, _)| program);
        let field = field_text(rule.field_path.as_deref().unwrap_or_default(), schema);
        Ok(Self { rule: program, message, uses_old_self, field })
    }
}

/// Compiles a rule on values of a schema, which is that of whole objects if `is_root`.
///
/// # Errors
/// What is wrong with it, as `compilation failed: ERROR: <input>:1:5: undefined field 'x'`.
pub fn compile_rule(rule: &ValidationRule, schema: &Structural, is_root: bool) -> Result<Compiled, String> {
    let optional = rule.optional_old_self == Some(true);
    let (program, uses_old_self) = compile(&rule.rule, schema, is_root, optional, &Type::Bool)?;
    Ok(Compiled { cost: cost::estimate(&program.expr, schema), uses_old_self })
}

/// As [`compile_rule`], for its `messageExpression`.
///
/// # Errors
/// What is wrong with it.
pub fn compile_message(rule: &ValidationRule, schema: &Structural, is_root: bool) -> Result<Compiled, String> {
    let optional = rule.optional_old_self == Some(true);
    let source = rule.message_expression.as_deref().unwrap_or_default();
    let (program, uses_old_self) = compile(source, schema, is_root, optional, &Type::String)
        .map_err(|reason| format!("messageExpression {reason}"))?;
    Ok(Compiled { cost: cost::estimate(&program.expr, schema), uses_old_self })
}

/// How often values of a schema can stand in an object that nothing bounds but the size of requests.
#[must_use]
pub fn cardinality_max(schema: &Structural) -> u64 {
    cost::cardinality_max(schema)
}

fn compile(
    source: &str,
    schema: &Structural,
    is_root: bool,
    optional_old: bool,
    wanted: &Type<'_>,
) -> Result<(Program, bool), String> {
    let failed = |failures: &[Failure]| {
        let lines: Vec<String> = failures.iter().map(|failure| failure.shown(source)).collect();
        format!("compilation failed: {}", lines.join("\n"))
    };
    let expr = parse::parse(source).map_err(|failure| failed(&[failure]))?;
    let Some(this) = Type::of(schema, is_root) else {
        return Err("rule declared on schema that does not support validation rules".to_owned());
    };
    let old = if optional_old { Type::optional(this.clone()) } else { this.clone() };
    let mut checker = Checker::new(vec![("self".to_owned(), this), ("oldSelf".to_owned(), old)]);
    let found = checker.check(&expr);
    if !checker.failures.is_empty() {
        return Err(failed(&checker.failures));
    }
    if !found.is_dyn() && std::mem::discriminant(&found) != std::mem::discriminant(wanted) {
        return Err(match wanted {
            Type::Bool => "cel expression must evaluate to a bool".to_owned(),
            _ => format!("must evaluate to a {wanted}"),
        });
    }
    let Checker { uses_old_self, patterns, not_made, .. } = checker;
    if let Some(reason) = not_made {
        return Err(reason);
    }
    Ok((Program { expr, patterns }, uses_old_self))
}

impl Failure {
    /// The failure and where in the source it is, as cel-go shows it.
    fn shown(&self, source: &str) -> String {
        let at = self.at.min(source.len());
        let before = source.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line = source[line_start..].lines().next().unwrap_or_default();
        let column = before[line_start..].chars().count();
        let number = before.matches('\n').count() + 1;
        let dots = ".".repeat(column);
        format!("ERROR: <input>:{number}:{}: {}\n | {line}\n | {dots}^", column + 1, self.message)
    }
}

/// The steps of a path such as `.spec.x` or `.labels['a.b']`.
///
/// # Errors
/// If it is none.
pub fn field_path(path: &str, with_brackets: bool) -> Result<Vec<String>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if end == 0 {
                return Err(match after.chars().next() {
                    None => "unexpected end of JSON path".to_owned(),
                    Some(_) => "does not refer to a valid field".to_owned(),
                });
            }
            steps.push(after[..end].to_owned());
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            if !with_brackets {
                return Err("array notation is not allowed".to_owned());
            }
            let (name, after) = quoted(after)?;
            steps.push(name);
            rest = after.strip_prefix(']').ok_or_else(|| format!("expected ] but got {after}"))?;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", rest.get(..end).unwrap_or(rest)));
        }
    }
    Ok(steps)
}

/// A name between single quotes, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let inner = text.strip_prefix('\'').ok_or_else(|| format!("expected single quoted string but got {text}"))?;
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((name, &inner[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                Some((_, 'n')) => name.push('\n'),
                Some((_, 't')) => name.push('\t'),
                _ => return Err("invalid string literal: invalid escape".to_owned()),
            },
            _ => name.push(c),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}

/// The field that a rule tells, as paths are printed.
fn field_text(path: &str, schema: &Structural) -> String {
    let mut out = String::new();
    let mut at = Some(schema);
    for step in field_path(path, true).unwrap_or_default() {
        let is_property = at.is_none_or(|schema| schema.properties.contains_key(&step));
        if is_property {
            out.push_str(if out.is_empty() { "" } else { "." });
            out.push_str(&step);
        } else {
            out.push_str(&format!("[{step}]"));
        }
        at = at.and_then(|schema| schema.child(&step)).map(|child| &**child);
    }
    out
}

#[cfg(test)]
mod tests;
