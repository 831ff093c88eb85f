//! Claimed names of either use, in the table of each.

use chrono::{DateTime, Utc};

use super::email_domains::DomainRow;
use super::error::DbError;
use super::tx::TenantTx;
use super::{custom_hosts, email_domains};
use crate::domain::domain_claim::{DomainClaim, DomainUse};

/// The tenant's claim, unless it ran out.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, claim: &DomainClaim) -> Result<Option<DomainRow>, DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::find(tx, domain).await,
        DomainClaim::Host(host) => custom_hosts::find(tx, host).await,
    }
}

/// Claims a name; an earlier claim stays as it is, unless it ran out. `None` if the tenant has as many as it may.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &mut TenantTx,
    claim: &DomainClaim,
    challenge: &str,
    expires_at: DateTime<Utc>,
) -> Result<Option<DomainRow>, DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::claim(tx, domain, challenge, expires_at).await,
        DomainClaim::Host(host) => custom_hosts::claim(tx, host, challenge, expires_at).await,
    }
}

/// Writes down that the record with this challenge was found.
///
/// # Errors
/// [`DbError`]: `verified_domains_domain_key` or `verified_hosts_host_key` if another tenant has proved it.
pub async fn set_found(tx: &mut TenantTx, claim: &DomainClaim, challenge: &str) -> Result<(), DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::set_found(tx, domain, challenge).await,
        DomainClaim::Host(host) => custom_hosts::set_found(tx, host, challenge).await,
    }
}

/// Writes down that a proved name's record was not found; at the last of `max` misses in a row it is let go. Returns whether it was.
///
/// # Errors
/// [`DbError`].
pub async fn set_missed(
    tx: &mut TenantTx,
    claim: &DomainClaim,
    max: i32,
    expires_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::set_missed(tx, domain, max, expires_at).await,
        DomainClaim::Host(host) => custom_hosts::set_missed(tx, host, max, expires_at).await,
    }
}

/// Notes that a proved name's record was looked for and nobody could say: its next turn comes with the others'.
///
/// # Errors
/// [`DbError`].
pub async fn set_looked(tx: &mut TenantTx, claim: &DomainClaim) -> Result<(), DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::set_looked(tx, domain).await,
        DomainClaim::Host(host) => custom_hosts::set_looked(tx, host).await,
    }
}

/// Gives a claim up; returns whether there was one.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, claim: &DomainClaim) -> Result<bool, DbError> {
    match claim {
        DomainClaim::Email(domain) => email_domains::delete(tx, domain).await,
        DomainClaim::Host(host) => custom_hosts::delete(tx, host).await,
    }
}

/// Up to `n` proved names of a use that were not looked at for `seconds`.
///
/// # Errors
/// [`DbError`].
pub async fn list_due(tx: &mut TenantTx, used: DomainUse, seconds: i64, n: i64) -> Result<Vec<DomainRow>, DbError> {
    match used {
        DomainUse::Email => email_domains::list_due(tx, seconds, n).await,
        DomainUse::Host => custom_hosts::list_due(tx, seconds, n).await,
    }
}

/// Forgets claims that ran out; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_expired(tx: &mut TenantTx) -> Result<u64, DbError> {
    Ok(email_domains::delete_expired(tx).await? + custom_hosts::delete_expired(tx).await?)
}
