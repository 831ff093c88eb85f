//! Domains that tenants claim and prove: `auth.email_domains`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::email_domain::{EmailDomain, MAX_DOMAINS};
use crate::domain::ids::ConnectionId;

/// A domain of a tenant.
#[derive(Debug, Clone)]
pub struct DomainRow {
    /// Name.
    pub domain: String,
    /// What its TXT record must say.
    pub challenge: String,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// When a claim that is not proved is forgotten.
    pub expires_at: DateTime<Utc>,
    /// When it was proved.
    pub verified_at: Option<DateTime<Utc>>,
    /// When its record was last looked for.
    pub checked_at: Option<DateTime<Utc>>,
    /// Looks in a row that did not find it.
    pub n_missed: i32,
    /// Where people of the domain sign in.
    pub connection_id: Option<Uuid>,
}

/// The tenant's domains, by name.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        "SELECT domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed, connection_id
         FROM auth.email_domains
         WHERE tenant_id = $1 AND (verified_at IS NOT NULL OR expires_at > clock_timestamp()) ORDER BY domain LIMIT $2",
        tenant,
        MAX_DOMAINS
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// The tenant's claim of a domain, unless it ran out.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, domain: &EmailDomain) -> Result<Option<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        "SELECT domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed, connection_id
         FROM auth.email_domains
         WHERE tenant_id = $1 AND domain = $2 AND (verified_at IS NOT NULL OR expires_at > clock_timestamp())",
        tenant,
        domain.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Claims a domain; an earlier claim stays as it is, unless it ran out. `None` if the tenant has as many as it may.
///
/// # Errors
/// [`DbError`].
pub async fn claim(
    tx: &mut TenantTx,
    domain: &EmailDomain,
    challenge: &str,
    expires_at: DateTime<Utc>,
) -> Result<Option<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    sqlx::query!(
        "DELETE FROM auth.email_domains
         WHERE tenant_id = $1 AND domain = $2 AND verified_at IS NULL AND expires_at <= clock_timestamp()",
        tenant,
        domain.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "INSERT INTO auth.email_domains (tenant_id, domain, challenge, expires_at)
         SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM auth.email_domains WHERE tenant_id = $1) < $5
         ON CONFLICT (tenant_id, domain) DO NOTHING",
        tenant,
        domain.as_str(),
        challenge,
        expires_at,
        MAX_DOMAINS
    )
    .execute(tx.connection()?)
    .await?;
    find(tx, domain).await
}

/// Writes down that a domain's record with this challenge was found; a claim that was made anew meanwhile waits for its own. One that another tenant has proved violates `verified_domains_domain_key`.
///
/// # Errors
/// [`DbError`].
pub async fn set_found(tx: &mut TenantTx, domain: &EmailDomain, challenge: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.email_domains SET verified_at = coalesce(verified_at, clock_timestamp()),
                checked_at = clock_timestamp(), n_missed = 0
         WHERE tenant_id = $1 AND domain = $2 AND challenge = $3",
        tenant,
        domain.as_str(),
        challenge
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes down that a proved domain's record was not found; at the last of `max` misses in a row the domain is let go, with its
/// connection. Returns whether it was.
///
/// # Errors
/// [`DbError`].
pub async fn set_missed(
    tx: &mut TenantTx,
    domain: &EmailDomain,
    max: i32,
    expires_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let lost: Option<bool> = sqlx::query_scalar!(
        r#"UPDATE auth.email_domains SET checked_at = clock_timestamp(), n_missed = n_missed + 1,
                  verified_at = CASE WHEN n_missed + 1 < $3 THEN verified_at END,
                  connection_id = CASE WHEN n_missed + 1 < $3 THEN connection_id END,
                  expires_at = CASE WHEN n_missed + 1 < $3 THEN expires_at ELSE $4 END
           WHERE tenant_id = $1 AND domain = $2 AND verified_at IS NOT NULL
           RETURNING verified_at IS NULL AS "lost!""#,
        tenant,
        domain.as_str(),
        max,
        expires_at
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(lost.unwrap_or(false))
}

/// Notes that it was looked for and nobody could say.
///
/// # Errors
/// [`DbError`].
pub async fn set_looked(tx: &mut TenantTx, domain: &EmailDomain) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.email_domains SET checked_at = clock_timestamp() WHERE tenant_id = $1 AND domain = $2 AND verified_at IS NOT NULL",
        tenant,
        domain.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Gives a claim up; returns what it was, if there was one.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, domain: &EmailDomain) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result =
        sqlx::query!("DELETE FROM auth.email_domains WHERE tenant_id = $1 AND domain = $2", tenant, domain.as_str())
            .execute(tx.connection()?)
            .await?;
    Ok(result.rows_affected() == 1)
}

/// Up to `n` proved domains that were not looked at for `seconds`.
///
/// # Errors
/// [`DbError`].
pub async fn list_due(tx: &mut TenantTx, seconds: i64, n: i64) -> Result<Vec<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        "SELECT domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed, connection_id
         FROM auth.email_domains
         WHERE tenant_id = $1 AND verified_at IS NOT NULL
               AND checked_at < clock_timestamp() - $2::bigint * interval '1 second'
         ORDER BY checked_at LIMIT $3",
        tenant,
        seconds,
        n
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Forgets claims that ran out; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_expired(tx: &mut TenantTx) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM auth.email_domains WHERE tenant_id = $1 AND verified_at IS NULL AND expires_at < clock_timestamp()",
        tenant
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Has people of exactly these domains sign in by a connection; returns how many of them are proved and not another connection's. The
/// caller commits only if that is all of them.
///
/// # Errors
/// [`DbError`].
pub async fn bind(tx: &mut TenantTx, connection: ConnectionId, domains: &[String]) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.email_domains SET connection_id = NULL
         WHERE tenant_id = $1 AND connection_id = $2 AND domain <> ALL ($3)",
        tenant,
        connection.uuid(),
        domains
    )
    .execute(tx.connection()?)
    .await?;
    let result = sqlx::query!(
        "UPDATE auth.email_domains SET connection_id = $2
         WHERE tenant_id = $1 AND domain = ANY ($3) AND verified_at IS NOT NULL
               AND (connection_id IS NULL OR connection_id = $2)",
        tenant,
        connection.uuid(),
        domains
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}
