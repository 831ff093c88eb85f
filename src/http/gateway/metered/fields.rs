//! The fields of a request, kept as they were written, but for those that decide how much is used.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// Most fields of a request: the API has some fifty.
const MAX_FIELDS: usize = 256;

/// Fields that are read here. A provider that overlooks case would read another spelling as the same field.
const READ: &[&str] = &[
    "background",
    "best_of",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "n",
    "prompt",
    "stream",
    "stream_options",
];

/// The body cannot be read without doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum FieldsError {
    /// Something else, or not JSON at all.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// More than anybody needs.
    #[error("the body has more than {MAX_FIELDS} fields")]
    TooMany,
    /// A value that two programs may read differently.
    #[error("expected {expected}, or null")]
    Type {
        /// The field.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A name that some programs take for the one that is meant.
    #[error("its name is written in small letters")]
    Spelling {
        /// The field's proper name.
        name: &'static str,
    },
}

/// A JSON object's fields; of one that is there twice, the last.
#[derive(Debug)]
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, FieldsError> {
        let read: Read = serde_json::from_slice(body).map_err(|_json: serde_json::Error| FieldsError::NotAnObject)?;
        let Read(Some(fields)) = read else { return Err(FieldsError::TooMany) };
        for found in fields.keys() {
            let is_other = |name: &&&str| **name != found && name.eq_ignore_ascii_case(found);
            if let Some(name) = READ.iter().find(is_other) {
                return Err(FieldsError::Spelling { name });
            }
        }
        Ok(Self(fields))
    }

    fn read<T: DeserializeOwned>(&self, name: &'static str, expected: &'static str) -> Result<Option<T>, FieldsError> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|_json: serde_json::Error| FieldsError::Type { name, expected })
    }

    /// A field that is true or false, unless it is missing or null.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, FieldsError> {
        self.read(name, "true or false")
    }

    /// A field that is a whole number of 0 or more.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, FieldsError> {
        self.read(name, "a whole number of 0 or more")
    }

    /// A field that is an object.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Map<String, Value>>, FieldsError> {
        self.read(name, "an object")
    }

    /// A text, if it is one.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.read(name, "a text").ok().flatten()
    }

    /// How many items a list has; 1 for anything else. They are counted, not kept.
    pub(super) fn n_items(&self, name: &'static str) -> u64 {
        self.read::<Items>(name, "a list").ok().flatten().map_or(1, |Items(n)| n)
    }

    /// Puts a field in, in place of the one that was there.
    pub(super) fn set(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), FieldsError> {
        let raw = to_raw_value(value).map_err(|_never: serde_json::Error| FieldsError::NotAnObject)?;
        self.0.insert(name.to_owned(), raw);
        Ok(())
    }

    /// The body with these fields.
    pub(super) fn into_body(self) -> Result<Vec<u8>, FieldsError> {
        serde_json::to_vec(&self.0).map_err(|_never: serde_json::Error| FieldsError::NotAnObject)
    }
}

/// The fields, unless there are too many: then the rest is only read over.
struct Read(Option<BTreeMap<String, Box<RawValue>>>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Read;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let mut fields = BTreeMap::new();
                for _ in 0..MAX_FIELDS {
                    let Some((name, value)) = map.next_entry()? else { return Ok(Read(Some(fields))) };
                    fields.insert(name, value);
                }
                if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_none() {
                    return Ok(Read(Some(fields)));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Read(None))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The number of a list's items.
struct Items(u64);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut n = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Items(n))
            }
        }
        deserializer.deserialize_seq(Counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_request() {
        for bad in ["", "[]", "1", "\"a\"", "{", "{}x", "null"] {
            assert_eq!(Fields::parse(bad.as_bytes()).map(drop), Err(FieldsError::NotAnObject), "{bad}");
        }
    }

    #[test]
    fn there_are_only_so_many_fields() {
        let body = |n: usize| {
            let fields: Vec<String> = (0..n).map(|n| format!("\"f{n}\":0")).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert_eq!(Fields::parse(body(MAX_FIELDS).as_bytes()).map(|fields| fields.0.len()), Ok(MAX_FIELDS));
        for n in [MAX_FIELDS + 1, MAX_FIELDS + 2, 10 * MAX_FIELDS] {
            assert_eq!(Fields::parse(body(n).as_bytes()).map(drop), Err(FieldsError::TooMany), "{n}");
        }
        let twice = format!("{{{}\"n\":2}}", "\"n\":1,".repeat(MAX_FIELDS));
        assert_eq!(Fields::parse(twice.as_bytes()).map(drop), Err(FieldsError::TooMany), "each time it is written");
        let broken = body(MAX_FIELDS + 2).replace('}', "");
        assert_eq!(Fields::parse(broken.as_bytes()).map(drop), Err(FieldsError::NotAnObject));
    }

    #[test]
    fn a_name_in_another_spelling_is_refused() {
        for name in READ {
            for other in [name.to_uppercase(), name.replacen(|c: char| c.is_ascii(), &name[..1].to_uppercase(), 1)] {
                let body = format!("{{\"{other}\":1,\"other\":2}}");
                assert_eq!(Fields::parse(body.as_bytes()).map(drop), Err(FieldsError::Spelling { name }), "{other}");
            }
            assert!(Fields::parse(format!("{{\"{name}\":1,\"Metadata\":2}}").as_bytes()).is_ok());
        }
    }

    #[test]
    fn items_are_counted() {
        for (prompt, n) in [("[]", 0), ("[1,[2,3],{}]", 3), ("\"a\"", 1), ("null", 1), ("7", 1)] {
            let fields = Fields::parse(format!("{{\"prompt\":{prompt}}}").as_bytes()).expect("an object");
            assert_eq!(fields.n_items("prompt"), n, "{prompt}");
        }
        assert_eq!(Fields::parse(b"{}").expect("an object").n_items("prompt"), 1);
    }
}
