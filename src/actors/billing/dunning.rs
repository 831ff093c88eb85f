//! What unpaid invoices lead to, looked after every day: the longer one is overdue, the less the tenant may do.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::actors::tenants_in_turn::{ChoreError, note};
use crate::clock;
use crate::config::Settings;
use crate::db::payment_state::set_payment_state;
use crate::db::stripe_queue::{self, StripeWork};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx, invoices, payment_events};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::domain::subscription::DunningPolicy;

/// Invoices that are looked up at once.
const PAGE: i64 = 500;
/// Tenants with disputes that are looked after in one run, the oldest disputes first.
const DISPUTES: i64 = 10_000;

/// Makes the subscriptions of all tenants with overdue invoices or disputes stand as those say; returns how many changed. A tenant that
/// fails is left to the next run.
///
/// # Errors
/// [`ChoreError`].
pub async fn judge_overdue(db: &Db, settings: &Settings) -> Result<u64, ChoreError> {
    let now = clock::now();
    let (mut n_changed, mut n_failed) = (0, 0);
    for tenant in in_trouble(db, now).await? {
        match judge_tenant(db, settings, tenant, now).await {
            Ok(is_changed) => n_changed += u64::from(is_changed),
            Err(error) => {
                note(tenant, error)?;
                n_failed += 1;
            }
        }
    }
    ChoreError::unless_none(n_failed, n_changed)
}

/// Tenants with a dispute, or with an open invoice that was due before `now`.
async fn in_trouble(db: &Db, now: DateTime<Utc>) -> Result<BTreeSet<TenantId>, DbError> {
    let system = SystemTx::new(db, SystemReason::FindInvoices);
    let disputed = stripe_queue::list_tenants(&system, StripeWork::Dispute, DISPUTES).await?;
    let mut tenants = BTreeSet::from_iter(disputed);
    let mut after = None;
    loop {
        let page = invoices::list_directory(&system, "open", after, PAGE).await?;
        // They come by when they are due: behind the first that is not, none is.
        let overdue = page.iter().take_while(|invoice| invoice.due_at < now);
        tenants.extend(overdue.map(|invoice| TenantId::from(invoice.tenant_id)));
        match page.last().filter(|last| last.due_at < now) {
            Some(last) => after = Some((last.due_at, InvoiceId::from(last.invoice_id))),
            None => return Ok(tenants),
        }
    }
}

async fn judge_tenant(db: &Db, settings: &Settings, tenant: TenantId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    let is_changed = restate(&mut tx, settings, now, "an invoice is overdue").await?;
    tx.commit().await?;
    Ok(is_changed)
}

/// Makes the subscription of the transaction's tenant stand as its oldest trouble says: an invoice that is overdue, a payment that
/// failed, a dispute that is not won. Whether that is otherwise than before.
pub(in crate::actors) async fn restate(
    tx: &mut TenantTx,
    settings: &Settings,
    now: DateTime<Utc>,
    reason: &str,
) -> Result<bool, DbError> {
    let policy = DunningPolicy::from(settings.billing.dunning);
    let overdue = invoices::find_oldest_due(tx).await?.filter(|due| *due < now);
    let oldest = overdue.into_iter().chain(payment_events::find_oldest_trouble(tx).await?).min();
    let overdue_days = oldest.map(|due| u32::try_from((now - due).num_days()).unwrap_or(u32::MAX));
    Ok(set_payment_state(tx, &policy, overdue_days, reason).await?.is_some())
}
