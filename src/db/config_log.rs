//! The log of changes that cached state depends on.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::SystemTx;
use crate::domain::ids::{SessionId, TenantId};

/// Channel of the notifications that make the log quick.
pub const CHANNEL: &str = "businessos_config";

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The tenant, its state or its configuration, now at this version.
    Tenant {
        /// Version of the configuration.
        version: i64,
    },
    /// The tenant's signing keys.
    Keys,
    /// A session ended.
    SessionRevoked(SessionId),
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
            ("session", Some(session)) => Change::SessionRevoked(session.into()),
            _ => return None,
        };
        Some(Self { seq, tenant: tenant.into(), change })
    }
}

/// Not a notification of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a notification of the config log")]
pub struct MalformedNotification;

impl FromStr for ConfigChange {
    type Err = MalformedNotification;

    fn from_str(payload: &str) -> Result<Self, Self::Err> {
        let mut words = payload.split(' ');
        let mut word = || words.next().ok_or(MalformedNotification);
        let seq = word()?.parse().map_err(|_number: std::num::ParseIntError| MalformedNotification)?;
        let tenant = word()?.parse().map_err(|_uuid: uuid::Error| MalformedNotification)?;
        let kind = word()?;
        let subject = word()?.parse().ok();
        let version = word()?.parse().map_err(|_number: std::num::ParseIntError| MalformedNotification)?;
        Self::from_parts(seq, tenant, kind, subject, version).ok_or(MalformedNotification)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_reads_back() {
        let id = Uuid::from_u128(7);
        let parse = |text: String| text.parse::<ConfigChange>();
        assert_eq!(parse(format!("3 {id} tenant - 9")).map(|c| c.change), Ok(Change::Tenant { version: 9 }));
        assert_eq!(parse(format!("3 {id} session {id} 0")).map(|c| c.change), Ok(Change::SessionRevoked(id.into())));
        for bad in ["", "x", "1 2 3", &format!("3 {id} session - 0"), &format!("3 {id} future - 0")] {
            assert_eq!(parse(bad.to_owned()), Err(MalformedNotification), "{bad}");
        }
    }
}
