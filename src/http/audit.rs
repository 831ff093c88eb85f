//! The tenant's audit trail: pages for people, lines for machines, and the latest checkpoint.

use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::extract::{AuditReader, Then, UserOrKey};
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::db::audit::{AuditFilter, AuditRow};
use crate::db::{Db, DbError, TenantTx, audit, audit_seal};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::{AuditId, TenantId};

/// Media type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";
/// Rows that are read at once for lines.
const BATCH: i64 = 500;

/// Which events are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Id of the last event of the page before.
    after: Option<AuditId>,
    /// `asc` (oldest first, the default) or `desc`.
    order: Option<String>,
    /// Id of who did it, or a kind: anonymous, user, operator, key, scim, system.
    actor: Option<String>,
    /// What was done, such as `api_key.create`; `api_key.*` for all that begins so.
    action: Option<String>,
    /// Id of what it was done to, or a kind, such as `user`.
    target: Option<String>,
    /// success, failure or denied.
    outcome: Option<String>,
    /// Not before.
    from: Option<DateTime<Utc>>,
    /// Before.
    to: Option<DateTime<Utc>>,
    /// Events on a page, 1 to 200; 50 if left out. Lines have no pages.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEventResponse {
    /// Id.
    id: AuditId,
    /// When.
    at: DateTime<Utc>,
    /// Who.
    actor: Actor,
    /// What.
    action: String,
    /// To what.
    target: Target,
    /// success, failure or denied.
    outcome: String,
    /// Code of the problem, if it did not end well.
    code: Option<String>,
    /// From where.
    source: Source,
    /// What changed.
    #[schema(value_type = Object)]
    detail: Value,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Actor {
    /// anonymous, user, operator, key, scim or system.
    kind: String,
    /// Id, where there is one.
    id: Option<String>,
}

/// What it was done to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Target {
    /// Kind of thing.
    kind: String,
    /// Id, where there is one.
    id: Option<String>,
}

/// Where the request came from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Source {
    /// Address.
    ip: Option<String>,
    /// `User-Agent`.
    user_agent: Option<String>,
    /// Id of the request.
    request_id: Option<String>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The events.
    events: Vec<AuditEventResponse>,
    /// Value of `after` for the next page; none on the last.
    next: Option<String>,
}

impl From<AuditRow> for AuditEventResponse {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.into(),
            at: row.at,
            actor: Actor { kind: row.actor_kind, id: row.actor_id.map(|id| id.to_string()) },
            action: row.action,
            target: Target { kind: row.target_kind, id: row.target_id },
            outcome: row.outcome,
            code: row.code,
            source: Source { ip: row.source_ip, user_agent: row.user_agent, request_id: row.request_id },
            detail: row.detail,
        }
    }
}

impl AuditQuery {
    fn checked(self) -> Result<(AuditFilter, i64), Problem> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Problem::invalid_field("/limit", "must be between 1 and 200"));
        }
        let descending = match self.order.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::invalid_field("/order", "must be asc or desc")),
        };
        if self.outcome.as_deref().is_some_and(|outcome| !["success", "failure", "denied"].contains(&outcome)) {
            return Err(Problem::invalid_field("/outcome", "must be success, failure or denied"));
        }
        let Self { after, actor, action, target, outcome, from, to, .. } = self;
        Ok((AuditFilter { after, descending, actor, action, target, outcome, from, to }, limit))
    }
}

/// The tenant's audit trail, a page at a time, or whole as lines of JSON with `Accept: application/x-ndjson`. For admins, and for
/// API keys with `audit:read`. Reading pages leaves no event; taking the lines does.
#[utoipa::path(get, path = "/audit", tag = "tenants", operation_id = "audit.list", security(("bearer" = [])),
    params(AuditQuery),
    responses((status = 200, description = "A page, or lines", content(
                  (AuditPage = "application/json"), (String = "application/x-ndjson"))),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(super) async fn list(
    Then(reader, query): Then<UserOrKey<AuditReader>, web::Query<AuditQuery>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (filter, limit) = query.into_inner().checked()?;
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains(NDJSON) {
        return lines(&reader, &state, filter).await;
    }
    let mut tx = TenantTx::begin_read(&state.db, reader.scope.tenant.id()).await?;
    let mut rows = audit::list(&mut tx, &filter, limit + 1).await?;
    tx.finish();
    let n_wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > n_wanted;
    rows.truncate(n_wanted);
    let next = if has_more { rows.last().map(|row| row.id.to_string()) } else { None };
    let events = rows.into_iter().map(AuditEventResponse::from).collect();
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(AuditPage { events, next }))
}

/// Everything that the filter lets through, read in batches as fast as the client takes it.
async fn lines(
    reader: &UserOrKey<AuditReader>,
    state: &AppState,
    filter: AuditFilter,
) -> Result<HttpResponse, Problem> {
    let tenant = reader.scope.tenant.id();
    let event = AuditEvent {
        actor: reader.audit_actor(),
        action: "audit.export",
        target_kind: "tenant",
        target_id: Some(tenant.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: reader.scope.caller.source.clone(),
        detail: json!({ "from": filter.from, "to": filter.to, "action": filter.action, "actor": filter.actor }),
    };
    let mut tx = TenantTx::begin(&state.db, tenant).await?;
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    let start = Some((state.db.clone(), filter));
    let stream = futures_util::stream::unfold(start, move |at| async move {
        let (db, mut filter) = at?;
        match batch(&db, tenant, &mut filter).await {
            Ok((_, true)) => None,
            Ok((text, false)) => Some((Ok(text), Some((db, filter)))),
            // The answer breaks off, so that it does not look whole.
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(HttpResponse::Ok().content_type(NDJSON).insert_header((CACHE_CONTROL, "no-store")).streaming(stream))
}

/// The next lines, and whether there were none.
async fn batch(db: &Db, tenant: TenantId, filter: &mut AuditFilter) -> Result<(Bytes, bool), DbError> {
    let mut tx = TenantTx::begin_read(db, tenant).await?;
    let rows = audit::list(&mut tx, filter, BATCH).await?;
    tx.finish();
    let is_over = rows.is_empty();
    let mut text = String::new();
    for row in rows {
        filter.after = Some(row.id.into());
        // These types always serialise.
        text.push_str(&serde_json::to_string(&AuditEventResponse::from(row)).unwrap_or_default());
        text.push('\n');
    }
    Ok((Bytes::from(text), is_over))
}

/// A signed state of the trail. Whoever keeps one can tell later whether what it covers was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointResponse {
    /// Events that it covers.
    tree_size: i64,
    /// When it was made.
    sealed_at: DateTime<Utc>,
    /// The statement, signed by the tenant's key (JWS): size, root, the checkpoint before.
    jws: String,
    /// The public key.
    #[schema(value_type = Object)]
    jwk: Value,
}

/// The latest checkpoint of the tenant's audit trail: a signed Merkle tree head over all events that are sealed.
#[utoipa::path(get, path = "/audit/checkpoint", tag = "tenants", operation_id = "audit.checkpoint", security(("bearer" = [])),
    responses((status = 200, description = "The checkpoint", body = CheckpointResponse), openapi::ThingProblems))]
pub(super) async fn checkpoint(
    reader: UserOrKey<AuditReader>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, reader.scope.tenant.id()).await?;
    let latest = audit_seal::find_latest(&mut tx).await?;
    tx.finish();
    let latest = latest.ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "nothing is sealed yet"))?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(CheckpointResponse {
        tree_size: latest.tree_size,
        sealed_at: latest.sealed_at,
        jws: latest.jws,
        jwk: latest.jwk,
    }))
}
