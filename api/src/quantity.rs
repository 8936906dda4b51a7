//! Amounts of resources: `250m` of a processor, `1536Mi` of memory.
//!
//! A [`Quantity`] is exact: an integer number of billionths, and the family of suffixes that it was written in and is
//! printed in again. k8s-openapi's type of the same name is the text; [`parse`] makes this of it, and its
//! `to_string` is the canonical text.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// An amount, in billionths of its unit.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

/// The family of suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    Decimal,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    Binary,
    /// `e3`, `E-6`.
    Exponent,
}

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
    #[error("quantity is larger than can be represented")]
    TooLarge,
}

const NANOS: i128 = 1_000_000_000;
/// Above this a binary quantity is capped. Source: `maxAllowed`.
const BINARY_MAX: i128 = (i64::MAX as i128) * NANOS;
const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub const ZERO: Quantity = Quantity { nanos: 0, form: Form::Decimal };

    /// A whole number of units, printed with decimal suffixes.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANOS, form: Form::Decimal }
    }

    /// Thousandths, as CPUs are counted.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self { nanos: milli as i128 * 1_000_000, form: Form::Decimal }
    }

    /// Billionths, as CPU usage is counted.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos: nanos as i128, form: Form::Decimal }
    }

    /// Bytes, printed with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { nanos: bytes as i128 * NANOS, form: Form::Binary }
    }

    /// Whole units, rounded up, at most `i64::MAX`: bytes, pods. Source: `Quantity.Value`.
    #[must_use]
    pub fn units(&self) -> i64 {
        self.scaled(NANOS)
    }

    /// Thousandths, rounded up, at most `i64::MAX`. Source: `Quantity.MilliValue`.
    #[must_use]
    pub fn milli(&self) -> i64 {
        self.scaled(1_000_000)
    }

    /// Bytes: whole units, none for a negative amount.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.units()).unwrap_or(0)
    }

    /// About how many units it is.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "about")]
    pub fn to_f64(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    fn scaled(&self, unit: i128) -> i64 {
        let clamped = divide_up(self.nanos, unit).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        i64::try_from(clamped).unwrap_or(i64::MAX)
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// Whether it is a whole number of thousandths.
    #[must_use]
    pub fn is_whole_milli(&self) -> bool {
        self.nanos % 1_000_000 == 0
    }

    /// The canonical text, as k8s-openapi holds it.
    #[must_use]
    pub fn to_text(self) -> Text {
        Text(self.to_string())
    }
}

/// Division rounding away from zero.
fn divide_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    quotient + rest.signum()
}

/// Reads k8s-openapi's quantity.
///
/// # Errors
/// When the text is no quantity.
pub fn parse(text: &Text) -> Result<Quantity, ParseError> {
    text.0.parse()
}

/// Reads a quantity that has been validated, or zero where there is none.
#[must_use]
pub fn parse_or_zero(text: Option<&Text>) -> Quantity {
    text.and_then(|t| parse(t).ok()).unwrap_or(Quantity::ZERO)
}

/// The canonical form of a text, or the text itself when it is no quantity. The most common ones are seen to be canonical
/// without being parsed.
#[must_use]
pub fn canonical(text: &str) -> Cow<'_, str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let short = (1..=3).contains(&digits) && !text.starts_with('0');
    if (short && matches!(&text[digits..], "" | "m" | "Mi" | "Gi")) || text == "0" {
        return Cow::Borrowed(text);
    }
    match text.parse::<Quantity>() {
        Ok(quantity) => Cow::Owned(quantity.to_string()),
        Err(_) => Cow::Borrowed(text),
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (number, suffix) = split(text)?;
        let (base, form) = read_suffix(suffix)?;
        let digits = read_number(number)?;
        let mut nanos = match base {
            Base::Ten(exponent) => digits.times_ten_to(exponent + 9)?,
            Base::Two(bits) => digits.times(NANOS << bits)?,
        };
        let mut form = form;
        if form == Form::Binary {
            nanos = nanos.min(BINARY_MAX);
            if nanos > 0 && nanos < NANOS {
                form = Form::Decimal;
            }
        }
        Ok(Self { nanos, form })
    }
}

fn split(text: &str) -> Result<(&str, &str), ParseError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let end = end + (text.len() - unsigned.len());
    let (number, suffix) = text.split_at(end);
    let known = suffix.bytes().all(|b| b.is_ascii_digit() || b"eEinumkKMGTP+-".contains(&b));
    if number.trim_start_matches(['+', '-']).is_empty() || !known {
        return Err(ParseError::Format);
    }
    Ok((number, suffix))
}

enum Base {
    Ten(i32),
    Two(u32),
}

fn read_suffix(suffix: &str) -> Result<(Base, Form), ParseError> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Ok((Base::Ten(*exponent), Form::Decimal));
    }
    if let Some((_, bits)) = BINARY_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Ok((Base::Two(*bits), Form::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
    let exponent: i32 = exponent.parse().map_err(|_| ParseError::Suffix)?;
    // Beyond these every amount is zero's neighbour or too large, so the sums below can't overflow.
    Ok((Base::Ten(exponent.clamp(-1_000, 1_000)), Form::Exponent))
}

/// A decimal number: its digits without the point, and how many of them stand behind it.
struct Digits {
    value: i128,
    behind_point: i32,
}

fn read_number(text: &str) -> Result<Digits, ParseError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(ParseError::Number);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut value: i128 = 0;
    for digit in whole.trim_start_matches('0').bytes().chain(fraction.bytes()) {
        value =
            value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit - b'0'))).ok_or(ParseError::TooLarge)?;
    }
    let behind_point = i32::try_from(fraction.len()).map_err(|_| ParseError::TooLarge)?;
    Ok(Digits { value: if negative { -value } else { value }, behind_point })
}

impl Digits {
    /// Rounded away from zero.
    fn times_ten_to(self, exponent: i32) -> Result<i128, ParseError> {
        let exponent = exponent - self.behind_point;
        if self.value == 0 {
            return Ok(0);
        }
        let Some(power) = 10_i128.checked_pow(exponent.unsigned_abs()) else {
            return if exponent < 0 { Ok(self.value.signum()) } else { Err(ParseError::TooLarge) };
        };
        if exponent < 0 {
            Ok(divide_up(self.value, power))
        } else {
            self.value.checked_mul(power).ok_or(ParseError::TooLarge)
        }
    }

    fn times(self, factor: i128) -> Result<i128, ParseError> {
        let divisor = 10_i128.checked_pow(self.behind_point.unsigned_abs()).ok_or(ParseError::TooLarge)?;
        self.value.checked_mul(factor).map(|product| divide_up(product, divisor)).ok_or(ParseError::TooLarge)
    }
}

impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS;
        match self.form {
            Form::Binary if !small && self.is_whole() => {
                let (number, thousands) = strip_factors(self.nanos / NANOS, 1024, BINARY_SUFFIXES.len());
                let suffix = thousands.checked_sub(1).map_or("", |i| BINARY_SUFFIXES[i].0);
                write!(f, "{number}{suffix}")
            }
            Form::Exponent => {
                let (number, thousands) = strip_factors(self.nanos, 1000, usize::MAX);
                match i64::try_from(thousands).unwrap_or(0) * 3 - 9 {
                    0 => write!(f, "{number}"),
                    exponent => write!(f, "{number}e{exponent}"),
                }
            }
            Form::Binary | Form::Decimal => {
                let (number, thousands) = strip_factors(self.nanos, 1000, DECIMAL_SUFFIXES.len() - 1);
                write!(f, "{number}{}", DECIMAL_SUFFIXES[thousands].0)
            }
        }
    }
}

/// Divides by `factor` while nothing is lost, at most `max` times.
fn strip_factors(mut value: i128, factor: i128, max: usize) -> (i128, usize) {
    let mut count = 0;
    while count < max && value % factor == 0 {
        value /= factor;
        count += 1;
    }
    (value, count)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// Saturating; the sum is printed as the first operand is, unless that is zero.
impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        let form = if self.is_zero() { other.form } else { self.form };
        Quantity { nanos: self.nanos.saturating_add(other.nanos), form }
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self + -other
    }
}

impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity { nanos: self.nanos.saturating_neg(), form: self.form }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, printed) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1024", "1024"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("100e1", "1e3"),
            ("1e2", "100"),
            ("12e-1", "1200e-3"),
            ("0.5Ki", "512"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("-1.5", "-1500m"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("1E", "1E"),
            ("1000E", "1000E"),
            ("16Ei", "9223372036854775807"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("123Mi", "123Mi"),
            ("0.0001Ki", "102400u"),
            ("1500Ki", "1500Ki"),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), printed, "{text}");
            assert_eq!(canonical(text), printed, "{text}");
        }
    }

    #[test]
    fn bad_texts() {
        for (text, error) in [
            ("", ParseError::Format),
            ("-", ParseError::Format),
            ("10 apples", ParseError::Format),
            ("1.1.1", ParseError::Number),
            (".", ParseError::Number),
            ("1mm", ParseError::Suffix),
            ("1K", ParseError::Suffix),
            ("1i", ParseError::Suffix),
            ("1e", ParseError::Suffix),
            ("1e9x", ParseError::Format),
            ("1e999", ParseError::TooLarge),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_rounded_up() {
        let q: Quantity = "1001m".parse().unwrap();
        assert_eq!((q.units(), q.milli()), (2, 1001));
        let q: Quantity = "-1001m".parse().unwrap();
        assert_eq!(q.units(), -2);
        assert_eq!("1u".parse::<Quantity>().unwrap().milli(), 1);
        assert_eq!("1Gi".parse::<Quantity>().unwrap().bytes(), 1 << 30);
    }

    proptest! {
        #[test]
        fn printing_keeps_the_amount(mantissa in -1_000_000_000_000_i64..1_000_000_000_000, suffix in "(n|u|m||k|M|G|Ki|Mi|Gi|e3|e-3|E6)") {
            let q: Quantity = format!("{mantissa}{suffix}").parse().unwrap();
            let again: Quantity = q.to_string().parse().unwrap();
            prop_assert_eq!(q, again);
            prop_assert_eq!(q.to_string(), again.to_string());
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            let _ = text.parse::<Quantity>();
            let _ = canonical(&text);
        }

        #[test]
        fn subtraction_undoes_addition(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (Quantity::from_nanos(a), Quantity::from_nanos(b));
            prop_assert_eq!(a + b - b, a);
        }
    }
}
