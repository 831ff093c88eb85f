//! Forms as Stripe reads them: `items[0][price]=p` is `{"items": {"0": {"price": "p"}}}`.

use serde_json::{Map, Value};

/// Takes a form or a query apart. Everything in it is text.
pub fn parse(form: &str) -> Value {
    let mut root = Value::Object(Map::new());
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name);
        let mut at = &mut root;
        for part in name.split('[').map(|part| part.trim_end_matches(']')) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = at.as_object_mut().unwrap().entry(part.to_owned()).or_insert(Value::Null);
        }
        *at = Value::String(decode(value));
    }
    root
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).unwrap()
}

/// A text of a form.
pub fn text<'a>(form: &'a Value, pointer: &str) -> Option<&'a str> {
    form.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// A number of a form.
pub fn number(form: &Value, pointer: &str) -> Option<i64> {
    text(form, pointer)?.parse().ok()
}

/// The entries of a list in a form, in order.
pub fn list(form: &Value, pointer: &str) -> Vec<Value> {
    let mut entries: Vec<(usize, Value)> = form
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(index, entry)| Some((index.parse().ok()?, entry.clone())))
        .collect();
    entries.sort_by_key(|(index, _)| *index);
    entries.into_iter().map(|(_, entry)| entry).collect()
}
