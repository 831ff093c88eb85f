//! The audit log: `platform.audit_log`, written in the transaction of what it tells.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::audit::{AuditEvent, AuditSource};
use crate::domain::ids::AuditId;

/// Adds an event to the transaction's tenant.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, event: &AuditEvent) -> Result<(), DbError> {
    let AuditEvent { actor, action, target_kind, target_id, outcome, code, source, detail } = event;
    let AuditSource { ip, user_agent, request_id } = source;
    let tenant = tx.tenant().uuid();
    let (actor_kind, actor_id) = actor.parts();
    let ip = ip.map(|ip| ip.to_string());
    sqlx::query!(
        "INSERT INTO platform.audit_log (tenant_id, id, actor_kind, actor_id, action, target_kind, target_id, outcome,
                                         code, source_ip, user_agent, request_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::inet, $11, $12, $13)",
        tenant,
        clock::new_id::<AuditId>().uuid(),
        actor_kind,
        actor_id,
        *action,
        *target_kind,
        target_id.as_deref(),
        outcome.as_str(),
        *code,
        ip.as_deref(),
        user_agent.as_deref(),
        request_id.as_deref(),
        detail
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Adds several events to the transaction's tenant, in one statement.
///
/// # Errors
/// [`DbError`].
pub async fn insert_all(tx: &mut TenantTx, events: &[AuditEvent]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    // One column as JSON: lists of columns would each have to be typed, and a dozen of them kept in step.
    let rows: Vec<Value> = events
        .iter()
        .map(|event| {
            let AuditEvent { actor, action, target_kind, target_id, outcome, code, source, detail } = event;
            let AuditSource { ip, user_agent, request_id } = source;
            let (actor_kind, actor_id) = actor.parts();
            json!({
                "id": clock::new_id::<AuditId>(), "actor_kind": actor_kind, "actor_id": actor_id, "action": action,
                "target_kind": target_kind, "target_id": target_id, "outcome": outcome.as_str(), "code": code,
                "source_ip": ip, "user_agent": user_agent, "request_id": request_id, "detail": detail,
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO platform.audit_log (tenant_id, id, actor_kind, actor_id, action, target_kind, target_id, outcome,
                                         code, source_ip, user_agent, request_id, detail)
         SELECT $1, r.id, r.actor_kind, r.actor_id, r.action, r.target_kind, r.target_id, r.outcome, r.code, r.source_ip,
                r.user_agent, r.request_id, r.detail
         FROM jsonb_to_recordset($2) AS r (id uuid, actor_kind text, actor_id uuid, action text, target_kind text,
                                           target_id text, outcome text, code text, source_ip inet, user_agent text,
                                           request_id text, detail jsonb)",
        tenant,
        Value::Array(rows)
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Which events are wanted; what is `None` is not asked.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Those behind this one, in the order of the list.
    pub after: Option<AuditId>,
    /// Newest first.
    pub descending: bool,
    /// Id or kind of who did it.
    pub actor: Option<String>,
    /// What was done; ends in `.*` for all that begins so.
    pub action: Option<String>,
    /// Id or kind of what it was done to.
    pub target: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

/// An event as stored.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Kind of who.
    pub actor_kind: String,
    /// Who.
    pub actor_id: Option<Uuid>,
    /// What.
    pub action: String,
    /// Kind of to what.
    pub target_kind: String,
    /// To what.
    pub target_id: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// Code of the problem.
    pub code: Option<String>,
    /// Address of the client.
    pub source_ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// What changed.
    pub detail: Value,
}

macro_rules! page {
    ($tx:ident, $filter:ident, $limit:ident, $behind:literal, $order:literal) => {{
        let tenant = $tx.tenant().uuid();
        sqlx::query_as!(
            AuditRow,
            "SELECT id, at, actor_kind, actor_id, action, target_kind, target_id, outcome, code, host(source_ip) AS source_ip,
                    user_agent, request_id, detail
             FROM platform.audit_log
             WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id " + $behind + " $2)
               AND ($3::text IS NULL OR actor_kind = $3 OR actor_id::text = $3)
               AND ($4::text IS NULL OR action = $4 OR (right($4, 2) = '.*' AND starts_with(action, left($4, -1))))
               AND ($5::text IS NULL OR target_id = $5 OR target_kind = $5)
               AND ($6::text IS NULL OR outcome = $6)
               AND ($7::timestamptz IS NULL OR at >= $7) AND ($8::timestamptz IS NULL OR at < $8)
             ORDER BY id " + $order + " LIMIT $9",
            tenant,
            $filter.after.map(AuditId::uuid),
            $filter.actor.as_deref(),
            $filter.action.as_deref(),
            $filter.target.as_deref(),
            $filter.outcome.as_deref(),
            $filter.from,
            $filter.to,
            $limit
        )
        .fetch_all($tx.connection()?)
        .await?
    }};
}

/// Events of the transaction's tenant, by id, which is by the time at which they were begun.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>, DbError> {
    Ok(if filter.descending { page!(tx, filter, limit, "<", "DESC") } else { page!(tx, filter, limit, ">", "ASC") })
}
