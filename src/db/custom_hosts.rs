//! Hosts that tenants claim and prove: `platform.custom_hosts`.

use chrono::{DateTime, Utc};

use super::email_domains::DomainRow;
use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::custom_host::{CustomHost, MAX_HOSTS};

/// The tenant's hosts, by name.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        r#"SELECT host AS domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed,
                  NULL::uuid AS connection_id
         FROM platform.custom_hosts
         WHERE tenant_id = $1 AND (verified_at IS NOT NULL OR expires_at > clock_timestamp()) ORDER BY host LIMIT $2"#,
        tenant,
        MAX_HOSTS
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// The tenant's claim of a host, unless it ran out.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, host: &CustomHost) -> Result<Option<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        r#"SELECT host AS domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed,
                  NULL::uuid AS connection_id
         FROM platform.custom_hosts
         WHERE tenant_id = $1 AND host = $2 AND (verified_at IS NOT NULL OR expires_at > clock_timestamp())"#,
        tenant,
        host.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Claims a host; an earlier claim stays as it is, unless it ran out. `None` if the tenant has as many as it may.
///
/// # Errors
/// [`DbError`].
pub async fn claim(
    tx: &mut TenantTx,
    host: &CustomHost,
    challenge: &str,
    expires_at: DateTime<Utc>,
) -> Result<Option<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    sqlx::query!(
        "DELETE FROM platform.custom_hosts
         WHERE tenant_id = $1 AND host = $2 AND verified_at IS NULL AND expires_at <= clock_timestamp()",
        tenant,
        host.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "INSERT INTO platform.custom_hosts (tenant_id, host, challenge, expires_at)
         SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM platform.custom_hosts WHERE tenant_id = $1) < $5
         ON CONFLICT (tenant_id, host) DO NOTHING",
        tenant,
        host.as_str(),
        challenge,
        expires_at,
        MAX_HOSTS
    )
    .execute(tx.connection()?)
    .await?;
    find(tx, host).await
}

/// Writes down that a host's record with this challenge was found; a claim that was made anew meanwhile waits for its own. One that another tenant has proved violates `verified_hosts_host_key`.
///
/// # Errors
/// [`DbError`].
pub async fn set_found(tx: &mut TenantTx, host: &CustomHost, challenge: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE platform.custom_hosts SET verified_at = coalesce(verified_at, clock_timestamp()),
                checked_at = clock_timestamp(), n_missed = 0
         WHERE tenant_id = $1 AND host = $2 AND challenge = $3",
        tenant,
        host.as_str(),
        challenge
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes down that a proved host's record was not found; at the last of `max` misses in a row the host is let go. Returns
/// whether it was.
///
/// # Errors
/// [`DbError`].
pub async fn set_missed(
    tx: &mut TenantTx,
    host: &CustomHost,
    max: i32,
    expires_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let lost: Option<bool> = sqlx::query_scalar!(
        r#"UPDATE platform.custom_hosts SET checked_at = clock_timestamp(), n_missed = n_missed + 1,
                  verified_at = CASE WHEN n_missed + 1 < $3 THEN verified_at END,
                  expires_at = CASE WHEN n_missed + 1 < $3 THEN expires_at ELSE $4 END
           WHERE tenant_id = $1 AND host = $2 AND verified_at IS NOT NULL
           RETURNING verified_at IS NULL AS "lost!""#,
        tenant,
        host.as_str(),
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
pub async fn set_looked(tx: &mut TenantTx, host: &CustomHost) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE platform.custom_hosts SET checked_at = clock_timestamp() WHERE tenant_id = $1 AND host = $2 AND verified_at IS NOT NULL",
        tenant,
        host.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Gives a claim up; returns what it was, if there was one.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, host: &CustomHost) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result =
        sqlx::query!("DELETE FROM platform.custom_hosts WHERE tenant_id = $1 AND host = $2", tenant, host.as_str())
            .execute(tx.connection()?)
            .await?;
    Ok(result.rows_affected() == 1)
}

/// Up to `n` proved hosts that were not looked at for `seconds`.
///
/// # Errors
/// [`DbError`].
pub async fn list_due(tx: &mut TenantTx, seconds: i64, n: i64) -> Result<Vec<DomainRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DomainRow,
        r#"SELECT host AS domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed,
                  NULL::uuid AS connection_id
         FROM platform.custom_hosts
         WHERE tenant_id = $1 AND verified_at IS NOT NULL
               AND checked_at < clock_timestamp() - $2::bigint * interval '1 second'
         ORDER BY checked_at LIMIT $3"#,
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
        "DELETE FROM platform.custom_hosts WHERE tenant_id = $1 AND verified_at IS NULL AND expires_at < clock_timestamp()",
        tenant
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// The hosts that are the tenant's, for its view.
///
/// # Errors
/// [`DbError`].
pub async fn list_verified(tx: &mut TenantTx) -> Result<Vec<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT host FROM platform.custom_hosts WHERE tenant_id = $1 AND verified_at IS NOT NULL",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}
