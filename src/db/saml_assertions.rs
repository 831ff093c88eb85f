//! Assertions that were believed: once each (`auth.saml_replay`), and what they said until the browser comes for it
//! (`auth.saml_arrivals`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::ConnectionId;
use crate::domain::saml::Said;

/// What waits for the browser that brought it.
#[derive(Debug)]
pub struct Arrival {
    /// By which connection.
    pub connection: ConnectionId,
    /// The flow that it answers; none = nobody asked for it.
    pub flow: Option<Uuid>,
    /// Where the provider wants the browser to go, of one that nobody asked for.
    pub relay_state: Option<String>,
    /// What was said.
    pub said: Said,
}

/// Uses an assertion up; false if it was already, by whichever process. `hash` is of its ID.
///
/// # Errors
/// [`DbError`].
pub async fn use_up(
    tx: &mut TenantTx,
    connection: ConnectionId,
    hash: &[u8],
    keep_until: DateTime<Utc>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "INSERT INTO auth.saml_replay (tenant_id, connection_id, assertion_hash, expires_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, connection_id, assertion_hash) DO NOTHING",
        tenant,
        connection.uuid(),
        hash,
        keep_until
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Inserts an arrival.
///
/// # Errors
/// [`DbError`].
pub async fn insert_arrival(
    tx: &mut TenantTx,
    hash: &[u8],
    new: &Arrival,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.saml_arrivals (tenant_id, arrival_hash, connection_id, flow_id, relay_state, said, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        hash,
        new.connection.uuid(),
        new.flow,
        new.relay_state.as_deref(),
        serde_json::json!(new.said),
        expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

struct ArrivalRow {
    connection_id: Uuid,
    flow_id: Option<Uuid>,
    relay_state: Option<String>,
    said: serde_json::Value,
}

/// Takes an arrival; of any number of callers one gets it, if its transaction commits.
///
/// # Errors
/// [`DbError`].
pub async fn take_arrival(tx: &mut TenantTx, hash: &[u8]) -> Result<Option<Arrival>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        ArrivalRow,
        "DELETE FROM auth.saml_arrivals WHERE tenant_id = $1 AND arrival_hash = $2 AND expires_at > clock_timestamp()
         RETURNING connection_id, flow_id, relay_state, said",
        tenant,
        hash
    )
    .fetch_optional(tx.connection()?)
    .await?;
    let Some(ArrivalRow { connection_id, flow_id, relay_state, said }) = row else { return Ok(None) };
    let said =
        serde_json::from_value(said).map_err(|_shape: serde_json::Error| DbError::Corrupt("saml_arrivals.said"))?;
    Ok(Some(Arrival { connection: connection_id.into(), flow: flow_id, relay_state, said }))
}

/// Deletes the tenant's assertions that nobody would believe any more, and what nobody came for; returns how many rows.
///
/// # Errors
/// [`DbError`].
pub async fn delete_over(tx: &mut TenantTx) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let replay =
        sqlx::query!("DELETE FROM auth.saml_replay WHERE tenant_id = $1 AND expires_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    let arrivals =
        sqlx::query!("DELETE FROM auth.saml_arrivals WHERE tenant_id = $1 AND expires_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    Ok(replay.rows_affected() + arrivals.rows_affected())
}
