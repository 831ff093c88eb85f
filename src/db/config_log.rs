//! The log of changes that cached state depends on.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::SystemTx;
use crate::domain::ids::{ApiKeyId, SessionId, TenantId};

/// Channel of the notifications that make the log quick: wake-ups, without content.
pub const CHANNEL: &str = "businessos_config";

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The tenant, its state or its configuration, now at this version.
    Tenant {
        /// Version of the configuration.
        version: i64,
    },
    /// The tenant's signing keys, or a new API key.
    Keys,
    /// A session ended.
    SessionRevoked(SessionId),
    /// An API key was revoked.
    ApiKeyRevoked(ApiKeyId),
    /// A meter's state changed, or its pause was lifted.
    Usage,
    /// A host became the tenant's, or is its no more.
    Hosts,
}

/// One committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigChange {
    /// Number in the log; numbers are taken before their transactions commit, so they may appear out of order.
    pub seq: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// What changed.
    pub change: Change,
}

impl ConfigChange {
    fn from_parts(seq: i64, tenant: Uuid, kind: &str, subject: Option<Uuid>, version: i64) -> Option<Self> {
        let change = match (kind, subject) {
            ("tenant", _) => Change::Tenant { version },
            ("keys", _) => Change::Keys,
            ("usage", _) => Change::Usage,
            ("hosts", _) => Change::Hosts,
            ("session", Some(session)) => Change::SessionRevoked(session.into()),
            ("api_key", Some(key)) => Change::ApiKeyRevoked(key.into()),
            _ => return None,
        };
        Some(Self { seq, tenant: tenant.into(), change })
    }
}

/// All changes since a moment, in the order of their numbers. A kind that this version does not know is left out: a newer node
/// wrote it.
///
/// # Errors
/// [`DbError`].
pub async fn list_since(tx: &SystemTx<'_>, since: DateTime<Utc>) -> Result<Vec<ConfigChange>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT seq AS "seq!", tenant_id AS "tenant_id!", kind AS "kind!", subject, version AS "version!"
           FROM platform.list_config_changes($1)"#,
        since
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| ConfigChange::from_parts(row.seq, row.tenant_id, &row.kind, row.subject, row.version))
        .collect())
}

/// Deletes changes older than a moment; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn prune(tx: &SystemTx<'_>, before: DateTime<Utc>) -> Result<i64, DbError> {
    let n = sqlx::query_scalar!("SELECT platform.prune_config_log($1)", before).fetch_one(tx.pool).await?;
    Ok(n.unwrap_or(0))
}
