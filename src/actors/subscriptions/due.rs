//! What was agreed for later, when its time has come: trials end, smaller plans begin, subscriptions end.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::write::{Doer, Locked, announce, in_short, lock, note, write, write_terms};
use crate::actors::tenants_in_turn::{ChoreError, note as note_failure};
use crate::clock;
use crate::config::Settings;
use crate::db::subscriptions::{self, ChangeKind};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx, plan_versions};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::ids::TenantId;
use crate::domain::money::MoneyError;
use crate::domain::subscription::Subscription;
use crate::domain::subscription_change::{Change, begin_scheduled, end, end_trial};

/// Tenants of one look.
const TENANTS_AT_ONCE: i64 = 100;

/// Does what is due for all tenants; returns how many changes. Each holds from the moment that was agreed, however late this is. Any
/// number of processes may do it at once. A tenant that fails is left to the next run, and the others have their turn.
///
/// # Errors
/// [`ChoreError`]; what was done besides stays so.
pub async fn change_due(db: &Db, settings: &Settings) -> Result<u64, ChoreError> {
    let system = SystemTx::new(db, SystemReason::ChangeSubscriptions);
    let (mut n_done, mut failed) = (0, BTreeSet::new());
    loop {
        // Those that failed are due still, and stand before the others.
        let n_wanted = TENANTS_AT_ONCE.saturating_add(i64::try_from(failed.len()).unwrap_or(i64::MAX));
        let mut n_of_round = 0;
        for tenant in subscriptions::list_tenants_with_due(&system, n_wanted).await? {
            if failed.contains(&tenant) {
                continue;
            }
            match change_due_of(db, settings, tenant, clock::now()).await {
                Ok(n) => n_of_round += n,
                Err(error) => {
                    note_failure(tenant, error)?;
                    failed.insert(tenant);
                }
            }
        }
        n_done += n_of_round;
        if n_of_round == 0 {
            return ChoreError::unless_none(failed.len(), n_done);
        }
    }
}

/// Does what is due for one tenant at `now`; returns how many changes. For a bill: done before it, what holds at the first instant of
/// its period is written down.
///
/// # Errors
/// [`DbError`].
pub async fn change_due_of(db: &Db, settings: &Settings, tenant: TenantId, now: DateTime<Utc>) -> Result<u64, DbError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    let Locked { tenant, subscription: first } = lock(&mut tx, settings).await?;
    let doer = Doer { actor: AuditActor::System, source: AuditSource::default() };
    let (mut before, mut n_done) = (first.clone(), 0);
    while let Some(due) = Due::of(&before, now) {
        let mut change = due.change(&mut tx, &before).await?;
        let (after, _version) = write(&mut tx, &before, change.after).await?;
        change.after = after;
        write_terms(&mut tx, settings, due.kind, &before, &change, due.at).await?;
        let detail = json!({
            "from": in_short(&before.terms), "to": in_short(&change.after.terms), "holds_from": due.at,
            "charge_minor": change.charge_minor,
        });
        note(&mut tx, &doer, due.action(), &change.after, detail).await?;
        before = change.after;
        n_done += 1;
    }
    if n_done == 0 {
        tx.finish();
        return Ok(0);
    }
    announce(&mut tx, settings, &tenant, &first, &before).await?;
    tx.commit().await?;
    Ok(n_done)
}

/// One thing that is due.
struct Due {
    kind: ChangeKind,
    at: DateTime<Utc>,
}

impl Due {
    /// The first that is due; of two at one moment, what was scheduled, so that nobody pays for a trial that ends with the
    /// subscription.
    fn of(subscription: &Subscription, now: DateTime<Utc>) -> Option<Self> {
        let scheduled = subscription.scheduled.as_ref().map(|scheduled| {
            let kind = if scheduled.is_end { ChangeKind::Cancel } else { ChangeKind::Change };
            Self { kind, at: scheduled.at }
        });
        let trial_end = subscription.trial_end.filter(|_| subscription.is_trial);
        let trial = trial_end.map(|at| Self { kind: ChangeKind::TrialEnd, at });
        let first = match (scheduled, trial) {
            (Some(scheduled), Some(trial)) if trial.at < scheduled.at => Some(trial),
            (Some(scheduled), _) => Some(scheduled),
            (None, trial) => trial,
        };
        first.filter(|due| due.at <= now)
    }

    fn action(&self) -> &'static str {
        match self.kind {
            ChangeKind::Begin | ChangeKind::Change => "subscription.change",
            ChangeKind::TrialEnd => "subscription.trial_end",
            ChangeKind::Cancel => "subscription.end",
        }
    }

    async fn change(&self, tx: &mut TenantTx, before: &Subscription) -> Result<Change, DbError> {
        let scheduled = before.scheduled.as_ref().filter(|_| self.kind != ChangeKind::TrialEnd);
        let Some(scheduled) = scheduled else {
            return end_trial(before, self.at)
                .map_err(|_sum: MoneyError| DbError::Corrupt("plan_versions.price_minor"));
        };
        let terms = scheduled.terms.clone();
        let figures = plan_versions::find(tx, &terms.plan, terms.version).await?;
        let figures = figures.ok_or(DbError::Corrupt("subscriptions.scheduled"))?;
        let after = if scheduled.is_end {
            end(before, terms, figures, self.at)
        } else {
            begin_scheduled(before, terms, figures)
        };
        Ok(Change { after, credit_minor: 0, charge_minor: 0 })
    }
}
