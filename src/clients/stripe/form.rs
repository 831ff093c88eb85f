//! Parameters as Stripe reads them: `application/x-www-form-urlencoded`, with brackets for what is nested
//! (`items[0][price]=price_1`).

use std::fmt::Write as _;

use serde_json::Value;

/// Writes an object's fields as a form. Nulls are left out; an empty text unsets a field.
#[must_use]
pub fn encode(params: &Value) -> String {
    let mut out = String::new();
    add(&mut out, "", params);
    out
}

fn add(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(fact) => pair(out, name, if *fact { "true" } else { "false" }),
        Value::Number(number) => pair(out, name, &number.to_string()),
        Value::String(text) => pair(out, name, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add(out, &format!("{name}[{index}]"), item);
            }
        }
        Value::Object(fields) => {
            for (field, item) in fields {
                let field = escape(field);
                let inner = if name.is_empty() { field } else { format!("{name}[{field}]") };
                add(out, &inner, item);
            }
        }
    }
}

fn pair(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
    out.push_str(&escape(value));
}

/// Percent-encodes all but the unreserved characters of RFC 3986 §2.3.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_parameters_have_brackets() {
        let params = json!({
            "customer": "cus_1", "items": [{"price": "p", "quantity": 2}, {"deleted": true}],
            "metadata": {"a b": "x&y=[ü]"}, "nothing": null, "unset": "", "none": [],
        });
        assert_eq!(
            encode(&params),
            "customer=cus_1&items[0][price]=p&items[0][quantity]=2&items[1][deleted]=true&metadata[a%20b]=x%26y%3D%5B%C3%BC%5D&unset="
        );
        assert_eq!(encode(&json!({})), "");
    }
}
