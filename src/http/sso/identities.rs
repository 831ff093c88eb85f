//! A user's own identities at the tenant's providers.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::id_of;
use super::token::demand_fresh;
use crate::actors::sso;
use crate::db::TenantTx;
use crate::db::sso_identities::{self, Identity};
use crate::domain::ids::ConnectionId;
use crate::http::extract::AnyUser;
use crate::http::mfa::signed_in;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Whom the user is at a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct IdentityResponse {
    /// The connection's id.
    connection: ConnectionId,
    /// The connection's name.
    name: String,
    /// Whether one can sign in by the connection.
    enabled: bool,
    /// What the provider calls the person.
    subject: String,
    /// When it was linked.
    linked_at: DateTime<Utc>,
    /// When the user last signed in by it.
    last_used_at: DateTime<Utc>,
}

/// The user's identities.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct IdentitiesResponse {
    /// By the names of their connections.
    identities: Vec<IdentityResponse>,
}

/// At which providers is the caller known?
#[utoipa::path(get, path = "/auth/sso/identities", tag = "sso", operation_id = "sso.identities", security(("bearer" = [])),
    responses((status = 200, description = "The identities", body = IdentitiesResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn list_identities(
    user: AnyUser,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let found = sso_identities::list_of(&mut tx, user.token.claims.sub).await;
    tx.finish();
    let shown = |identity: Identity| {
        let Identity { connection, name, is_enabled, subject, linked_at, last_used_at } = identity;
        IdentityResponse { connection, name, enabled: is_enabled, subject, linked_at, last_used_at }
    };
    Ok(HttpResponse::Ok().json(IdentitiesResponse { identities: found?.into_iter().map(shown).collect() }))
}

/// Forget who the caller is at a connection's provider, and end their other sessions that came by it. Asks for a sign-in within the last
/// five minutes, with two factors if the user has them. The last way to sign in stays. Where the connection makes or finds people by
/// proved domains, whoever signs in at the provider again is linked again.
#[utoipa::path(delete, path = "/auth/sso/identities/{connection}", tag = "sso", operation_id = "sso.unlink", security(("bearer" = [])),
    params(("connection" = String, Path, description = "The connection's id")),
    responses((status = 204, description = "Forgotten"),
              (status = 409, description = "`conflict`: the caller could not sign in any more", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn unlink(
    user: AnyUser,
    state: web::Data<AppState>,
    connection: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    demand_fresh(&state, &user).await?;
    let source = user.scope.caller.source.clone();
    sso::unlink(&state.sso, &user.scope.tenant, &signed_in(&user), id_of(&connection)?, source).await?;
    Ok(HttpResponse::NoContent().finish())
}
