//! The bounds of numbers.

use serde_json::Number;

use super::invalid;
use crate::custom::structural::Checks;
use crate::field::{Errors, Path};

pub(super) fn validate(number: &Number, checks: &Checks, path: &Path<'_>, errors: &mut Errors) {
    let Some(value) = number.as_f64() else { return };
    if let Some(of) = checks.multiple_of.filter(|of| !is_multiple(number, value, *of)) {
        invalid(path, number, &format!("should be a multiple of {}", shown(of)), errors);
    }
    if let Some(max) = checks.maximum
        && (value > max || (checks.exclusive_maximum && value >= max))
    {
        let or_equal = if checks.exclusive_maximum { "" } else { "or equal to " };
        invalid(path, number, &format!("should be less than {or_equal}{}", shown(max)), errors);
    }
    if let Some(min) = checks.minimum
        && (value < min || (checks.exclusive_minimum && value <= min))
    {
        let or_equal = if checks.exclusive_minimum { "" } else { "or equal to " };
        invalid(path, number, &format!("should be greater than {or_equal}{}", shown(min)), errors);
    }
}

fn is_multiple(number: &Number, value: f64, of: f64) -> bool {
    if of <= 0.0 {
        return false;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and checked to be in range")]
    if let Some(n) = number.as_i64()
        && of.fract() == 0.0
        && of < 9e15
    {
        return n % (of as i64) == 0;
    }
    let ratio = value / of;
    (ratio - ratio.round()).abs() <= f64::EPSILON * ratio.abs().max(1.0)
}

/// A bound as Go prints it.
fn shown(bound: f64) -> String {
    if bound.abs() < 1e21 { format!("{bound}") } else { format!("{bound:e}") }
}
