//! Secrets that a tenant gives the platform to use on its behalf.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Most secrets of one tenant.
pub const MAX_SECRETS: usize = 50;
/// Longest secret, in bytes.
pub const MAX_VALUE: usize = 8 * 1024;
/// Longest name, in bytes.
const MAX_NAME: usize = 63;
/// Longest purpose, in characters.
const MAX_PURPOSE: usize = 200;

/// A secret's name: 1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName(String);

/// What is wrong with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The name.
    #[error("expected 1 to 63 of a-z, 0-9, _ and -, beginning with a letter")]
    Name,
    /// The value.
    #[error("expected 1 to 8192 bytes without NUL, and not only blanks")]
    Value,
    /// The purpose.
    #[error("expected at most 200 characters without control characters")]
    Purpose,
}

impl SecretName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`SecretError::Name`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let is_name = text.len() <= MAX_NAME
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if is_name { Ok(Self(text.to_owned())) } else { Err(SecretError::Name) }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SecretName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a value.
///
/// # Errors
/// [`SecretError::Value`].
pub fn check_value(value: &SecretString) -> Result<(), SecretError> {
    let text = value.expose_secret();
    let is_value = text.len() <= MAX_VALUE && !text.trim().is_empty() && !text.contains('\0');
    if is_value { Ok(()) } else { Err(SecretError::Value) }
}

/// Checks a purpose.
///
/// # Errors
/// [`SecretError::Purpose`].
pub fn check_purpose(purpose: &str) -> Result<(), SecretError> {
    let is_purpose = purpose.chars().count() <= MAX_PURPOSE && !purpose.chars().any(char::is_control);
    if is_purpose { Ok(()) } else { Err(SecretError::Purpose) }
}

/// A tenant's secrets, opened. Printing it shows the names alone.
#[derive(Clone, Default)]
pub struct TenantSecrets(BTreeMap<SecretName, SecretString>);

impl TenantSecrets {
    /// The secret of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }
}

impl FromIterator<(SecretName, SecretString)> for TenantSecrets {
    fn from_iter<I: IntoIterator<Item = (SecretName, SecretString)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

impl fmt::Debug for TenantSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["openai", "a", "open-ai_2"] {
            assert!(SecretName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "9x", "-x", "OpenAI", "a.b", "a b", "a/b", "ü", &"a".repeat(64)] {
            assert_eq!(SecretName::parse(bad), Err(SecretError::Name), "{bad}");
        }
    }

    #[test]
    fn values_and_purposes_have_bounds() {
        for (value, is_good) in [
            ("k", true),
            ("line 1\nline 2", true),
            (&*"k".repeat(MAX_VALUE), true),
            (&*"k".repeat(MAX_VALUE + 1), false),
            ("", false),
            (" \n", false),
            ("a\0b", false),
        ] {
            assert_eq!(check_value(&value.into()).is_ok(), is_good, "{} bytes", value.len());
        }
        assert!(check_purpose("").is_ok() && check_purpose(&"ü".repeat(200)).is_ok());
        assert!(check_purpose(&"u".repeat(201)).is_err() && check_purpose("a\nb").is_err());
    }

    #[test]
    fn printing_shows_no_value() {
        let name = SecretName::parse("openai").expect("a name");
        let secrets: TenantSecrets = [(name, SecretString::from("sk-very-secret"))].into_iter().collect();
        assert_eq!(secrets.get("openai").map(|value| value.expose_secret()), Some("sk-very-secret"));
        assert!(secrets.get("other").is_none());
        let printed = format!("{secrets:?}");
        assert!(printed.contains("openai") && !printed.contains("very-secret"), "{printed}");
    }
}
