//! Runs expressions, and counts what they cost.
//!
//! Everything costs something before it is done, and what has cost too much ends: no rule runs or grows without bound.
//! Source: cel-go's interpreter, `k8s.io/apiserver/pkg/cel/library/cost.go`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use regex::Regex;

use super::ast::{Expr, Kind, Literal, Macro, MacroOp};
use super::library;
use super::parse::with_stack;
use super::value::{Key, Text, Value};
use crate::custom::pattern;
use crate::custom::structural::ListType;

/// What one expression may cost. Source: `PerCallLimit`.
pub(super) const COST_MAX: u64 = 1_000_000;
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
/// What a turn of a macro costs besides its body, and one that adds to a list.
const TURN_COST: u64 = 3;
const ADDING_TURN_COST: u64 = 13;
/// What it costs to compile a pattern that is not known before.
const PATTERN_COST: u64 = 20_000;

/// Why an expression has no value.
#[derive(Clone, Debug)]
pub(super) struct Error {
    pub(super) message: String,
    /// It cost too much, which nothing makes up for.
    pub(super) is_limit: bool,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_limit: false }
    }

    pub(super) fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// What runs one expression.
pub(super) struct Evaluator<'a, 'p> {
    vars: Vec<(&'a str, Value<'a>)>,
    cost: u64,
    cost_max: u64,
    /// The patterns that the expression writes out.
    patterns: &'p BTreeMap<String, Regex>,
    compiled: BTreeMap<String, Regex>,
}

impl<'a, 'p> Evaluator<'a, 'p> {
    pub(super) fn new(vars: Vec<(&'a str, Value<'a>)>, cost_max: u64, patterns: &'p BTreeMap<String, Regex>) -> Self {
        Self { vars, cost: 0, cost_max, patterns, compiled: BTreeMap::new() }
    }

    /// What has been spent.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn charge(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.cost_max {
            let message = "operation cancelled: actual cost limit exceeded".to_owned();
            return Err(Error { message, is_limit: true });
        }
        Ok(())
    }

    pub(super) fn eval(&mut self, expr: &'a Expr) -> Result<Value<'a>> {
        with_stack(|| self.kind(&expr.kind))
    }

    fn kind(&mut self, kind: &'a Kind) -> Result<Value<'a>> {
        match kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => {
                self.charge(1)?;
                let found = self.vars.iter().rev().find(|(var, _)| var == name).map(|(_, value)| value.clone());
                found
                    .or_else(|| library::type_named(name).map(Value::Type))
                    .ok_or_else(|| Error::new(format!("no such attribute(s): {name}")))
            }
            Kind::Select { of, field, optional } => {
                let of = self.eval(of)?;
                self.charge(1)?;
                select(&of, &Value::String(Text::Borrowed(field)), *optional, |of| of.field(field))
            }
            Kind::Has { of, field } => {
                let of = self.eval(of)?;
                match of {
                    Value::Optional(None) => Ok(Value::Bool(false)),
                    Value::Optional(Some(of)) => Ok(Value::Bool(of.field(field).is_some())),
                    of => Ok(Value::Bool(of.field(field).is_some())),
                }
            }
            Kind::Index { of, index, optional } => {
                let of = self.eval(of)?;
                let index = self.eval(index)?;
                self.charge(1)?;
                select(&of, &index, *optional, |of| element(of, &index))
            }
            Kind::Call { target, name, args } => self.call(target.as_deref(), name, args),
            Kind::And(operands) => self.junction(operands, false),
            Kind::Or(operands) => self.junction(operands, true),
            Kind::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.charge(1)?;
                match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err(Error::no_overload()),
                }
            }
            Kind::List(elements) => self.new_list(elements),
            Kind::Map(entries) => self.new_map(entries),
            Kind::Macro(r#macro) => self.expand(r#macro),
        }
    }

    /// `&&` and `||`: an operand that decides makes up for one that fails.
    fn junction(&mut self, operands: &'a [Expr], decides: bool) -> Result<Value<'a>> {
        let mut failed = None;
        for operand in operands {
            match self.eval(operand) {
                Ok(Value::Bool(b)) if b == decides => return Ok(Value::Bool(b)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(Error::no_overload())),
                Err(error) if error.is_limit => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn new_list(&mut self, elements: &'a [(Expr, bool)]) -> Result<Value<'a>> {
        self.charge(LIST_COST)?;
        let mut list = Vec::new();
        for (expr, optional) in elements {
            match (self.eval(expr)?, optional) {
                (Value::Optional(value), true) => list.extend(value.map(|v| (*v).clone())),
                (_, true) => return Err(Error::no_overload()),
                (value, false) => list.push(value),
            }
        }
        Ok(Value::list(list))
    }

    fn new_map(&mut self, entries: &'a [(Expr, Expr, bool)]) -> Result<Value<'a>> {
        self.charge(MAP_COST)?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = key_of(&self.eval(key)?)?;
            let value = match (self.eval(value)?, optional) {
                (Value::Optional(None), true) => continue,
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (_, true) => return Err(Error::no_overload()),
                (value, false) => value,
            };
            insert(&mut map, key, value)?;
        }
        Ok(Value::Map(Rc::new(map)))
    }

    fn call(&mut self, target: Option<&'a Expr>, name: &'a str, args: &'a [Expr]) -> Result<Value<'a>> {
        // `sets.contains(…)`: a receiver that is no variable is the first half of the name.
        if let Some(Expr { kind: Kind::Ident(space), .. }) = target
            && library::is_namespace(space)
            && self.vars.iter().all(|(var, _)| var != space)
        {
            let args = self.all(args)?;
            return library::call(self, &format!("{space}.{name}"), &args);
        }
        if let ("_&&_" | "_||_", None) = (name, target) {
            return Err(Error::no_overload());
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            values.push(self.eval(target)?);
        }
        values.append(&mut self.all(args)?);
        library::call(self, name, &values)
    }

    fn all(&mut self, args: &'a [Expr]) -> Result<Vec<Value<'a>>> {
        args.iter().map(|arg| self.eval(arg)).collect()
    }

    fn expand(&mut self, of: &'a Macro) -> Result<Value<'a>> {
        let range = self.eval(&of.range)?;
        match (of.op, &range) {
            (MacroOp::Bind, _) => self.with(of, range, None, &of.body),
            (MacroOp::OptMap | MacroOp::OptFlatMap, Value::Optional(None)) => Ok(Value::Optional(None)),
            (MacroOp::OptMap, Value::Optional(Some(value))) => {
                self.with(of, (**value).clone(), None, &of.body).map(Value::some)
            }
            (MacroOp::OptFlatMap, Value::Optional(Some(value))) => self.with(of, (**value).clone(), None, &of.body),
            (MacroOp::OptMap | MacroOp::OptFlatMap, _) => Err(Error::no_overload()),
            (MacroOp::All, _) => self.quantify(of, &range, false),
            (MacroOp::Exists, _) => self.quantify(of, &range, true),
            _ => self.gather(of, &range),
        }
    }

    /// An expression with the names of a macro bound.
    fn with(
        &mut self,
        of: &'a Macro,
        value: Value<'a>,
        second: Option<Value<'a>>,
        body: &'a Expr,
    ) -> Result<Value<'a>> {
        let before = self.vars.len();
        for (name, value) in of.vars.iter().zip([Some(value), second].into_iter().flatten()) {
            self.vars.push((name, value));
        }
        let result = self.eval(body);
        self.vars.truncate(before);
        result
    }

    /// What each turn of a macro binds: elements or keys, or with two names both.
    fn turns(range: &Value<'a>, names: usize) -> Result<Vec<(Value<'a>, Option<Value<'a>>)>> {
        if let Some(keys) = range.keys() {
            let second = |key: &Value<'a>| range.entry(key).filter(|_| names == 2);
            return Ok(keys.into_iter().map(|key| (key.clone(), second(&key))).collect());
        }
        let elements = range.elements().ok_or_else(Error::no_overload)?;
        let place = |i: usize| Value::Int(i64::try_from(i).unwrap_or(i64::MAX));
        Ok(match names {
            1 => elements.map(|element| (element, None)).collect(),
            _ => elements.enumerate().map(|(i, element)| (place(i), Some(element))).collect(),
        })
    }

    /// `all` and `exists`: a turn that decides makes up for those that fail.
    fn quantify(&mut self, of: &'a Macro, range: &Value<'a>, decides: bool) -> Result<Value<'a>> {
        self.charge(range.weight())?;
        let mut failed = None;
        for (first, second) in Self::turns(range, of.vars.len())? {
            self.charge(TURN_COST)?;
            match self.with(of, first, second, &of.body) {
                Ok(Value::Bool(b)) if b == decides => return Ok(Value::Bool(b)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(Error::no_overload())),
                Err(error) if error.is_limit => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    /// The macros that make something of every turn.
    fn gather(&mut self, of: &'a Macro, range: &Value<'a>) -> Result<Value<'a>> {
        self.charge(range.weight())?;
        let mut list = Vec::new();
        let mut map = BTreeMap::new();
        let mut count = 0_usize;
        for (first, second) in Self::turns(range, of.vars.len())? {
            self.charge(if of.op == MacroOp::ExistsOne { TURN_COST } else { ADDING_TURN_COST })?;
            if let Some(filter) = &of.filter
                && !is_true(&self.with(of, first.clone(), second.clone(), filter)?)?
            {
                continue;
            }
            let made = self.with(of, first.clone(), second, &of.body)?;
            match of.op {
                MacroOp::ExistsOne => count += usize::from(is_true(&made)?),
                MacroOp::Filter if is_true(&made)? => list.push(first),
                MacroOp::Filter => {}
                MacroOp::Map => insert(&mut map, key_of(&first)?, made)?,
                MacroOp::Entries => {
                    for key in made.keys().ok_or_else(Error::no_overload)? {
                        self.charge(1)?;
                        let value = made.entry(&key).ok_or_else(Error::no_overload)?;
                        insert(&mut map, key_of(&key)?, value)?;
                    }
                }
                _ => list.push(made),
            }
        }
        Ok(match of.op {
            MacroOp::ExistsOne => Value::Bool(count == 1),
            MacroOp::Map | MacroOp::Entries => Value::Map(Rc::new(map)),
            _ => Value::list(list),
        })
    }

    /// A pattern, compiled once.
    pub(super) fn regex(&mut self, text: &str) -> Result<Regex> {
        if let Some(regex) = self.patterns.get(text).or_else(|| self.compiled.get(text)) {
            return Ok(regex.clone());
        }
        self.charge(PATTERN_COST)?;
        let (regex, _) = pattern::compile(text, super::PATTERN_BYTES_MAX).map_err(Error::new)?;
        self.compiled.insert(text.to_owned(), regex.clone());
        Ok(regex)
    }

    /// Whether two values are the same, whatever kind of number or list they are.
    pub(super) fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool> {
        self.charge(left.weight().min(right.weight()))?;
        if left.is_list() && right.is_list() {
            return with_stack(|| self.equal_lists(left, right));
        }
        if let (Some(keys), Some(others)) = (left.keys(), right.keys()) {
            if keys.len() != others.len() {
                return Ok(false);
            }
            for key in keys {
                let (Some(l), Some(r)) = (left.entry(&key), right.entry(&key)) else { return Ok(false) };
                if !with_stack(|| self.equal(&l, &r))? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Value::Optional(l), Value::Optional(r)) = (left, right) {
            return match (l, r) {
                (Some(l), Some(r)) => self.equal(l, r),
                (l, r) => Ok(l.is_none() && r.is_none()),
            };
        }
        Ok(same_scalar(left, right))
    }

    fn equal_lists(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool> {
        if left.size() != right.size() {
            return Ok(false);
        }
        let list_type = left.list_type().or_else(|| right.list_type());
        let (left, right): (Vec<_>, Vec<_>) =
            (left.elements().into_iter().flatten().collect(), right.elements().into_iter().flatten().collect());
        match list_type {
            Some((ListType::Set, _)) => self.each_in(&left, &right, None),
            Some((ListType::Map, keys)) => self.each_in(&left, &right, Some(keys)),
            _ => {
                for (l, r) in left.iter().zip(&right) {
                    if !self.equal(l, r)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Whether each of some is among others; those with keys are compared with the one of the same keys alone.
    fn each_in(&mut self, some: &[Value<'a>], others: &[Value<'a>], keys: Option<&[String]>) -> Result<bool> {
        for one in some {
            let mut found = false;
            for other in others {
                if keys.is_some_and(|keys| !same_keys(one, other, keys)) {
                    self.charge(1)?;
                    continue;
                }
                if self.equal(one, other)? {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a list has an element.
    pub(super) fn contains(&mut self, list: &Value<'a>, value: &Value<'a>) -> Result<bool> {
        let count = list.size().filter(|_| list.is_list()).ok_or_else(Error::no_overload)?;
        for i in 0..count {
            let Some(element) = list.at(i) else { continue };
            if self.equal(&element, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Uint(n) => Value::Uint(*n),
        Literal::Double(n) => Value::Double(*n),
        Literal::String(text) => Value::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Rc::from(bytes.as_slice())),
    }
}

fn is_true(value: &Value<'_>) -> Result<bool> {
    match value {
        Value::Bool(b) => Ok(*b),
        _ => Err(Error::no_overload()),
    }
}

fn key_of(value: &Value<'_>) -> Result<Key> {
    Key::of(value).ok_or_else(|| Error::new("unsupported key type"))
}

fn insert<'a>(map: &mut BTreeMap<Key, Value<'a>>, key: Key, value: Value<'a>) -> Result<()> {
    match map.insert(key, value) {
        Some(_) => Err(Error::new("insert failed: key already exists")),
        None => Ok(()),
    }
}

/// A part of a value, which may be optional on the way in and out.
fn select<'a>(
    of: &Value<'a>,
    name: &Value<'a>,
    optional: bool,
    find: impl Fn(&Value<'a>) -> Option<Value<'a>>,
) -> Result<Value<'a>> {
    match of {
        Value::Optional(of) => Ok(of.as_ref().and_then(|of| find(of)).map_or(Value::Optional(None), Value::some)),
        of if optional => Ok(find(of).map_or(Value::Optional(None), Value::some)),
        of if of.size().is_none() || matches!(of, Value::String(_) | Value::Bytes(_)) => Err(Error::no_overload()),
        of => find(of).ok_or_else(|| missing(of, name)),
    }
}

fn missing(of: &Value<'_>, name: &Value<'_>) -> Error {
    let shown = library::shown(name);
    match (of.is_list(), name) {
        (true, Value::Int(_) | Value::Uint(_)) => Error::new(format!("index out of bounds: {shown}")),
        (true, _) => Error::no_overload(),
        (false, _) => Error::new(format!("no such key: {shown}")),
    }
}

fn element<'a>(of: &Value<'a>, index: &Value<'a>) -> Option<Value<'a>> {
    if !of.is_list() {
        return of.entry(index);
    }
    match Key::of(index)? {
        Key::Int(n) => of.at(usize::try_from(n).ok()?),
        _ => None,
    }
}

fn same_keys(one: &Value<'_>, other: &Value<'_>, keys: &[String]) -> bool {
    keys.iter().all(|key| {
        let key = Value::text(key.as_str());
        match (one.entry(&key), other.entry(&key)) {
            (Some(l), Some(r)) => same_scalar(&l, &r),
            (l, r) => l.is_none() && r.is_none(),
        }
    })
}

fn same_scalar(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Type(l), Value::Type(r)) => l == r,
        (Value::Ip(l), Value::Ip(r)) => l == r,
        (Value::Cidr(l, n), Value::Cidr(r, m)) => l == r && n == m,
        (Value::Url(l), Value::Url(r)) => l == r,
        (Value::Format(l), Value::Format(r)) => l == r,
        _ => compare(left, right).is_some_and(Ordering::is_eq),
    }
}

/// Which of two values is the greater, of those that have an order.
pub(super) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    use Value::{Bool, Bytes, Double, Duration, Int, Quantity, Semver, String, Timestamp, Uint};
    #[expect(clippy::cast_precision_loss, reason = "numbers of different types are compared as doubles")]
    match (left, right) {
        (Bool(l), Bool(r)) => Some(l.cmp(r)),
        (Int(l), Int(r)) | (Duration(l), Duration(r)) => Some(l.cmp(r)),
        (Uint(l), Uint(r)) => Some(l.cmp(r)),
        (Double(l), Double(r)) => l.partial_cmp(r),
        (Int(l), Uint(r)) => Some(i128::from(*l).cmp(&i128::from(*r))),
        (Uint(l), Int(r)) => Some(i128::from(*l).cmp(&i128::from(*r))),
        (Int(l), Double(r)) => (*l as f64).partial_cmp(r),
        (Double(l), Int(r)) => l.partial_cmp(&(*r as f64)),
        (Uint(l), Double(r)) => (*l as f64).partial_cmp(r),
        (Double(l), Uint(r)) => l.partial_cmp(&(*r as f64)),
        (String(l), String(r)) => Some((**l).cmp(&**r)),
        (Bytes(l), Bytes(r)) => Some(l.cmp(r)),
        (Timestamp(l), Timestamp(r)) => Some(l.cmp(r)),
        (Quantity(l), Quantity(r)) => Some(l.cmp(r)),
        (Semver(l), Semver(r)) => Some(l.precedence(r)),
        _ => None,
    }
}
