//! Who and what stands for tenants at Stripe: `billing.stripe_customers`.

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::TenantId;

/// Where a tenant is at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeCustomerRow {
    /// Stripe's customer.
    pub customer_id: String,
    /// What is charged: a card that was used at a checkout; none = nothing is collected.
    pub payment_method: Option<String>,
    /// Stripe's subscription, while there is one.
    pub subscription_id: Option<String>,
    /// Subscriptions that were begun so far.
    pub n_subscriptions: i32,
    /// Whether we have Stripe's end with its period.
    pub is_ending: bool,
    /// Customers that the tenant had so far, this one included.
    pub n_customers: i32,
    /// It was deleted at Stripe, by hand: whoever needs one makes another.
    pub is_gone: bool,
}

/// Where the tenant is at Stripe; `None` if Stripe does not know it.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx) -> Result<Option<StripeCustomerRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StripeCustomerRow,
        "SELECT customer_id, payment_method, subscription_id, n_subscriptions, is_ending, n_customers, is_gone
         FROM billing.stripe_customers WHERE tenant_id = $1",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Makes a customer the tenant's, unless it has one that is not gone. A customer of another tenant is a [`DbError::Constraint`].
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, customer: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.stripe_customers (tenant_id, customer_id) VALUES ($1, $2)
         ON CONFLICT (tenant_id) DO UPDATE
         SET customer_id = $2, is_gone = false, n_customers = stripe_customers.n_customers + 1,
             payment_method = NULL, charged_since = NULL, subscription_id = NULL, is_ending = false
         WHERE stripe_customers.is_gone AND stripe_customers.customer_id <> $2",
        tenant,
        customer
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that a customer was deleted at Stripe, with its card and its subscription; nothing if the tenant has another one by now.
///
/// # Errors
/// [`DbError`].
pub async fn set_gone(tx: &mut TenantTx, customer: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_customers
         SET is_gone = true, payment_method = NULL, charged_since = NULL, subscription_id = NULL, is_ending = false
         WHERE tenant_id = $1 AND customer_id = $2",
        tenant,
        customer
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes the card that is charged from now on, unless it was shown by a customer that the tenant has no more; without `customer`,
/// nobody knows whose it is, and the tenant's present one has it. Stripe's subscription is looked after again.
///
/// # Errors
/// [`DbError`].
pub async fn set_payment_method(
    tx: &mut TenantTx,
    payment_method: &str,
    customer: Option<&str>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_customers
         SET payment_method = $2, charged_since = coalesce(charged_since, clock_timestamp())
         WHERE tenant_id = $1 AND NOT is_gone AND customer_id = coalesce($3, customer_id)",
        tenant,
        payment_method,
        customer
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes the subscription that was begun at Stripe for a customer, unless there is one, or another customer by now.
///
/// # Errors
/// [`DbError`].
pub async fn set_subscription(
    tx: &mut TenantTx,
    customer: &str,
    subscription: &str,
    is_ending: bool,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_customers
         SET subscription_id = $3, is_ending = $4, n_subscriptions = n_subscriptions + 1
         WHERE tenant_id = $1 AND customer_id = $2 AND NOT is_gone AND subscription_id IS NULL",
        tenant,
        customer,
        subscription,
        is_ending
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that a subscription at Stripe is over; nothing if the tenant has another one by now.
///
/// # Errors
/// [`DbError`].
pub async fn end_subscription(tx: &mut TenantTx, subscription: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_customers SET subscription_id = NULL, is_ending = false
         WHERE tenant_id = $1 AND subscription_id = $2",
        tenant,
        subscription
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes whether we know of Stripe's subscription that it ends with its period.
///
/// # Errors
/// [`DbError`].
pub async fn set_ending(tx: &mut TenantTx, is_ending: bool) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_customers SET is_ending = $2 WHERE tenant_id = $1 AND is_ending <> $2",
        tenant,
        is_ending
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that Stripe's subscription is as ours. The tenant's row must be locked, so that ours is not another one by now.
///
/// # Errors
/// [`DbError`].
pub async fn set_followed(tx: &mut TenantTx) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("UPDATE billing.stripe_customers SET followed_at = clock_timestamp() WHERE tenant_id = $1", tenant)
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
