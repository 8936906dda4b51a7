//! Values as Go prints them: the messages of upstream's errors have them so.

use std::fmt::{self, Display};

use serde_json::{Number, Value};

/// As `%v` prints a value.
pub(super) struct Plain<'v>(pub(super) &'v Value);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Number(number) => f.write_str(&float(number)),
            Value::String(text) => f.write_str(text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { " " }, Plain(item))?;
                }
                f.write_str("]")
            }
            Value::Object(object) => {
                f.write_str("map[")?;
                for (i, (name, value)) in object.iter().enumerate() {
                    write!(f, "{}{name}:{}", if i == 0 { "" } else { " " }, Plain(value))?;
                }
                f.write_str("]")
            }
        }
    }
}

/// As `%#v` prints a value.
pub(super) struct Syntax<'v>(pub(super) &'v Value);

impl Display for Syntax<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("interface {}(nil)"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Number(number) => f.write_str(&float(number)),
            Value::String(text) => write!(f, "{text:?}"),
            Value::Array(items) => {
                f.write_str("[]interface {}{")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, Syntax(item))?;
                }
                f.write_str("}")
            }
            Value::Object(object) => {
                f.write_str("map[string]interface {}{")?;
                for (i, (name, value)) in object.iter().enumerate() {
                    write!(f, "{}{name:?}:{}", if i == 0 { "" } else { ", " }, Syntax(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A number as Go prints a float: in an applied configuration every number is one.
fn float(number: &Number) -> String {
    let value = number.as_f64().unwrap_or_default();
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_printed_as_go_prints_them() {
        for (value, plain, syntax) in [
            (json!(5), "5", "5"),
            (json!(1.5), "1.5", "1.5"),
            (json!(100_000), "100000", "100000"),
            (json!(1_234_567), "1.234567e+06", "1.234567e+06"),
            (json!(0.00001), "1e-05", "1e-05"),
            (json!("a\"b"), "a\"b", r#""a\"b""#),
            (json!([1, "x"]), "[1 x]", r#"[]interface {}{1, "x"}"#),
            (
                json!({"b": true, "a": null}),
                "map[a:<nil> b:true]",
                r#"map[string]interface {}{"a":interface {}(nil), "b":true}"#,
            ),
        ] {
            assert_eq!((Plain(&value).to_string(), Syntax(&value).to_string()), (plain.to_owned(), syntax.to_owned()));
        }
    }
}
