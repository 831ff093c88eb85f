//! Going round all tenants.

use crate::db::{Db, DbError, SystemReason, SystemTx, directory};
use crate::domain::ids::TenantId;

/// Tenants that are looked up at once.
const PAGE: i64 = 500;

/// Does `work` for every tenant, one after the other, and adds up what it returns. For chores that are cheap where there is nothing
/// to do.
///
/// # Errors
/// [`DbError`], with what was done before it done.
pub async fn each(db: &Db, work: impl AsyncFn(TenantId) -> Result<u64, DbError>) -> Result<u64, DbError> {
    let system = SystemTx::new(db, SystemReason::ListTenants);
    let (mut after, mut n_done) = (String::new(), 0);
    loop {
        let page = directory::list(&system, &after, None, PAGE).await?;
        for tenant in &page {
            n_done += work(tenant.tenant_id.into()).await?;
        }
        match page.last() {
            Some(last) => after.clone_from(&last.slug),
            None => return Ok(n_done),
        }
    }
}
