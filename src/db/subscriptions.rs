//! What tenants have agreed to pay for: `billing.subscriptions`, and since when: `billing.subscription_changes`.
//!
//! Everybody locks the tenant's row before its subscription ([`super::tenants::lock_plan`]), and both before its counters.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::plan_versions;
use super::tx::{SystemTx, TenantTx};
use crate::domain::catalogue::{AddOn, PlanFigures};
use crate::domain::ids::TenantId;
use crate::domain::period::Period;
use crate::domain::subscription::{HeldCoupon, Scheduled, Subscription, SubscriptionStatus, Terms};
use crate::domain::usage_terms::{Held, that_price_usage};

struct SubscriptionRow {
    id: Uuid,
    plan: String,
    plan_version: i32,
    figures: Value,
    add_ons: Value,
    status: String,
    started_at: DateTime<Utc>,
    is_trial: bool,
    trial_end: Option<DateTime<Utc>>,
    scheduled: Option<Value>,
    canceled_at: Option<DateTime<Utc>>,
    coupon: Option<Value>,
    used_coupons: Vec<String>,
    is_tax_exempt: bool,
    revision: i64,
}

impl TryFrom<SubscriptionRow> for Subscription {
    type Error = DbError;

    fn try_from(row: SubscriptionRow) -> Result<Self, DbError> {
        let SubscriptionRow {
            id,
            plan,
            plan_version,
            figures,
            add_ons,
            status,
            started_at,
            is_trial,
            trial_end,
            scheduled,
            canceled_at,
            coupon,
            used_coupons,
            is_tax_exempt,
            revision,
        } = row;
        let figures = plan_versions::parse(figures)?;
        Ok(Self {
            id,
            terms: terms(plan, plan_version, &figures, add_ons)?,
            figures,
            status: SubscriptionStatus::parse(&status).ok_or(DbError::Corrupt("subscriptions.status"))?,
            started_at,
            is_trial,
            trial_end,
            scheduled: scheduled.map(from_json::<Scheduled>).transpose()?,
            canceled_at,
            coupon: coupon.map(from_json::<HeldCoupon>).transpose()?,
            used_coupons,
            is_tax_exempt,
            revision,
        })
    }
}

fn terms(plan: String, version: i32, figures: &PlanFigures, add_ons: Value) -> Result<Terms, DbError> {
    let version = u32::try_from(version)
        .map_err(|_range: std::num::TryFromIntError| DbError::Corrupt("subscriptions.plan_version"))?;
    Ok(Terms { plan, version, price_minor: figures.price_minor, add_ons: from_json::<Vec<AddOn>>(add_ons)? })
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, DbError> {
    serde_json::from_value(value).map_err(|_json: serde_json::Error| DbError::Corrupt("subscriptions"))
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, DbError> {
    serde_json::to_value(value).map_err(|_json: serde_json::Error| DbError::Corrupt("subscriptions"))
}

/// The tenant's subscription; `None` if none was written down.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx) -> Result<Option<Subscription>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        SubscriptionRow,
        "SELECT s.id, s.plan, s.plan_version, v.figures, s.add_ons, s.status, s.started_at, s.is_trial, s.trial_end, s.scheduled,
                s.canceled_at, s.coupon, s.used_coupons, s.is_tax_exempt, s.revision
         FROM billing.subscriptions s
         JOIN billing.plan_versions v ON v.plan = s.plan AND v.version = s.plan_version
         WHERE s.tenant_id = $1",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Subscription::try_from)
    .transpose()
}

/// The same, locked until the transaction's end.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx) -> Result<Option<Subscription>, DbError> {
    let tenant = tx.tenant().uuid();
    // Two statements: what the first has waited for is seen by the second.
    sqlx::query!("SELECT revision FROM billing.subscriptions WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_optional(tx.connection()?)
        .await?;
    find(tx).await
}

/// Writes a subscription down as it is from now on, whatever was there before. The revision must be one that the tenant has not had.
///
/// # Errors
/// [`DbError`].
pub async fn upsert(tx: &mut TenantTx, subscription: &Subscription) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let Subscription {
        id,
        terms,
        figures: _,
        status,
        started_at,
        is_trial,
        trial_end,
        scheduled,
        canceled_at,
        coupon,
        used_coupons,
        is_tax_exempt,
        revision,
    } = subscription;
    sqlx::query!(
        "INSERT INTO billing.subscriptions
                (tenant_id, id, plan, plan_version, add_ons, status, started_at, is_trial, trial_end, scheduled, scheduled_at,
                 canceled_at, coupon, used_coupons, is_tax_exempt, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (tenant_id) DO UPDATE
         SET plan = $3, plan_version = $4, add_ons = $5, status = $6, is_trial = $8, trial_end = $9, scheduled = $10,
             scheduled_at = $11, canceled_at = $12, coupon = $13, used_coupons = $14, is_tax_exempt = $15,
             revision = $16, updated_at = now()",
        tenant,
        id,
        terms.plan,
        plan_versions::stored_version(terms.version)?,
        to_json(&terms.add_ons)?,
        status.as_str(),
        started_at,
        is_trial,
        *trial_end,
        scheduled.as_ref().map(to_json).transpose()?,
        scheduled.as_ref().map(|scheduled| scheduled.at),
        *canceled_at,
        coupon.as_ref().map(to_json).transpose()?,
        used_coupons,
        is_tax_exempt,
        revision
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Why other terms hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The first ones.
    Begin,
    /// Others were agreed.
    Change,
    /// The trial is over.
    TrialEnd,
    /// The subscription has ended.
    Cancel,
}

impl ChangeKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Change => "change",
            Self::TrialEnd => "trial_end",
            Self::Cancel => "cancel",
        }
    }
}

/// Notes from when on the terms of a subscription hold, under its revision.
///
/// # Errors
/// [`DbError`].
pub async fn insert_change(
    tx: &mut TenantTx,
    kind: ChangeKind,
    after: &Subscription,
    effective_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let is_billed = after.stage() == crate::domain::subscription::Stage::Running;
    sqlx::query!(
        "INSERT INTO billing.subscription_changes
                (tenant_id, revision, kind, plan, plan_version, add_ons, is_billed, effective_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        after.revision,
        kind.as_str(),
        after.terms.plan,
        plan_versions::stored_version(after.terms.version)?,
        to_json(&after.terms.add_ons)?,
        is_billed,
        effective_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// What held at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedTerms {
    /// The terms.
    pub terms: Terms,
    /// The figures of the version of the plan.
    pub figures: PlanFigures,
    /// Whether prices are to be paid: not in a trial, and not after the end.
    pub is_billed: bool,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// What held at the moment `at`; `None` if nothing was agreed then. For a bill: at the first instant of its period.
///
/// # Errors
/// [`DbError`].
pub async fn find_terms_at(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<Option<AgreedTerms>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT c.plan, c.plan_version, c.add_ons, c.is_billed, c.effective_at, v.figures
         FROM billing.subscription_changes c
         JOIN billing.plan_versions v ON v.plan = c.plan AND v.version = c.plan_version
         WHERE c.tenant_id = $1 AND c.effective_at <= $2
         ORDER BY c.effective_at DESC, c.revision DESC LIMIT 1",
        tenant,
        at
    )
    .fetch_optional(tx.connection()?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let figures = plan_versions::parse(row.figures)?;
    Ok(Some(AgreedTerms {
        terms: terms(row.plan, row.plan_version, &figures, row.add_ons)?,
        figures,
        is_billed: row.is_billed,
        since: row.effective_at,
    }))
}

/// The terms that price the usage of a period: what held last in it, but for what an end within it has left (see
/// [`that_price_usage`]). `None` if nothing was agreed.
///
/// # Errors
/// [`DbError`].
pub async fn find_usage_terms_of(tx: &mut TenantTx, period: Period) -> Result<Option<AgreedTerms>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT c.kind, c.plan, c.plan_version, c.add_ons, c.is_billed, c.effective_at, v.figures
         FROM billing.subscription_changes c
         JOIN billing.plan_versions v ON v.plan = c.plan AND v.version = c.plan_version
         WHERE c.tenant_id = $1 AND c.effective_at < $3
           AND c.effective_at >= coalesce((SELECT max(effective_at) FROM billing.subscription_changes
                                           WHERE tenant_id = $1 AND effective_at <= $2), $2)
         ORDER BY c.effective_at, c.revision",
        tenant,
        period.start,
        period.end
    )
    .fetch_all(tx.connection()?)
    .await?;
    let (mut agreed, mut held) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let figures = plan_versions::parse(row.figures)?;
        let terms = terms(row.plan, row.plan_version, &figures, row.add_ons)?;
        let (is_end, since) = (row.kind == ChangeKind::Cancel.as_str(), row.effective_at);
        held.push(Held {
            // With an end at its first instant, all of the period comes after it.
            is_left: is_end && since > period.start,
            is_trial: !is_end && !row.is_billed,
            monthly_minor: terms.monthly_minor(),
        });
        agreed.push(AgreedTerms { terms, figures, is_billed: row.is_billed, since });
    }
    Ok(that_price_usage(&held).and_then(|place| agreed.into_iter().nth(place)))
}

/// When the tenant's present terms began to hold.
///
/// # Errors
/// [`DbError`].
pub async fn find_last_change(tx: &mut TenantTx) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT max(effective_at) FROM billing.subscription_changes WHERE tenant_id = $1", tenant)
        .fetch_one(tx.connection()?)
        .await?)
}

/// Tenants of whose subscription something is due, the longest due first.
///
/// # Errors
/// [`DbError`].
pub async fn list_tenants_with_due(system: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT tenant_id AS "tenant_id!" FROM billing.list_tenants_with_due_subscriptions($1)"#,
        n
    )
    .fetch_all(system.pool)
    .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}
