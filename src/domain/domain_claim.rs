//! A name in DNS that a tenant claims, and what for.

use serde::{Deserialize, Serialize};

use super::custom_host::{CustomHost, CustomHostError};
use super::email_domain::{EmailDomain, EmailDomainError};

/// What a name is claimed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainUse {
    /// Its e-mail addresses are of the tenant's people.
    #[default]
    Email,
    /// The tenant is reached at it.
    Host,
}

impl DomainUse {
    /// All uses.
    pub const ALL: [Self; 2] = [Self::Email, Self::Host];
}

/// Why a name cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainClaimError {
    /// For addresses.
    #[error(transparent)]
    Email(#[from] EmailDomainError),
    /// As a host.
    #[error(transparent)]
    Host(#[from] CustomHostError),
}

/// A claimed name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainClaim {
    /// For addresses.
    Email(EmailDomain),
    /// As a host.
    Host(CustomHost),
}

impl DomainClaim {
    /// Reads a name.
    ///
    /// # Errors
    /// [`DomainClaimError`], as a malformed one.
    pub fn parse(used: DomainUse, text: &str) -> Result<Self, DomainClaimError> {
        Ok(match used {
            DomainUse::Email => Self::Email(EmailDomain::parse(text)?),
            DomainUse::Host => Self::Host(CustomHost::parse(text)?),
        })
    }

    /// Whether a tenant may claim it, on a platform whose own domain is `base` and whose operator has given away `reserved` hosts.
    ///
    /// # Errors
    /// [`DomainClaimError`].
    pub fn check<'a>(&self, base: &str, reserved: impl Iterator<Item = &'a String>) -> Result<(), DomainClaimError> {
        match self {
            Self::Email(domain) => domain.check_claim(base)?,
            Self::Host(host) => host.check_claim(base, reserved)?,
        }
        Ok(())
    }

    /// What it is claimed for.
    #[must_use]
    pub fn used(&self) -> DomainUse {
        match self {
            Self::Email(_) => DomainUse::Email,
            Self::Host(_) => DomainUse::Host,
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(domain) => domain.as_str(),
            Self::Host(host) => host.as_str(),
        }
    }

    /// Name of the TXT record that proves it. A host's record is beside the host, which may be an alias and then has no records.
    #[must_use]
    pub fn record_name(&self) -> String {
        format!("_businessos-challenge.{}", self.as_str())
    }
}

/// What the TXT record says.
#[must_use]
pub fn record_text(challenge: &str) -> String {
    format!("businessos-domain-verification={challenge}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_the_longest_name_is_still_a_name() {
        let longest = format!("{}.example", ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(31)].join("."));
        for used in DomainUse::ALL {
            let claim = DomainClaim::parse(used, &longest).expect("a name");
            assert_eq!(claim.record_name().len(), 253, "{used:?}");
            assert!(DomainClaim::parse(used, &longest.replacen('d', "dd", 1)).is_err(), "{used:?}");
        }
    }

    #[test]
    fn an_addresses_domain_is_ascii_and_a_host_may_be_international() {
        assert_eq!(DomainClaim::parse(DomainUse::Email, "münchen.example"), Err(EmailDomainError::Malformed.into()));
        let host = DomainClaim::parse(DomainUse::Host, "münchen.example").expect("a host");
        assert_eq!((host.as_str(), host.used()), ("xn--mnchen-3ya.example", DomainUse::Host));
    }
}
