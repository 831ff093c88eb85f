//! `POST /billing/usage/stream-ticket`.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::DateTime;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock;
use crate::db::stream_tickets::{self, TicketHolder};
use crate::db::{TenantTx, audit};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::token::AccessClaims;
use crate::http::extract::AdminOfTenant;
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// Life of a ticket, in seconds: for the time between two calls of a page.
const TTL_S: u32 = 30;

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct StreamTicketResponse {
    /// For `GET /billing/usage/stream?ticket=`, once.
    ticket: String,
    /// It is good for so many seconds.
    #[schema(example = 30)]
    expires_in: u32,
}

/// Make a ticket that opens the stream of usage once, for browsers, whose WebSockets cannot send a header. The stream lives no longer
/// than the access token of this call.
#[utoipa::path(post, path = "/billing/usage/stream-ticket", tag = "billing", operation_id = "billing.make_stream_ticket",
    security(("bearer" = [])),
    responses((status = 201, description = "The ticket", body = StreamTicketResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn make_ticket(
    user: AdminOfTenant,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let AccessClaims { sub, sid, epoch, exp, .. } = &user.token.claims;
    let token_expires_at =
        DateTime::from_timestamp(*exp, 0).ok_or_else(|| Problem::new(&kinds::INTERNAL, "no such time"))?;
    let holder = TicketHolder { user: *sub, session: *sid, epoch: *epoch, token_expires_at };
    let tenant = user.scope.tenant.id();
    let id: Uuid = clock::new_id();
    let event = AuditEvent {
        actor: user.audit_actor(),
        action: "usage_stream.ticket",
        target_kind: "session",
        target_id: Some(sid.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: user.scope.caller.source.clone(),
        detail: json!({}),
    };
    let mut tx = TenantTx::begin(&state.db, tenant).await?;
    stream_tickets::insert(&mut tx, id, &holder, TTL_S.into()).await?;
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    let ticket = row_token::encode(RowTokenPurpose::StreamTicket, id, tenant, &user.scope.view.keys.rows);
    let answer = StreamTicketResponse { ticket, expires_in: TTL_S };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}
