//! Meters: what is counted.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest name of a meter, in bytes.
const MAX_NAME: usize = 64;

/// A meter's name, such as `ai_tokens`: 1 to 64 of a-z, 0-9 and `_`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MeterName(Arc<str>);

/// A text that names no meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 of a-z, 0-9 and _, beginning with a letter")]
pub struct MeterNameError;

impl MeterName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`MeterNameError`].
    pub fn parse(text: &str) -> Result<Self, MeterNameError> {
        let is_name = text.len() <= MAX_NAME
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_name { Ok(Self(text.into())) } else { Err(MeterNameError) }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MeterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for MeterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for MeterName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// How a period's events of one meter become its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// The quantities, added.
    #[default]
    Sum,
    /// The number of events.
    Count,
    /// The largest quantity.
    Max,
    /// The number of different values of one dimension.
    Unique,
    /// The quantity of the event that occurred last.
    Latest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["ai_tokens", "a", "x9"] {
            assert!(MeterName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "9x", "_x", "AI", "a-b", "a b", "ü", &"a".repeat(65)] {
            assert!(MeterName::parse(bad).is_err(), "{bad}");
        }
    }
}
