//! Checkouts that were begun: `billing.stripe_checkouts`, of which one tenant has one open at most.

use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::CheckoutId;
use crate::domain::order::Order;

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

/// Begins a checkout of what is to be bought; false if another one is open.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, id: CheckoutId, params: &Value, bought: &Order) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let bought =
        serde_json::to_value(bought).map_err(|_json: serde_json::Error| DbError::Corrupt("stripe_checkouts"))?;
    let result = sqlx::query!(
        "INSERT INTO billing.stripe_checkouts (tenant_id, id, params, bought) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id) WHERE state <> 'closed' DO NOTHING",
        tenant,
        id.uuid(),
        params,
        bought
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// What was to be bought at a checkout.
///
/// # Errors
/// [`DbError`].
pub async fn find_order(tx: &mut TenantTx, id: CheckoutId) -> Result<Option<Order>, DbError> {
    let tenant = tx.tenant().uuid();
    let bought = sqlx::query_scalar!(
        r#"SELECT bought AS "bought!" FROM billing.stripe_checkouts
           WHERE tenant_id = $1 AND id = $2 AND bought IS NOT NULL"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    bought
        .map(serde_json::from_value)
        .transpose()
        .map_err(|_json: serde_json::Error| DbError::Corrupt("stripe_checkouts.bought"))
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
