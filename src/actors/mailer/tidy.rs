//! Forgetting mail that was sent: it names people, and nobody needs it any more.

use crate::db::mail_queue;
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx};

/// Tenants served in a round.
const TENANTS: i64 = 20;
/// Mails of one tenant in a round.
const MAILS: i64 = 200;

/// Deletes the mails that were sent over a week ago; returns how many. Dead letters stay until an operator has looked.
///
/// # Errors
/// [`DbError`]. What was deleted before it stays deleted.
pub async fn forget_old(db: &Db) -> Result<u64, DbError> {
    let system = SystemTx::new(db, SystemReason::FindMail);
    let mut n_deleted = 0;
    loop {
        let n_before = n_deleted;
        for tenant in mail_queue::list_tenants_with_old(&system, TENANTS).await? {
            let mut tx = TenantTx::begin(db, tenant).await?;
            n_deleted += mail_queue::delete_old(&mut tx, MAILS).await?;
            tx.commit().await?;
        }
        if n_deleted == n_before {
            return Ok(n_deleted);
        }
    }
}
