//! Users of another system, with their passwords' hashes.

use serde_json::json;

use super::{AccountError, Asker, event};
use crate::actors::auth::AuthContext;
use crate::clock;
use crate::db::{TenantTx, audit, user_admin};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::{TenantId, UserId};
use crate::domain::imported_hash::ImportedHash;

/// A user to be imported, every field well formed.
#[derive(Debug)]
pub struct ImportRow {
    /// Where the row stands in the request, from 0.
    pub index: usize,
    /// Address.
    pub email: EmailAddress,
    /// Display name.
    pub name: Option<String>,
    /// Role.
    pub role: Role,
    /// Hash of their password.
    pub password_hash: ImportedHash,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The user was made.
    Imported(UserId),
    /// The address is somebody's already; nothing was changed.
    Taken,
}

/// Imports rows into one tenant, in one transaction: all that can be kept are, or, when the database fails, none.
///
/// # Errors
/// The database's.
pub async fn import(
    context: &AuthContext,
    tenant: TenantId,
    asker: Asker,
    rows: Vec<ImportRow>,
) -> Result<Vec<(usize, ImportOutcome)>, AccountError> {
    let mut tx = TenantTx::begin(&context.db, tenant).await?;
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        let ImportRow { index, email, name, role, password_hash } = row;
        let id: UserId = clock::new_id();
        let is_new =
            user_admin::insert_if_free(&mut tx, id, &email, name.as_deref(), role, password_hash.as_str()).await?;
        if is_new {
            let target = ("user", id.to_string());
            let detail = json!({ "email": email.as_str(), "role": role });
            let audited = event(asker.actor, "user.import", target, asker.source.clone(), detail);
            audit::insert(&mut tx, &audited).await?;
        }
        outcomes.push((index, if is_new { ImportOutcome::Imported(id) } else { ImportOutcome::Taken }));
    }
    tx.commit().await?;
    Ok(outcomes)
}
