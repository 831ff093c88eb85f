//! Failed sign-ins and the networks that users are known by: `auth.sign_in_attempts`, `auth.known_networks`.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::UserId;
use crate::domain::throttle::{ALL_NETWORKS, FORGET_AFTER_S, Failures};

/// What is remembered of an account's failures: from one network, and from all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// From the network of the request.
    pub here: Failures,
    /// From all networks.
    pub everywhere: Failures,
}

/// The account's failures that are not forgotten yet.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, account: &[u8], network: &str) -> Result<Attempts, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT network, n_failures,
                  extract(epoch FROM clock_timestamp() - last_failure_at)::bigint AS "age_s!"
           FROM auth.sign_in_attempts
           WHERE tenant_id = $1 AND account = $2 AND network = ANY ($3)
                 AND last_failure_at > clock_timestamp() - $4::bigint * interval '1 second'"#,
        tenant,
        account,
        &[network.to_owned(), ALL_NETWORKS.to_owned()],
        FORGET_AFTER_S
    )
    .fetch_all(tx.connection()?)
    .await?;
    let mut attempts = Attempts::default();
    for row in rows {
        let failures = Failures { n: row.n_failures, age_s: row.age_s };
        if row.network == ALL_NETWORKS { attempts.everywhere = failures } else { attempts.here = failures }
    }
    Ok(attempts)
}

/// Counts a failure in one network, or over all; returns how many there are now. Some rows of long ago are deleted on the way, more than
/// are added, so that the table follows what is going on.
///
/// # Errors
/// [`DbError`].
pub async fn record_failure(tx: &mut TenantTx, account: &[u8], network: &str) -> Result<i32, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.sign_in_attempts WHERE tenant_id = $1 AND (account, network) IN (
             SELECT account, network FROM auth.sign_in_attempts
             WHERE tenant_id = $1 AND last_failure_at < clock_timestamp() - $2::bigint * interval '1 second'
             ORDER BY last_failure_at LIMIT 8 FOR UPDATE SKIP LOCKED)",
        tenant,
        FORGET_AFTER_S
    )
    .execute(tx.connection()?)
    .await?;
    Ok(sqlx::query_scalar!(
        "INSERT INTO auth.sign_in_attempts AS a (tenant_id, account, network, n_failures, last_failure_at)
         VALUES ($1, $2, $3, 1, clock_timestamp())
         ON CONFLICT (tenant_id, account, network) DO UPDATE
         SET last_failure_at = clock_timestamp(), n_failures = CASE
             WHEN a.last_failure_at > clock_timestamp() - $4::bigint * interval '1 second'
             THEN least(a.n_failures, 1000000) + 1 ELSE 1 END
         RETURNING n_failures",
        tenant,
        account,
        network,
        FORGET_AFTER_S
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Takes the one attempt that a delay which is over allows: counts a failure in advance if the count is still `n`; of any number of
/// callers one gets it.
///
/// # Errors
/// [`DbError`].
pub async fn claim(tx: &mut TenantTx, account: &[u8], network: &str, n: i32) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.sign_in_attempts SET n_failures = n_failures + 1, last_failure_at = clock_timestamp()
         WHERE tenant_id = $1 AND account = $2 AND network = $3 AND n_failures = $4",
        tenant,
        account,
        network,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets the account's failures from one network and over all: somebody knew the password.
///
/// # Errors
/// [`DbError`].
pub async fn forget(tx: &mut TenantTx, account: &[u8], network: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.sign_in_attempts WHERE tenant_id = $1 AND account = $2 AND network = ANY ($3)",
        tenant,
        account,
        &[network.to_owned(), ALL_NETWORKS.to_owned()]
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Whether the user has signed in from this network before.
///
/// # Errors
/// [`DbError`].
pub async fn is_known(tx: &mut TenantTx, user: UserId, network: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM auth.known_networks WHERE tenant_id = $1 AND user_id = $2 AND network = $3) AS "is_known!""#,
        tenant,
        user.uuid(),
        network
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Remembers that the user signed in from this network; written at most once a day for each.
///
/// # Errors
/// [`DbError`].
pub async fn remember(tx: &mut TenantTx, user: UserId, network: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.known_networks AS k (tenant_id, user_id, network) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, user_id, network) DO UPDATE SET last_seen_at = clock_timestamp()
         WHERE k.last_seen_at < clock_timestamp() - interval '1 day'",
        tenant,
        user.uuid(),
        network
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
