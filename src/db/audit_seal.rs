//! The audit log's trees: `platform.audit_leaves`, `platform.audit_checkpoints`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::audit_seal::AuditLeaf;
use crate::domain::ids::TenantId;
use crate::domain::merkle::Hash;

/// No transaction that writes to the log lasts so long. A row that is dated further back than this before the newest sealed one
/// was not written by this program; it is never sealed, and the verification reports it.
pub const MAX_DELAY: TimeDelta = TimeDelta::minutes(15);

/// A row of the log.
#[derive(Debug, Clone)]
pub struct LeafRow {
    /// Its id.
    pub id: Uuid,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What is hashed of it.
    pub leaf: AuditLeaf,
}

/// A sealed state of the tree.
#[derive(Debug, Clone)]
pub struct CheckpointRow {
    /// Leaves of the tree.
    pub tree_size: i64,
    /// When it was sealed.
    pub sealed_at: DateTime<Utc>,
    /// The latest time of any row in the tree.
    pub newest_at: DateTime<Utc>,
    /// Roots of its whole subtrees.
    pub peaks: Vec<Vec<u8>>,
    /// The signed statement.
    pub jws: String,
    /// The public key that it was signed with.
    pub jwk: Value,
    /// Ties both to the tenant's data key.
    pub mac: Vec<u8>,
}

/// A place of the tree and what is there.
#[derive(Debug, Clone)]
pub struct StoredLeaf {
    /// Its number.
    pub leaf_index: i64,
    /// The row that was sealed there.
    pub audit_id: Uuid,
    /// The hash it had.
    pub leaf_hash: Vec<u8>,
    /// The row as it is now; `None` if it is gone.
    pub row: Option<LeafRow>,
}

/// Tenants with rows that may not be sealed yet, in the order of their ids, those after one.
///
/// # Errors
/// [`DbError`].
pub async fn list_unsealed_tenants(tx: &SystemTx<'_>, after: TenantId, limit: i64) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!("SELECT platform.list_unsealed_tenants($1, $2)", after.uuid(), limit)
        .fetch_all(tx.pool)
        .await?;
    Ok(ids.into_iter().flatten().map(TenantId::from).collect())
}

/// Forgets that a tenant has rows of transactions before `horizon`: they are sealed.
///
/// # Errors
/// [`DbError`].
pub async fn clear_marks(tx: &SystemTx<'_>, tenant: TenantId, horizon: &str) -> Result<(), DbError> {
    sqlx::query!("SELECT platform.clear_audit_marks($1, $2::text::xid8)", tenant.uuid(), horizon)
        .fetch_one(tx.pool)
        .await?;
    Ok(())
}

/// Takes the right to seal the transaction's tenant until it ends; false if another node has it.
///
/// # Errors
/// [`DbError`].
pub async fn try_lock(tx: &mut TenantTx) -> Result<bool, DbError> {
    let tenant = tx.tenant().to_string();
    let got = sqlx::query_scalar!("SELECT pg_try_advisory_xact_lock(hashtextextended('audit seal ' || $1, 0))", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    Ok(got == Some(true))
}

/// The oldest transaction that runs, and the first that has not begun.
///
/// # Errors
/// [`DbError`].
pub async fn horizon(tx: &mut TenantTx) -> Result<(String, String), DbError> {
    let row = sqlx::query!(
        r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS "oldest!",
                  pg_snapshot_xmax(pg_current_snapshot())::text AS "next!""#
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok((row.oldest, row.next))
}

macro_rules! leaf_row {
    ($row:ident, $tenant:expr) => {
        LeafRow {
            id: $row.id,
            at: $row.at,
            leaf: AuditLeaf {
                fields: [
                    Some($tenant.to_string()),
                    Some($row.id.to_string()),
                    Some($row.at.timestamp_micros().to_string()),
                    $row.xid,
                    Some($row.actor_kind),
                    $row.actor_id.map(|id| id.to_string()),
                    Some($row.action),
                    Some($row.target_kind),
                    $row.target_id,
                    Some($row.outcome),
                    $row.code,
                    $row.source_ip,
                    $row.user_agent,
                    $row.request_id,
                    $row.detail,
                ],
            },
        }
    };
}

/// Rows that are not in the tree yet and that no running transaction can slip in before, in the order of the tree: by
/// transaction, then by id. A visible row of a transaction that has not begun comes from another cluster, by a restore.
///
/// # Errors
/// [`DbError`].
pub async fn list_settled(
    tx: &mut TenantTx,
    newest: Option<DateTime<Utc>>,
    (oldest, next): &(String, String),
    limit: i64,
) -> Result<Vec<LeafRow>, DbError> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        "SELECT l.id, l.at, l.xid::text AS xid, l.actor_kind, l.actor_id, l.action, l.target_kind, l.target_id, l.outcome,
                l.code, l.source_ip::text AS source_ip, l.user_agent, l.request_id, l.detail::text AS detail
         FROM platform.audit_log l
         WHERE l.tenant_id = $1 AND ($2::timestamptz IS NULL OR l.at >= $2)
           AND (l.xid < $3::text::xid8 OR l.xid >= $4::text::xid8)
           AND NOT EXISTS (SELECT FROM platform.audit_leaves f WHERE f.tenant_id = $1 AND f.audit_id = l.id)
         ORDER BY l.xid, l.id LIMIT $5",
        tenant.uuid(),
        newest.map(|at| at - MAX_DELAY),
        oldest,
        next,
        limit
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(|row| leaf_row!(row, tenant)).collect())
}

/// The latest checkpoint.
///
/// # Errors
/// [`DbError`].
pub async fn find_latest(tx: &mut TenantTx) -> Result<Option<CheckpointRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        CheckpointRow,
        "SELECT tree_size, sealed_at, newest_at, peaks, jws, jwk, mac FROM platform.audit_checkpoints
         WHERE tenant_id = $1 ORDER BY tree_size DESC LIMIT 1",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Checkpoints of trees larger than `after`, the smallest first.
///
/// # Errors
/// [`DbError`].
pub async fn list_checkpoints(tx: &mut TenantTx, after: i64, limit: i64) -> Result<Vec<CheckpointRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        CheckpointRow,
        "SELECT tree_size, sealed_at, newest_at, peaks, jws, jwk, mac FROM platform.audit_checkpoints
         WHERE tenant_id = $1 AND tree_size > $2 ORDER BY tree_size LIMIT $3",
        tenant,
        after,
        limit
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Adds leaves behind the first `size`, and the checkpoint of the tree with them.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &mut TenantTx,
    size: i64,
    leaves: &[(Uuid, Hash)],
    checkpoint: &CheckpointRow,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let (ids, hashes): (Vec<Uuid>, Vec<Vec<u8>>) = leaves.iter().map(|(id, hash)| (*id, hash.to_vec())).unzip();
    sqlx::query!(
        "INSERT INTO platform.audit_leaves (tenant_id, leaf_index, audit_id, leaf_hash)
         SELECT $1, $2 + n - 1, id, hash FROM unnest($3::uuid[], $4::bytea[]) WITH ORDINALITY AS u (id, hash, n)",
        tenant,
        size,
        &ids,
        &hashes
    )
    .execute(tx.connection()?)
    .await?;
    let CheckpointRow { tree_size, sealed_at, newest_at, peaks, jws, jwk, mac } = checkpoint;
    sqlx::query!(
        "INSERT INTO platform.audit_checkpoints (tenant_id, tree_size, sealed_at, newest_at, peaks, jws, jwk, mac)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        tree_size,
        sealed_at,
        newest_at,
        peaks,
        jws,
        jwk,
        mac
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Leaves from a number on, each with its row.
///
/// # Errors
/// [`DbError`].
pub async fn list_leaves(tx: &mut TenantTx, from: i64, limit: i64) -> Result<Vec<StoredLeaf>, DbError> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        r#"SELECT f.leaf_index, f.audit_id, f.leaf_hash, l.id AS "id?", l.at AS "at?", l.xid::text AS xid,
                  l.actor_kind AS "actor_kind?", l.actor_id, l.action AS "action?", l.target_kind AS "target_kind?",
                  l.target_id, l.outcome AS "outcome?", l.code, l.source_ip::text AS source_ip, l.user_agent, l.request_id,
                  l.detail::text AS detail
           FROM platform.audit_leaves f
           LEFT JOIN platform.audit_log l ON l.tenant_id = f.tenant_id AND l.id = f.audit_id
           WHERE f.tenant_id = $1 AND f.leaf_index >= $2 ORDER BY f.leaf_index LIMIT $3"#,
        tenant.uuid(),
        from,
        limit
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredLeaf {
            leaf_index: row.leaf_index,
            audit_id: row.audit_id,
            leaf_hash: row.leaf_hash,
            row: row.id.zip(row.at).map(|(id, at)| LeafRow {
                id,
                at,
                leaf: AuditLeaf {
                    fields: [
                        Some(tenant.to_string()),
                        Some(id.to_string()),
                        Some(at.timestamp_micros().to_string()),
                        row.xid,
                        row.actor_kind,
                        row.actor_id.map(|id| id.to_string()),
                        row.action,
                        row.target_kind,
                        row.target_id,
                        row.outcome,
                        row.code,
                        row.source_ip,
                        row.user_agent,
                        row.request_id,
                        row.detail,
                    ],
                },
            }),
        })
        .collect())
}

/// Rows that are in no leaf: how many in all, and the first of those dated so far before `newest` that they must have been
/// added later.
///
/// # Errors
/// [`DbError`].
pub async fn list_added(tx: &mut TenantTx, newest: DateTime<Utc>, limit: i64) -> Result<(i64, Vec<Uuid>), DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT count(*) AS "n!",
                  (array_agg(l.id ORDER BY l.id) FILTER (WHERE l.at < $2))[1:$3] AS added
           FROM platform.audit_log l
           WHERE l.tenant_id = $1
             AND NOT EXISTS (SELECT FROM platform.audit_leaves f WHERE f.tenant_id = $1 AND f.audit_id = l.id)"#,
        tenant,
        newest - MAX_DELAY,
        i32::try_from(limit).unwrap_or(i32::MAX)
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok((rows.n, rows.added.unwrap_or_default()))
}
