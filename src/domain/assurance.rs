//! How strongly, and how lately, a user proved who they are: authentication context classes and step-up (RFC 9470).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Authentication context class, after the authenticator assurance levels of NIST SP 800-63B. Ordered by strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acr {
    /// One factor.
    Aal1,
    /// Two factors, or a passkey that verified its user.
    Aal2,
}

impl Acr {
    /// The word in tokens, headers and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }

    /// The class that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Aal1, Self::Aal2].into_iter().find(|acr| acr.as_str() == text)
    }
}

impl fmt::Display for Acr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a call asks of its caller's sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requirement {
    /// The least class.
    pub min_acr: Option<Acr>,
    /// The oldest acceptable authentication, in seconds.
    pub max_age_s: Option<u64>,
}

impl Requirement {
    /// Asks nothing.
    pub const NONE: Self = Self { min_acr: None, max_age_s: None };
    /// What changes keys, factors, roles, money or connections asks: two factors, shown within five minutes.
    pub const SENSITIVE: Self = Self { min_acr: Some(Acr::Aal2), max_age_s: Some(300) };

    /// Whether a sign-in of class `acr` at `auth_time_s` (seconds since 1970) does. A class that is not one of ours never
    /// does where one is asked for.
    #[must_use]
    pub fn is_met_by(&self, acr: &str, auth_time_s: i64, now_s: i64) -> bool {
        let is_strong = self.min_acr.is_none_or(|min| Acr::parse(acr).is_some_and(|acr| acr >= min));
        let age_s = u64::try_from(now_s.saturating_sub(auth_time_s)).unwrap_or(0);
        is_strong && self.max_age_s.is_none_or(|max| age_s <= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_and_read_back() {
        assert!(Acr::Aal1 < Acr::Aal2);
        assert_eq!(Acr::parse("aal2"), Some(Acr::Aal2));
        assert_eq!(Acr::parse("AAL2"), None);
    }

    #[test]
    fn a_sensitive_call_asks_for_two_factors_within_five_minutes() {
        let met = |acr: &str, auth_time_s: i64| Requirement::SENSITIVE.is_met_by(acr, auth_time_s, 1_000);
        assert!(met("aal2", 700));
        assert!(!met("aal2", 699), "too old");
        assert!(!met("aal1", 1_000), "one factor");
        assert!(!met("aal9", 1_000), "an unknown class is no strong one");
    }

    #[test]
    fn nothing_asked_is_met_by_anything() {
        assert!(Requirement::NONE.is_met_by("", 0, i64::MAX));
    }
}
