//! What is sold, in versions: `billing.plan_versions`. A version stays what it was.

use serde_json::Value;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::catalogue::PlanFigures;

/// Writes a version of a plan down, unless it was; returns the figures that are on record, which may be others. Tenants that have no
/// subscription of their own are given one to the version before ([`super::subscriptions`]).
///
/// # Errors
/// [`DbError`].
pub async fn record(
    system: &SystemTx<'_>,
    plan: &str,
    version: u32,
    figures: &PlanFigures,
) -> Result<PlanFigures, DbError> {
    let written = serde_json::to_value(figures).map_err(|_json: serde_json::Error| corrupt())?;
    let on_record: Option<Value> = sqlx::query_scalar!(
        "SELECT billing.record_plan_version($1, $2, $3, $4, $5)",
        plan,
        stored_version(version)?,
        written,
        figures.price_minor,
        figures.currency
    )
    .fetch_one(system.pool)
    .await?;
    parse(on_record.ok_or_else(corrupt)?)
}

/// The figures of a version of a plan; `None` if it was never sold.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, plan: &str, version: u32) -> Result<Option<PlanFigures>, DbError> {
    sqlx::query_scalar!(
        "SELECT figures FROM billing.plan_versions WHERE plan = $1 AND version = $2",
        plan,
        stored_version(version)?
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(parse)
    .transpose()
}

/// The figures as they were written.
pub(super) fn parse(figures: Value) -> Result<PlanFigures, DbError> {
    serde_json::from_value(figures).map_err(|_json: serde_json::Error| corrupt())
}

/// A version as the database has it.
pub(super) fn stored_version(version: u32) -> Result<i32, DbError> {
    i32::try_from(version).map_err(|_range: std::num::TryFromIntError| DbError::Corrupt("plan_versions.version"))
}

fn corrupt() -> DbError {
    DbError::Corrupt("plan_versions.figures")
}
