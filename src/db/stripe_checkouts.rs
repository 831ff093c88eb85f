//! Checkouts that were begun: `billing.stripe_checkouts`, of which one tenant has one open at most.

use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::CheckoutId;

/// A checkout that may still be paid.
#[derive(Debug, Clone)]
pub struct OpenCheckoutRow {
    /// Id.
    pub id: Uuid,
    /// Stripe's session, once it was seen.
    pub session_id: Option<String>,
    /// What the session was made with.
    pub params: Value,
}

/// The checkout that is not closed.
///
/// # Errors
/// [`DbError`].
pub async fn find_open(tx: &mut TenantTx) -> Result<Option<OpenCheckoutRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        OpenCheckoutRow,
        "SELECT id, session_id, params FROM billing.stripe_checkouts WHERE tenant_id = $1 AND state <> 'closed'",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Begins a checkout; `None` if another one is open.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, params: &Value) -> Result<Option<CheckoutId>, DbError> {
    let tenant = tx.tenant().uuid();
    let id = clock::new_id::<CheckoutId>();
    let result = sqlx::query!(
        "INSERT INTO billing.stripe_checkouts (tenant_id, id, params) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) WHERE state <> 'closed' DO NOTHING",
        tenant,
        id.uuid(),
        params
    )
    .execute(tx.connection()?)
    .await?;
    Ok((result.rows_affected() == 1).then_some(id))
}

/// Notes the session of a checkout.
///
/// # Errors
/// [`DbError`].
pub async fn set_session(tx: &mut TenantTx, id: CheckoutId, session: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_checkouts SET session_id = $3, state = 'open'
         WHERE tenant_id = $1 AND id = $2 AND state = 'opening'",
        tenant,
        id.uuid(),
        session
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Closes the checkout of a session that can be paid no more.
///
/// # Errors
/// [`DbError`].
pub async fn close_session(tx: &mut TenantTx, session: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_checkouts SET state = 'closed' WHERE tenant_id = $1 AND session_id = $2",
        tenant,
        session
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Closes a checkout of which no session was ever made.
///
/// # Errors
/// [`DbError`].
pub async fn close_unmade(tx: &mut TenantTx, id: CheckoutId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_checkouts SET state = 'closed', session_id = 'none'
         WHERE tenant_id = $1 AND id = $2 AND state = 'opening'",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
