//! Going round all tenants.

use crate::db::{Db, DbError, SystemReason, SystemTx, directory};
use crate::domain::ids::TenantId;

/// Tenants that are looked up at once.
const PAGE: i64 = 500;

/// A chore was not done for everybody; for the others it was.
#[derive(Debug, thiserror::Error)]
pub enum ChoreError {
    /// The database cannot be asked, so no tenant's turn can come.
    #[error("the database did not answer")]
    Db(#[from] DbError),
    /// It failed for some tenants, as the log says.
    #[error("{0} tenants failed; see the log")]
    Some(usize),
}

impl ChoreError {
    /// The end of a run that `n_failed` tenants failed in and that did `n_done` things for the others.
    ///
    /// # Errors
    /// [`ChoreError::Some`] if there are any.
    pub(super) fn unless_none(n_failed: usize, n_done: u64) -> Result<u64, Self> {
        if n_failed == 0 { Ok(n_done) } else { Err(Self::Some(n_failed)) }
    }
}

/// Notes that a chore failed for a tenant, so that the others have their turn.
///
/// # Errors
/// The failure, if it is the database's own: nobody else would fare better.
pub(super) fn note(tenant: TenantId, error: DbError) -> Result<(), DbError> {
    if matches!(error, DbError::Unavailable(_) | DbError::Silent) {
        return Err(error);
    }
    let error = &error as &dyn std::error::Error;
    tracing::error!(tenant.id = %tenant, error, "a chore failed for a tenant; the others have their turn");
    Ok(())
}

/// Does `work` for every tenant, one after the other, and adds up what it returns. For chores that are cheap where there is nothing
/// to do. Each tenant has its turn, whatever became of those before it.
///
/// # Errors
/// [`ChoreError`], with what was done besides done.
pub async fn each(db: &Db, work: impl AsyncFn(TenantId) -> Result<u64, DbError>) -> Result<u64, ChoreError> {
    let system = SystemTx::new(db, SystemReason::ListTenants);
    let (mut after, mut n_done, mut n_failed) = (String::new(), 0, 0);
    loop {
        let page = directory::list(&system, &after, None, PAGE).await?;
        for tenant in &page {
            let tenant = tenant.tenant_id.into();
            match work(tenant).await {
                Ok(n) => n_done += n,
                Err(error) => {
                    note(tenant, error)?;
                    n_failed += 1;
                }
            }
        }
        match page.last() {
            Some(last) => after.clone_from(&last.slug),
            None => return ChoreError::unless_none(n_failed, n_done),
        }
    }
}
