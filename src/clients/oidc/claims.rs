//! What a provider says of a person.

use serde_json::{Map, Value};

use crate::domain::sso::{ProviderProof, SubjectFrom};

/// Longest name of a person at a provider, in characters.
const MAX_SUBJECT: usize = 255;
/// Values of one claim that are looked at.
const MAX_VALUES: usize = 1_000;

/// Claims of a verified ID token, and what `userinfo` adds to them.
#[derive(Debug, Clone)]
pub struct Claims {
    signed: Map<String, Value>,
    added: Map<String, Value>,
}

impl Claims {
    pub(super) fn new(signed: Map<String, Value>) -> Self {
        Self { signed, added: Map::new() }
    }

    /// With what `userinfo` says besides. It is about the same person, but says nothing of the sign-in.
    #[must_use]
    pub fn with_user_info(mut self, added: Map<String, Value>) -> Self {
        self.added = added;
        self
    }

    /// `sub`.
    #[must_use]
    pub fn sub(&self) -> Option<&str> {
        self.signed.get("sub")?.as_str()
    }

    /// What names the person at the provider for good; none if the ID token does not say it, or not in a form that can be kept.
    #[must_use]
    pub fn subject(&self, from: SubjectFrom) -> Option<String> {
        let text = |name: &str| {
            let text = self.signed.get(name)?.as_str()?;
            let is_plain = (1..=MAX_SUBJECT).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            is_plain.then_some(text)
        };
        match from {
            SubjectFrom::Sub => text("sub").map(str::to_owned),
            SubjectFrom::TidOid => Some(format!("{}|{}", text("tid")?, text("oid")?)),
        }
    }

    /// Whether the ID token itself has a claim.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.signed.contains_key(name)
    }

    /// The e-mail address, and whether the provider says that it is the person's (`None` = it says nothing). Both are of one source.
    #[must_use]
    pub fn email(&self) -> Option<(&str, Option<bool>)> {
        [&self.signed, &self.added].into_iter().find_map(|source| {
            let email = source.get("email")?.as_str()?;
            // Entra says `xms_edov`, as a number, a text or a truth value.
            let said: Vec<bool> =
                ["email_verified", "xms_edov"].iter().filter_map(|name| truth(source.get(*name)?)).collect();
            let verified = if said.is_empty() { None } else { Some(said.iter().all(|said| *said)) };
            Some((email, verified))
        })
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        [&self.signed, &self.added].into_iter().find_map(|source| source.get("name")?.as_str())
    }

    /// The values of a claim that is a text or a list of texts.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        let found = self.signed.get(name).or_else(|| self.added.get(name));
        match found {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => {
                list.iter().take(MAX_VALUES).filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        }
    }

    /// How the person proved who they are: what was signed, and nothing else.
    #[must_use]
    pub fn proof(&self) -> ProviderProof {
        let amr = self.signed.get("amr").and_then(Value::as_array);
        ProviderProof {
            acr: self.signed.get("acr").and_then(Value::as_str).map(str::to_owned),
            amr: amr.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            auth_time_s: self.signed.get("auth_time").and_then(Value::as_i64),
        }
    }
}

/// Anything but a clear yes is a no.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::Bool(is_true) => Some(*is_true),
        Value::String(text) => Some(matches!(text.as_str(), "true" | "1")),
        Value::Number(number) => Some(number.as_i64() == Some(1)),
        Value::Array(_) | Value::Object(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(signed: Value, added: Value) -> Claims {
        let object = |value: Value| value.as_object().cloned().expect("an object");
        Claims::new(object(signed)).with_user_info(object(added))
    }

    #[test]
    fn an_address_and_its_proof_are_of_one_source() {
        for (signed, added, expected) in [
            (json!({"email": "a@b.c", "email_verified": true}), json!({}), Some(("a@b.c", Some(true)))),
            (json!({"email": "a@b.c"}), json!({"email": "a@b.c", "email_verified": true}), Some(("a@b.c", None))),
            (json!({"email_verified": true}), json!({"email": "a@b.c"}), Some(("a@b.c", None))),
            (json!({"email": "a@b.c", "email_verified": "false"}), json!({}), Some(("a@b.c", Some(false)))),
            (json!({"email": "a@b.c", "email_verified": "yes"}), json!({}), Some(("a@b.c", Some(false)))),
            (json!({"email": "a@b.c", "xms_edov": false}), json!({}), Some(("a@b.c", Some(false)))),
            (json!({"email": "a@b.c", "xms_edov": 1}), json!({}), Some(("a@b.c", Some(true)))),
            (json!({"email": ["a@b.c"]}), json!({}), None),
        ] {
            assert_eq!(claims(signed.clone(), added).email(), expected, "{signed}");
        }
    }

    #[test]
    fn nobody_is_named_by_what_was_not_signed() {
        let claims =
            claims(json!({"sub": "s", "tid": "t"}), json!({"oid": "o", "sub": "other", "acr": "mfa", "amr": ["mfa"]}));
        assert_eq!(claims.subject(SubjectFrom::Sub).as_deref(), Some("s"));
        assert_eq!(claims.subject(SubjectFrom::TidOid), None);
        assert_eq!(claims.proof(), ProviderProof::default());
    }

    #[test]
    fn a_subject_that_cannot_be_kept_is_none() {
        for bad in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "a\u{0}b"}),
            json!({"sub": "x".repeat(256)}),
        ] {
            assert_eq!(claims(bad.clone(), json!({})).subject(SubjectFrom::Sub), None, "{bad}");
        }
    }

    #[test]
    fn groups_are_texts_or_one_text() {
        let claims =
            claims(json!({"groups": ["a", 1, "b"], "role": "c", "n": 1}), json!({"groups": ["z"], "teams": ["t"]}));
        assert_eq!(claims.values("groups"), ["a", "b"]);
        assert_eq!(claims.values("role"), ["c"]);
        assert_eq!(claims.values("teams"), ["t"]);
        assert!(claims.values("n").is_empty() && claims.values("none").is_empty());
    }
}
