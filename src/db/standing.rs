//! Whether somebody may be signed in, or made a user just in time: what every way of signing in asks.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::api_key;
use crate::domain::identity::EmailAddress;
use crate::domain::ids::UserId;
use crate::domain::scim::standing::{JustInTime, Standing};

/// SHA-256 of a name as it is compared.
fn sha256(name: &str) -> Vec<u8> {
    api_key::hash(name).to_vec()
}

/// How a user stands. To be asked in the transaction that begins a session, after the user was locked.
///
/// # Errors
/// [`DbError`].
pub async fn of_user(tx: &mut TenantTx, id: UserId) -> Result<Standing, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT state, scim_deactivated_at IS NOT NULL AS "is_deprovisioned!" FROM auth.users
           WHERE tenant_id = $1 AND id = $2"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(match row {
        None => Standing::Gone,
        Some(row) => match (row.state.as_str(), row.is_deprovisioned) {
            ("active", false) => Standing::Active,
            ("suspended", false) => Standing::Suspended,
            ("suspended" | "active", true) => Standing::Deprovisioned,
            _ => Standing::Gone,
        },
    })
}

/// Whether a user may be made just in time, with an address that a provider asserts. To be asked in the transaction that would make
/// them, before any row is written.
///
/// # Errors
/// [`DbError`].
pub async fn just_in_time(tx: &mut TenantTx, email: &EmailAddress) -> Result<JustInTime, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT (SELECT id FROM auth.users WHERE tenant_id = $1 AND email_norm = $2 AND state <> 'deleted') AS user_id,
                  EXISTS (SELECT FROM auth.scim_departures WHERE tenant_id = $1 AND name_hash = $3) AS "is_departed!""#,
        tenant,
        email.norm(),
        sha256(email.norm())
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok(match row.user_id {
        Some(id) => JustInTime::Taken(id.into()),
        None if row.is_departed => JustInTime::Departed,
        None => JustInTime::Free,
    })
}

/// Remembers that SCIM switched off or deleted whoever had these names and addresses, as they are compared.
///
/// # Errors
/// [`DbError`].
pub async fn record_departure(tx: &mut TenantTx, names: &[String]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let hashes: Vec<Vec<u8>> = names.iter().map(|name| sha256(name)).collect();
    sqlx::query!(
        "INSERT INTO auth.scim_departures (tenant_id, name_hash)
         SELECT $1, hash FROM unnest($2::bytea[]) AS hash ON CONFLICT DO NOTHING",
        tenant,
        &hashes
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Forgets it, because SCIM brings somebody with one of these names, or switches them on.
///
/// # Errors
/// [`DbError`].
pub async fn forget_departure(tx: &mut TenantTx, names: &[String]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let hashes: Vec<Vec<u8>> = names.iter().map(|name| sha256(name)).collect();
    sqlx::query!("DELETE FROM auth.scim_departures WHERE tenant_id = $1 AND name_hash = ANY($2)", tenant, &hashes)
        .execute(tx.connection()?)
        .await?;
    Ok(())
}
