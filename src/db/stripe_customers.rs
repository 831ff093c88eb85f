//! The customers that stand for tenants at Stripe: `billing.stripe_customers`.

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::TenantId;

/// The tenant's customer.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx) -> Result<Option<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT customer_id FROM billing.stripe_customers WHERE tenant_id = $1", tenant)
        .fetch_optional(tx.connection()?)
        .await?)
}

/// Makes a customer the tenant's, unless it has one. A customer of another tenant is a [`DbError::Constraint`].
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, customer: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.stripe_customers (tenant_id, customer_id) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING",
        tenant,
        customer
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Whose a customer is.
///
/// # Errors
/// [`DbError`].
pub async fn find_tenant(tx: &SystemTx<'_>, customer: &str) -> Result<Option<TenantId>, DbError> {
    let tenant =
        sqlx::query_scalar!("SELECT billing.find_tenant_of_stripe_customer($1)", customer).fetch_one(tx.pool).await?;
    Ok(tenant.map(TenantId::from))
}
