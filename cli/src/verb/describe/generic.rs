//! Any other kind: its metadata, then every field as it stands.

use serde_json::Value;

use crate::verb::describe::page::{Page, scalar};

pub fn describe(object: &Value, page: &mut Page) {
    page.metadata(object);
    page.field_of(0, "API Version", &object["apiVersion"]);
    page.field_of(0, "Kind", &object["kind"]);
    let secret = object["kind"] == "Secret";
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "metadata" | "apiVersion" | "kind" => {}
            "data" | "stringData" if secret => sizes(value, page),
            name => nested(0, &title(name), value, page),
        }
    }
}

/// What a secret holds is not shown, but how much.
fn sizes(data: &Value, page: &mut Page) {
    page.line(0, "Data");
    page.line(0, "====");
    for (name, value) in data.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        page.field(0, name, format_args!("{} bytes", (text.len() / 4 * 3).saturating_sub(padding)));
    }
}

fn nested(depth: usize, name: &str, value: &Value, page: &mut Page) {
    match value {
        Value::Object(members) => {
            page.line(depth, format_args!("{name}:"));
            members.iter().for_each(|(name, value)| nested(depth + 1, &title(name), value, page));
        }
        Value::Array(elements) => {
            page.line(depth, format_args!("{name}:"));
            for element in elements {
                match element {
                    Value::Object(members) => {
                        members.iter().for_each(|(name, value)| nested(depth + 1, &title(name), value, page));
                    }
                    other => page.line(depth + 1, scalar(other)),
                }
            }
        }
        scalar_value => {
            let text = scalar(scalar_value);
            match text.contains('\n') {
                true => {
                    page.line(depth, format_args!("{name}:"));
                    text.lines().for_each(|line| page.line(depth + 1, line));
                }
                false => page.field(depth, name, text),
            }
        }
    }
}

/// `holderIdentity` → `Holder Identity`; what is not in camel case stays.
fn title(name: &str) -> String {
    if !name.chars().all(char::is_alphanumeric) {
        return name.to_owned();
    }
    let mut title = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            title.push(' ');
        }
        if title.is_empty() {
            title.extend(letter.to_uppercase())
        } else {
            title.push(letter)
        }
        before = letter;
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_stay_secret() {
        let mut page = Page::default();
        describe(
            &json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"token": "c2VjcmV0"}, "type": "Opaque"}),
            &mut page,
        );
        let text = page.finish();
        assert!(text.contains("token:  6 bytes") && !text.contains("c2Vj"), "{text}");
        assert_eq!(title("holderIdentity"), "Holder Identity");
        assert_eq!(title("a.b/c"), "a.b/c");
    }
}
