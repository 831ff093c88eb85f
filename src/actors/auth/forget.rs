//! Forgetting sign-ins that are over: rows of sessions and of half-made sign-ins name people, and nobody needs them any more.

use crate::actors::tenants_in_turn::{self, ChoreError};
use crate::db::{Db, DbError, TenantTx, mfa_challenges, passkey_ceremonies, saml_assertions, sessions, sso_flows};
use crate::domain::ids::TenantId;

/// Sessions that are deleted at once.
const BATCH: i64 = 1_000;

/// Deletes, of all tenants, sessions that ended over a week ago and sign-ins that were never finished; returns how many rows.
///
/// # Errors
/// [`ChoreError`]. What was deleted besides stays deleted.
pub async fn forget_ended(db: &Db) -> Result<u64, ChoreError> {
    tenants_in_turn::each(db, async |tenant| forget_of(db, tenant).await).await
}

async fn forget_of(db: &Db, tenant: TenantId) -> Result<u64, DbError> {
    let mut n_deleted = 0;
    loop {
        let mut tx = TenantTx::begin(db, tenant).await?;
        let n_sessions = sessions::delete_old(&mut tx, BATCH).await?;
        n_deleted += n_sessions;
        n_deleted += mfa_challenges::delete_expired(&mut tx).await?;
        n_deleted += passkey_ceremonies::delete_expired(&mut tx).await?;
        n_deleted += sso_flows::delete_over(&mut tx).await?;
        n_deleted += saml_assertions::delete_over(&mut tx).await?;
        tx.commit().await?;
        if n_sessions < BATCH.unsigned_abs() {
            return Ok(n_deleted);
        }
    }
}
