//! The signed-in user's own sessions: seeing them, and ending one from afar.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{DEADLINE, sign_out};
use super::extract::AnyUser;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::actors::auth::EndedSessions;
use crate::db::TenantTx;
use crate::db::sessions::Session;
use crate::domain::ids::SessionId;

/// A session that is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionResponse {
    /// Id.
    id: SessionId,
    /// When its user signed in.
    created_at: DateTime<Utc>,
    /// When it was last refreshed.
    last_used_at: DateTime<Utc>,
    /// When it ends unless it is refreshed before; no refresh takes it beyond its absolute end.
    expires_at: DateTime<Utc>,
    /// Client address at sign-in.
    ip: Option<String>,
    /// Client program at sign-in.
    user_agent: Option<String>,
    /// How strongly the user proved who they are.
    acr: String,
    /// By what means (RFC 8176).
    amr: Vec<String>,
    /// Whether it is the session of this request.
    current: bool,
}

impl SessionResponse {
    fn new(session: Session, current: SessionId) -> Self {
        Self {
            id: session.id.into(),
            created_at: session.created_at,
            last_used_at: session.rotated_at,
            expires_at: session.idle_expires_at.min(session.absolute_expires_at),
            ip: session.ip,
            user_agent: session.user_agent,
            acr: session.acr,
            amr: session.amr,
            current: session.id == current.uuid(),
        }
    }
}

/// The sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionsResponse {
    /// The latest used first.
    sessions: Vec<SessionResponse>,
}

/// The caller's sessions that are alive, the latest used first.
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", operation_id = "session.list", security(("bearer" = [])),
    responses((status = 200, description = "The sessions", body = SessionsResponse), super::openapi::SignedInProblems))]
pub(super) async fn list(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let claims = &user.token.claims;
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let sessions = state.sessions.list(&mut tx, claims.sub).await?;
    tx.finish();
    let sessions = sessions.into_iter().map(|session| SessionResponse::new(session, claims.sid)).collect();
    Ok(HttpResponse::Ok().json(SessionsResponse { sessions }))
}

/// End one of the caller's sessions. Its access tokens are refused from now on, on every node within a second.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "auth", operation_id = "session.end_one", security(("bearer" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 204, description = "It has ended"), super::openapi::ThingProblems))]
pub(super) async fn end(
    user: AnyUser,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SessionId =
        id.parse().map_err(|_malformed: uuid::Error| Problem::new(&kinds::NOT_FOUND, "there is no such session"))?;
    state.auth.ask(sign_out(&user, EndedSessions::One(id)), DEADLINE).await?;
    Ok(HttpResponse::NoContent().finish())
}
