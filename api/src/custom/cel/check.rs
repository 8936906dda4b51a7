//! What type an expression is of, and what in it cannot be.
//!
//! Where a type is not known before it is run, everything is allowed.

use std::collections::BTreeMap;
use std::rc::Rc;

use regex::Regex;

use super::Failure;
use super::ast::{Expr, Kind, Literal, Macro, MacroOp};
use super::library;
use super::parse::{MESSAGE, with_stack};
use super::signatures::{self, Found};
use super::types::Type;
use crate::custom::pattern;

/// What the patterns that one expression writes out may need together.
const PATTERNS_BYTES_MAX: usize = 16 << 20;

/// What was learned of an expression.
pub(super) struct Checker<'s> {
    vars: Vec<(String, Type<'s>)>,
    pub(super) failures: Vec<Failure>,
    pub(super) uses_old_self: bool,
    /// Why there can be no program, though nothing is wrong with the types.
    pub(super) not_made: Option<String>,
    /// The patterns that the expression writes out.
    pub(super) patterns: BTreeMap<String, Regex>,
    pattern_bytes: usize,
    /// Inside of what is formatted, where lists may have elements of any types.
    in_format: bool,
}

impl<'s> Checker<'s> {
    pub(super) fn new(vars: Vec<(String, Type<'s>)>) -> Self {
        Self {
            vars,
            failures: Vec::new(),
            uses_old_self: false,
            not_made: None,
            patterns: BTreeMap::new(),
            pattern_bytes: PATTERNS_BYTES_MAX,
            in_format: false,
        }
    }

    pub(super) fn check(&mut self, expr: &Expr) -> Type<'s> {
        with_stack(|| self.kind(expr))
    }

    fn fail(&mut self, at: usize, message: String) -> Type<'s> {
        self.failures.push(Failure { at, message });
        Type::Dyn
    }

    fn kind(&mut self, expr: &Expr) -> Type<'s> {
        match &expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.ident(name, expr.at),
            Kind::Select { of, field, optional } => {
                let of = self.check(of);
                let found = self.field(&of, field, expr.at);
                if *optional || matches!(of, Type::Optional(_)) { wrapped(found) } else { found }
            }
            Kind::Has { of, field } => {
                let of = self.check(of);
                self.field(&of, field, expr.at);
                Type::Bool
            }
            Kind::Index { of, index, optional } => {
                let of = self.check(of);
                let index = self.check(index);
                let found = self.index(&of, &index, expr.at);
                if *optional || matches!(of, Type::Optional(_)) { wrapped(found) } else { found }
            }
            Kind::Call { target, name, args } => self.call(target.as_deref(), name, args, expr.at),
            Kind::And(operands) => self.junction(operands, "_&&_"),
            Kind::Or(operands) => self.junction(operands, "_||_"),
            Kind::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.expect_bool(condition);
                let (yes, no) = (self.check(yes), self.check(no));
                if yes.fits(&no) {
                    return yes.join(&no);
                }
                self.fail(expr.at, format!("found no matching overload for '_?_:_' applied to '(bool, {yes}, {no})'"))
            }
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Macro(r#macro) => self.expand(r#macro),
        }
    }

    fn ident(&mut self, name: &str, at: usize) -> Type<'s> {
        if let Some((_, found)) = self.vars.iter().rev().find(|(var, _)| var == name) {
            self.uses_old_self |= name == "oldSelf";
            return found.clone();
        }
        if library::type_named(name).is_some() {
            return Type::Kind;
        }
        self.fail(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn field(&mut self, of: &Type<'s>, field: &str, at: usize) -> Type<'s> {
        match of {
            Type::Optional(of) => self.field(&of.clone(), field, at),
            Type::Dyn => Type::Dyn,
            Type::Map(..) | Type::Object(..) | Type::Metadata | Type::Record(_) | Type::Variables(_) => {
                match of.field(field) {
                    Some(found) => found,
                    None => self.fail(at, format!("undefined field '{field}'")),
                }
            }
            Type::Opaque(_) | Type::Message(_) if of.field(field).is_some() => of.field(field).unwrap_or(Type::Dyn),
            other => self.fail(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn index(&mut self, of: &Type<'s>, index: &Type<'s>, at: usize) -> Type<'s> {
        match of {
            Type::Optional(of) => self.index(&of.clone(), index, at),
            Type::Dyn => Type::Dyn,
            Type::List(of) if Type::Int.fits(index) => (**of).clone(),
            Type::Map(key, of) if key.fits(index) => (**of).clone(),
            of => self.fail(at, format!("found no matching overload for '_[_]' applied to '({of}, {index})'")),
        }
    }

    fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr], at: usize) -> Type<'s> {
        if let Some(type_name) = name.strip_suffix(MESSAGE) {
            return self.message(type_name, args, at);
        }
        let space = target.and_then(|target| match &target.kind {
            Kind::Ident(space) if library::is_namespace(space) => Some(space),
            _ => None,
        });
        let space = space.filter(|space| self.vars.iter().all(|(var, _)| var != *space));
        let target = if space.is_some() { None } else { target };
        let full = space.map_or_else(|| name.to_owned(), |space| format!("{space}.{name}"));
        let mut types = Vec::with_capacity(args.len() + 1);
        types.extend(target.map(|target| self.check(target)));
        let outside = self.in_format;
        self.in_format |= full == "format";
        types.extend(args.iter().map(|arg| self.check(arg)));
        self.in_format = outside;
        if matches!(name, "matches" | "find" | "findAll") {
            let which = usize::from(target.is_none());
            self.pattern(args, which, name == "matches" && which == 0);
        }
        if let (None, "duration" | "timestamp", [Expr { kind: Kind::Literal(Literal::String(text)), at }]) =
            (target, name, args)
            && !library::is_time(name, text)
        {
            self.fail(*at, format!("invalid {name} argument"));
        }
        match signatures::find(&full, &types, target.is_some()) {
            Found::Gives(result) => result,
            // What is asked of something unknown may turn out to be right.
            Found::NoOverload if types.first().is_some_and(Type::is_dyn) && target.is_some() => Type::Dyn,
            Found::NoOverload => {
                let words = |types: &[Type<'_>]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let given = match (target, types.split_first()) {
                    (Some(_), Some((receiver, args))) => format!("{receiver}.({})", words(args)),
                    _ => format!("({})", words(&types)),
                };
                self.fail(at, format!("found no matching overload for '{full}' applied to '{given}'"))
            }
            Found::Unknown => self.fail(at, format!("undeclared reference to '{full}' (in container '')")),
        }
    }

    /// An object of a type, which has fields of names: objects that are applied have any, patches those of RFC 6902.
    fn message(&mut self, name: &str, args: &[Expr], at: usize) -> Type<'s> {
        let is_patch = name == "JSONPatch";
        if !is_patch && name != "Object" && !name.starts_with("Object.") {
            return self.fail(at, format!("undeclared reference to '{name}' (in container '')"));
        }
        let Some(Kind::Map(fields)) = args.first().map(|arg| &arg.kind) else { return Type::Dyn };
        for (field, value, optional) in fields {
            let found = self.check(value);
            let found = self.unwrapped(found, *optional, value.at);
            let Kind::Literal(Literal::String(field)) = &field.kind else { continue };
            match field.as_str() {
                "op" | "from" | "path" if is_patch && !found.fits(&Type::String) => {
                    let message =
                        format!("expected type of field '{field}' is 'string' but provided type is '{found}'");
                    self.fail(value.at, message);
                }
                "op" | "from" | "path" | "value" => {}
                _ if is_patch => {
                    self.fail(value.at, format!("undefined field '{field}'"));
                }
                _ => {}
            }
        }
        Type::Message(name.into())
    }

    /// A pattern that is written out is compiled once, and refused if it is none: where the checker sees it, or when the
    /// program is made.
    fn pattern(&mut self, args: &[Expr], which: usize, is_checked: bool) {
        let Some(Expr { kind: Kind::Literal(Literal::String(text)), at }) = args.get(which) else { return };
        if self.patterns.contains_key(text) {
            return;
        }
        match pattern::compile(text, self.pattern_bytes.min(super::PATTERN_BYTES_MAX)) {
            Ok((regex, bytes)) => {
                self.pattern_bytes = self.pattern_bytes.saturating_sub(bytes);
                self.patterns.insert(text.clone(), regex);
            }
            Err(_) if is_checked => {
                self.fail(*at, "invalid matches argument".to_owned());
            }
            Err(reason) => {
                let reason = format!("program instantiation failed: error parsing regexp: {reason}");
                self.not_made = self.not_made.take().or(Some(reason));
            }
        }
    }

    fn junction(&mut self, operands: &[Expr], name: &str) -> Type<'s> {
        for operand in operands {
            let found = self.check(operand);
            if !found.fits(&Type::Bool) {
                self.fail(operand.at, format!("found no matching overload for '{name}' applied to '(bool, {found})'"));
            }
        }
        Type::Bool
    }

    fn expect_bool(&mut self, expr: &Expr) {
        let found = self.check(expr);
        if !found.fits(&Type::Bool) {
            self.fail(expr.at, format!("expected type 'bool' but found '{found}'"));
        }
    }

    /// Elements of one type: others are refused.
    fn list(&mut self, elements: &[(Expr, bool)]) -> Type<'s> {
        let mut of: Option<Type<'s>> = None;
        for (element, optional) in elements {
            let found = self.check(element);
            let found = self.unwrapped(found, *optional, element.at);
            of = Some(self.same(of, found, element.at));
        }
        Type::list(of.unwrap_or(Type::Dyn))
    }

    fn map(&mut self, entries: &[(Expr, Expr, bool)]) -> Type<'s> {
        let (mut keys, mut values): (Option<Type<'s>>, Option<Type<'s>>) = (None, None);
        for (key, value, optional) in entries {
            let found = self.check(key);
            keys = Some(self.same(keys, found, key.at));
            let found = self.check(value);
            let found = self.unwrapped(found, *optional, value.at);
            values = Some(self.same(values, found, value.at));
        }
        Type::Map(Rc::new(keys.unwrap_or(Type::Dyn)), Rc::new(values.unwrap_or(Type::Dyn)))
    }

    fn same(&mut self, before: Option<Type<'s>>, found: Type<'s>, at: usize) -> Type<'s> {
        match before {
            None => found,
            Some(before) if before.fits(&found) => before.join(&found),
            Some(_) if self.in_format => Type::Dyn,
            Some(before) => self.fail(at, format!("expected type '{before}' but found '{found}'")),
        }
    }

    fn unwrapped(&mut self, found: Type<'s>, optional: bool, at: usize) -> Type<'s> {
        match found {
            Type::Optional(of) if optional => (*of).clone(),
            Type::Dyn => Type::Dyn,
            other if optional => self.fail(at, format!("expected type 'optional_type' but found '{other}'")),
            other => other,
        }
    }

    fn expand(&mut self, of: &Macro) -> Type<'s> {
        let range = self.check(&of.range);
        let (first, second) = match (of.op, &range) {
            (MacroOp::Bind, _) => (range.clone(), Type::Dyn),
            (MacroOp::OptMap | MacroOp::OptFlatMap, Type::Optional(inner)) => ((**inner).clone(), Type::Dyn),
            (_, Type::Dyn) => (Type::Dyn, Type::Dyn),
            (_, Type::List(element)) if of.vars.len() == 1 => ((**element).clone(), Type::Dyn),
            (_, Type::List(element)) => (Type::Int, (**element).clone()),
            (_, Type::Map(key, value)) => ((**key).clone(), (**value).clone()),
            (_, other) => {
                let rule = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.fail(of.range.at, format!("expression of type '{other}' {rule}"));
                (Type::Dyn, Type::Dyn)
            }
        };
        let before = self.vars.len();
        for (name, found) in of.vars.iter().zip([first.clone(), second]) {
            self.vars.push((name.clone(), found));
        }
        if let Some(filter) = &of.filter {
            self.expect_bool(filter);
        }
        let made = match of.op {
            MacroOp::All | MacroOp::Exists | MacroOp::ExistsOne => {
                self.expect_bool(&of.body);
                Type::Bool
            }
            MacroOp::Filter => {
                self.expect_bool(&of.body);
                Type::list(first)
            }
            MacroOp::List => Type::list(self.check(&of.body)),
            MacroOp::Map => Type::Map(Rc::new(first), Rc::new(self.check(&of.body))),
            MacroOp::OptMap => Type::optional(self.check(&of.body)),
            MacroOp::Entries | MacroOp::Bind | MacroOp::OptFlatMap => self.check(&of.body),
        };
        self.vars.truncate(before);
        made
    }
}

fn wrapped(found: Type<'_>) -> Type<'_> {
    if matches!(found, Type::Optional(_)) { found } else { Type::optional(found) }
}

fn literal_type<'s>(literal: &Literal) -> Type<'s> {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
