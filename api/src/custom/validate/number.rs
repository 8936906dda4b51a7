//! The bounds of numbers.

use serde_json::Number;

use super::{NOWHERE, invalid};
use crate::custom::structural::{Structural, Type};
use crate::field::{Errors, Path};

/// Judges a number by the bounds and the format of its schema. Whole ones are compared as such where the bound is one.
pub(super) fn validate(
    number: &Number,
    schema: &Structural,
    format: Option<&str>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let Some(value) = number.as_f64() else { return };
    let judge = Judge { kind: schema.kind.filter(|_| !schema.int_or_string), format, path };
    judge.range("Checked", value, number.as_i64(), errors);
    let checks = &schema.checks;
    if let Some(of) = checks.multiple_of {
        let is_native = judge.range("MultipleOf", of, None, errors);
        let of = Bound::new(of, number, is_native);
        match of.is_multiple(number, value) {
            None => invalid_factor(path, &of, errors),
            Some(false) => invalid(path, number, &format!("should be a multiple of {}", of.shown()), errors),
            Some(true) => {}
        }
    }
    if let Some(min) = checks.minimum {
        let is_native = judge.range("Minimum boundary", min, None, errors);
        let min = Bound::new(min, number, is_native);
        if min.compare(number, value, |order| order.is_lt() || (checks.exclusive_minimum && order.is_eq())) {
            let or_equal = if checks.exclusive_minimum { "" } else { "or equal to " };
            invalid(path, number, &format!("should be greater than {or_equal}{}", min.shown()), errors);
        }
    }
    if let Some(max) = checks.maximum {
        let is_native = judge.range("Maximum boundary", max, None, errors);
        let max = Bound::new(max, number, is_native);
        if max.compare(number, value, |order| order.is_gt() || (checks.exclusive_maximum && order.is_eq())) {
            let or_equal = if checks.exclusive_maximum { "" } else { "or equal to " };
            invalid(path, number, &format!("should be less than {or_equal}{}", max.shown()), errors);
        }
    }
}

fn invalid_factor(path: &Path<'_>, of: &Bound, errors: &mut Errors) {
    let detail = format!("factor MultipleOf declared for {path} must be positive: {}", of.shown());
    match of {
        Bound::Whole(n) => errors.invalid(&super::shown(path), n, &detail),
        Bound::Real(n) => errors.invalid(&super::shown(path), n, &detail),
    }
}

struct Judge<'a> {
    kind: Option<Type>,
    format: Option<&'a str>,
    path: &'a Path<'a>,
}

impl Judge<'_> {
    /// Whether a number can be of the type and format; what cannot is told.
    fn range(&self, what: &str, value: f64, whole: Option<i64>, errors: &mut Errors) -> bool {
        let whole = whole.or_else(|| to_whole(value));
        let (fits, kind) = match (self.kind, self.format) {
            (Some(Type::Integer), Some("int32")) => (whole.is_some_and(|n| i32::try_from(n).is_ok()), "integer"),
            (Some(Type::Integer), _) => (whole.is_some(), "integer"),
            (Some(Type::Number), Some("float")) => (value.abs() <= f64::from(f32::MAX), "number"),
            _ => (true, "number"),
        };
        if !fits {
            let of =
                self.format.map_or_else(|| "(default format)".to_owned(), |format| format!("with format {format}"));
            let detail = format!("{what} value must be of type {kind} {of} in {}", self.path);
            errors.invalid(&NOWHERE, "", &detail);
        }
        fits
    }
}

/// A bound as it is compared.
enum Bound {
    Whole(i64),
    Real(f64),
}

impl Bound {
    /// Whole numbers are compared with what is whole of the bound, unless it is beyond the type.
    fn new(bound: f64, number: &Number, is_native: bool) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and cuts off as is wanted")]
        if is_native && number.is_i64() { Bound::Whole(bound as i64) } else { Bound::Real(bound) }
    }

    fn compare(&self, number: &Number, value: f64, is_wrong: impl Fn(std::cmp::Ordering) -> bool) -> bool {
        match self {
            Bound::Whole(bound) => number.as_i64().is_some_and(|n| is_wrong(n.cmp(bound))),
            Bound::Real(bound) => value.partial_cmp(bound).is_some_and(is_wrong),
        }
    }

    /// Whether a number is a multiple of it, unless it is no factor.
    fn is_multiple(&self, number: &Number, value: f64) -> Option<bool> {
        match self {
            Bound::Whole(of) => (*of > 0).then(|| number.as_i64().is_some_and(|n| n % of == 0)),
            Bound::Real(of) => (*of > 0.0).then(|| {
                let ratio = if *of < 1.0 { 1.0 / of * value } else { value / of };
                (ratio - ratio.round()).abs() <= f64::EPSILON * ratio.abs().max(1.0)
            }),
        }
    }

    /// As Go prints it.
    fn shown(&self) -> String {
        match self {
            Bound::Whole(bound) => bound.to_string(),
            Bound::Real(bound) if bound.abs() < 1e21 => format!("{bound}"),
            Bound::Real(bound) => format!("{bound:e}"),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole, and checked to be in range")]
fn to_whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9.3e18).then_some(value as i64)
}
