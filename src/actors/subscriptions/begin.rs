//! A tenant's first subscription.

use chrono::{DateTime, Utc};

use super::write::write_terms;
use crate::clock;
use crate::config::Settings;
use crate::db::subscriptions::{self, ChangeKind};
use crate::db::{DbError, TenantTx};
use crate::domain::catalogue::PlanFigures;
use crate::domain::subscription::{Subscription, Terms};
use crate::domain::subscription_change::change_now;

/// Writes down that a new tenant has this plan of the configuration from `at` on, as a part of the transaction that makes the tenant.
/// What it costs is to be paid for the rest of the period, unless the plan has a trial.
///
/// # Errors
/// [`DbError`].
pub async fn begin(tx: &mut TenantTx, settings: &Settings, plan: &str, at: DateTime<Utc>) -> Result<(), DbError> {
    let configured = settings.plans.get(plan).ok_or(DbError::Corrupt("tenants.plan"))?;
    let figures = configured.figures(&settings.billing.currency);
    let nothing = Subscription::implied("", 0, PlanFigures::default(), at);
    let terms = Terms {
        plan: plan.to_owned(),
        version: configured.version,
        price_minor: figures.price_minor,
        add_ons: Vec::new(),
    };
    let mut change = change_now(&nothing, terms, figures, at)
        .map_err(|_sum: crate::domain::money::MoneyError| DbError::Corrupt("plan_versions.price_minor"))?;
    change.after = Subscription { id: clock::new_id(), revision: 1, ..change.after };
    subscriptions::upsert(tx, &change.after).await?;
    write_terms(tx, settings, ChangeKind::Begin, &nothing, &change, at).await
}
