//! Forgetting what streams have shown long ago, and tickets to them.

use chrono::TimeDelta;

use crate::actors::tenants_in_turn::{self, ChoreError};
use crate::clock;
use crate::db::{Db, DbError, TenantTx, stream_events, stream_tickets};
use crate::domain::ids::TenantId;

/// Events can be asked for again (`resume_from`) for so long.
const KEPT: TimeDelta = TimeDelta::days(90);
/// Rows that are deleted at once.
const BATCH: i64 = 1_000;

/// Deletes, of all tenants, events of streams that are older than 90 days and tickets that ran out; returns how many rows.
///
/// # Errors
/// [`ChoreError`]. What was deleted besides stays deleted.
pub async fn forget_old(db: &Db) -> Result<u64, ChoreError> {
    tenants_in_turn::each(db, async |tenant| forget_of(db, tenant).await).await
}

async fn forget_of(db: &Db, tenant: TenantId) -> Result<u64, DbError> {
    let before = clock::now() - KEPT;
    let mut n_deleted = 0;
    loop {
        let mut tx = TenantTx::begin(db, tenant).await?;
        let n_events = stream_events::forget_old(&mut tx, before, BATCH).await?;
        let n_tickets = stream_tickets::forget_old(&mut tx, BATCH).await?;
        tx.commit().await?;
        n_deleted += n_events + n_tickets;
        if n_events.max(n_tickets) < BATCH.unsigned_abs() {
            return Ok(n_deleted);
        }
    }
}
