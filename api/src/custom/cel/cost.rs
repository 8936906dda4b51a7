//! What an expression may cost at most, by the bounds of the schema.
//!
//! Sizes that nothing bounds are what fits into a request. Source: cel-go's `checker/cost.go`,
//! `k8s.io/apiserver/pkg/cel/common/schemas.go`.

use super::ast::{Expr, Kind, Literal, Macro, MacroOp};
use super::escape::unescape;
use super::parse::with_stack;
use crate::custom::structural::{Additional, Structural, Type};

/// The largest request, in bytes.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// A text of a format that has an end.
const FORMATTED_BYTES: u64 = 64;
/// Bytes of the longest letter.
const LETTER_BYTES: u64 = 4;

/// An upper bound of what an expression costs, and of how much it gives.
#[derive(Clone, Copy, Debug)]
struct Estimate<'s> {
    cost: u64,
    shape: Shape<'s>,
}

#[derive(Clone, Copy, Debug)]
struct Shape<'s> {
    size: u64,
    schema: Option<&'s Structural>,
}

impl<'s> Shape<'s> {
    fn of(schema: &'s Structural) -> Self {
        Shape { size: size(schema), schema: Some(schema) }
    }

    fn sized(size: u64) -> Self {
        Shape { size, schema: None }
    }
}

/// What an expression on values of a schema may cost.
pub(super) fn estimate(expr: &Expr, schema: &Structural) -> u64 {
    let shape = Shape::of(schema);
    let mut estimator = Estimator { vars: vec![("self".to_owned(), shape), ("oldSelf".to_owned(), shape)] };
    estimator.expr(expr).cost
}

/// How often a schema's values can stand in a request that nothing else bounds.
pub(super) fn cardinality_max(schema: &Structural) -> u64 {
    REQUEST_BYTES / (least_bytes(schema) + 1)
}

fn size(schema: &Structural) -> u64 {
    let checks = &schema.checks;
    match schema.kind {
        _ if schema.int_or_string => REQUEST_BYTES,
        Some(Type::String) => match (&checks.enumeration, checks.max_length, checks.format.as_deref()) {
            (Some(values), _, _) => values.iter().map(|v| v.as_str().map_or(1, str::len)).max().unwrap_or(1) as u64,
            (None, Some(max), _) => max.saturating_mul(LETTER_BYTES),
            (None, None, Some("duration" | "date" | "date-time")) => FORMATTED_BYTES,
            _ => REQUEST_BYTES,
        },
        Some(Type::Array) => {
            checks.max_items.unwrap_or_else(|| REQUEST_BYTES / (schema.items.as_deref().map_or(1, least_bytes) + 1))
        }
        Some(Type::Object) => match &schema.additional {
            Additional::Schema(entry) => {
                checks.max_properties.unwrap_or_else(|| REQUEST_BYTES / (least_bytes(entry) + 6))
            }
            _ => schema.properties.len() as u64,
        },
        _ => 1,
    }
}

/// The bytes of the shortest value in JSON.
fn least_bytes(schema: &Structural) -> u64 {
    match schema.kind {
        Some(Type::Object) => {
            let required = |name: &&String| schema.properties.get(*name).filter(|p| p.default.is_none());
            let field = |name: &String| {
                schema.properties.get(name).map_or(0, |p| with_stack(|| least_bytes(p)) + name.len() as u64 + 4)
            };
            2 + schema.checks.required.iter().filter(|name| required(name).is_some()).map(field).sum::<u64>()
        }
        Some(Type::Boolean) => 4,
        Some(Type::String | Type::Array) => 2,
        _ => 1,
    }
}

fn traversal(size: u64) -> u64 {
    size.div_ceil(10)
}

struct Estimator<'s> {
    vars: Vec<(String, Shape<'s>)>,
}

impl<'s> Estimator<'s> {
    fn expr(&mut self, expr: &Expr) -> Estimate<'s> {
        with_stack(|| self.kind(&expr.kind))
    }

    fn sum<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> u64 {
        exprs.into_iter().fold(0, |sum, expr| sum.saturating_add(self.expr(expr).cost))
    }

    fn kind(&mut self, kind: &Kind) -> Estimate<'s> {
        let scalar = |cost| Estimate { cost, shape: Shape::sized(1) };
        match kind {
            Kind::Literal(Literal::String(text)) => Estimate { cost: 0, shape: Shape::sized(text.len() as u64) },
            Kind::Literal(Literal::Bytes(bytes)) => Estimate { cost: 0, shape: Shape::sized(bytes.len() as u64) },
            Kind::Literal(_) => scalar(0),
            Kind::Ident(name) => {
                let shape = self.vars.iter().rev().find(|(var, _)| var == name).map(|(_, shape)| *shape);
                Estimate { cost: 1, shape: shape.unwrap_or(Shape::sized(1)) }
            }
            Kind::Select { of, field, .. } => {
                let of = self.expr(of);
                Estimate { cost: of.cost.saturating_add(1), shape: field_of(of.shape, field) }
            }
            Kind::Has { of, .. } => scalar(self.expr(of).cost),
            Kind::Index { of, index, .. } => {
                let (of, index) = (self.expr(of), self.expr(index));
                let shape = element_of(of.shape);
                Estimate { cost: of.cost.saturating_add(index.cost).saturating_add(1), shape }
            }
            Kind::And(operands) | Kind::Or(operands) => scalar(self.sum(operands)),
            Kind::If(parts) => {
                let [condition, yes, no] = &**parts;
                let (condition, yes, no) = (self.expr(condition), self.expr(yes), self.expr(no));
                let shape = if yes.shape.size >= no.shape.size { yes.shape } else { no.shape };
                Estimate { cost: condition.cost.saturating_add(yes.cost.max(no.cost)).saturating_add(1), shape }
            }
            Kind::List(elements) => {
                let cost = self.sum(elements.iter().map(|(element, _)| element)).saturating_add(10);
                Estimate { cost, shape: Shape::sized(elements.len() as u64) }
            }
            Kind::Map(entries) => {
                let cost = self.sum(entries.iter().flat_map(|(key, value, _)| [key, value])).saturating_add(30);
                Estimate { cost, shape: Shape::sized(entries.len() as u64) }
            }
            Kind::Call { target, name, args } => {
                let args: Vec<_> = target.as_deref().into_iter().chain(args).map(|arg| self.expr(arg)).collect();
                call(name, &args)
            }
            Kind::Macro(r#macro) => self.expand(r#macro),
        }
    }

    fn expand(&mut self, of: &Macro) -> Estimate<'s> {
        let range = self.expr(&of.range);
        let is_map = range.shape.schema.is_some_and(|s| s.kind == Some(Type::Object));
        let element = element_of(range.shape);
        // The keys of a map fit into a request together.
        let key = Shape::sized((REQUEST_BYTES / range.shape.size.max(1)).max(FORMATTED_BYTES));
        let (first, second) = match (of.op, is_map, of.vars.len()) {
            (MacroOp::Bind | MacroOp::OptMap | MacroOp::OptFlatMap, _, _) => (range.shape, element),
            (_, true, _) => (key, element),
            (_, false, 1) => (element, element),
            _ => (Shape::sized(1), element),
        };
        let before = self.vars.len();
        self.vars.extend(of.vars.iter().cloned().zip([first, second]));
        let filter = of.filter.as_ref().map_or(0, |filter| self.expr(filter).cost);
        let body = self.expr(&of.body);
        self.vars.truncate(before);
        let once = filter.saturating_add(body.cost);
        let (turn, turns, shape) = match of.op {
            MacroOp::Bind | MacroOp::OptMap | MacroOp::OptFlatMap => (1, 1, body.shape),
            MacroOp::All | MacroOp::Exists | MacroOp::ExistsOne => (3, range.shape.size, Shape::sized(1)),
            MacroOp::Filter => (13, range.shape.size, range.shape),
            MacroOp::List | MacroOp::Map | MacroOp::Entries => (13, range.shape.size, Shape::sized(range.shape.size)),
        };
        let cost = turns.saturating_mul(once.saturating_add(turn)).saturating_add(range.cost);
        Estimate { cost, shape }
    }
}

fn field_of<'s>(of: Shape<'s>, field: &str) -> Shape<'s> {
    let Some(schema) = of.schema else { return Shape::sized(REQUEST_BYTES) };
    let property = schema.child(&unescape(field)).or_else(|| schema.child(field));
    // What no schema tells of is the name or the type of a resource.
    property.map_or(Shape::sized(253), |property| Shape::of(property))
}

fn element_of(of: Shape<'_>) -> Shape<'_> {
    let element = of.schema.and_then(|schema| match (&schema.items, &schema.additional) {
        (Some(items), _) => Some(items),
        (None, Additional::Schema(entry)) => Some(entry),
        _ => None,
    });
    element.map_or(Shape::sized(of.size.min(REQUEST_BYTES)), |schema| Shape::of(schema))
}

fn call<'s>(name: &str, args: &[Estimate<'s>]) -> Estimate<'s> {
    let given = args.iter().fold(0_u64, |sum, arg| sum.saturating_add(arg.cost));
    let size = |i: usize| args.get(i).map_or(1, |arg| arg.shape.size);
    let first = args.first().map_or(Shape::sized(1), |arg| arg.shape);
    let both = size(0).saturating_add(size(1));
    let (cost, shape) = match name {
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => (traversal(size(0).min(size(1))), Shape::sized(1)),
        "_+_" => (traversal(both), Shape { size: both, schema: first.schema }),
        "@in" => (size(1), Shape::sized(1)),
        "contains" if args.len() == 2 => (traversal(size(0)).saturating_mul(traversal(size(1))), Shape::sized(1)),
        "startsWith" | "endsWith" => (traversal(size(1)), Shape::sized(1)),
        "matches" => (matching(size(0), size(1)), Shape::sized(1)),
        "find" | "findAll" => (matching(size(0), size(1)), Shape::sized(size(0))),
        "split" | "format" => (traversal(size(0)).saturating_mul(2), Shape::sized(size(0))),
        "replace" => {
            let made = size(0).saturating_mul(size(2).max(1));
            (traversal(size(0)).saturating_mul(2), Shape::sized(made))
        }
        "join" => {
            let made = size(0).saturating_mul(element_of(first).size.saturating_add(size(1)));
            (traversal(made), Shape::sized(made))
        }
        "isSorted" | "sum" | "min" | "max" => (size(0), element_of(first)),
        "reverse" | "slice" | "sort" | "@sortByAssociatedKeys" => (size(0), first),
        "flatten" => (size(0), Shape::sized(REQUEST_BYTES)),
        "distinct" => (size(0).saturating_mul(size(0)), first),
        "lists.range" => (1, Shape::sized(REQUEST_BYTES)),
        "indexOf" | "lastIndexOf" => (traversal(size(0)).saturating_mul(traversal(size(1))), Shape::sized(1)),
        "intersects" | "equivalent" => (size(0).saturating_mul(size(1)), Shape::sized(1)),
        "lowerAscii" | "upperAscii" | "substring" | "trim" | "string" | "bytes" | "charAt" => {
            (traversal(size(0)), Shape::sized(size(0)))
        }
        "value" | "orValue" | "or" | "of" | "dyn" => (1, first),
        "url" | "isURL" | "ip" | "isIP" | "cidr" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            (traversal(size(0)), Shape::sized(1))
        }
        _ => (1, Shape::sized(1)),
    };
    Estimate { cost: given.saturating_add(cost.max(1)), shape }
}

fn matching(text: u64, pattern: u64) -> u64 {
    traversal(text.saturating_add(1)).saturating_mul(pattern.div_ceil(4).max(1))
}
