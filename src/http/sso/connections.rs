//! `/sso/connections`: a tenant's connections, for its admins.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};

use super::fields::{changed_connection, new_connection};
use super::id_of;
use super::views::{
    CheckResponse, ConnectionResponse, ConnectionsResponse, CreateConnectionRequest, TestResponse,
    UpdateConnectionRequest,
};
use crate::actors::sso::{self, CheckState, SsoError};
use crate::db::sso_connections::Connection;
use crate::db::{TenantTx, email_domains, saml_keys, sso_connections};
use crate::http::extract::{AdminOfTenant, Json, SteppedUp, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// The tenant's connections. Asks for a second factor within the last five minutes, as all calls here.
#[utoipa::path(get, path = "/sso/connections", tag = "sso", operation_id = "sso_connection.list", security(("bearer" = [])),
    responses((status = 200, description = "The connections", body = ConnectionsResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn list(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let found = sso_connections::list(&mut tx).await?;
    let domains = email_domains::list(&mut tx).await?;
    let keys = saml_keys::list(&mut tx).await?;
    tx.finish();
    let view = &user.scope.view;
    let connections = found.into_iter().map(|found| ConnectionResponse::new(view, found, &domains, &keys)).collect();
    Ok(HttpResponse::Ok().json(ConnectionsResponse { connections }))
}

/// A connection.
#[utoipa::path(get, path = "/sso/connections/{id}", tag = "sso", operation_id = "sso_connection.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "The connection", body = ConnectionResponse), openapi::ThingProblems))]
pub(in crate::http) async fn get(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = find(&state, &user, &id).await?;
    Ok(HttpResponse::Ok().json(shown(&state, &user, found).await?))
}

/// Connect an identity provider. `redirect_uri` of the answer is to be registered with it.
#[utoipa::path(post, path = "/sso/connections", tag = "sso", operation_id = "sso_connection.create", security(("bearer" = [])),
    request_body = CreateConnectionRequest,
    responses((status = 201, description = "Connected", body = ConnectionResponse, headers(("Location" = String))),
              (status = 409, description = "`conflict`: another connection has the name, or there are 20", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn create(
    Then(user, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<CreateConnectionRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let new = new_connection(&state.sso, user.scope.tenant.id(), body).await?;
    let made = sso::create(&state.sso, &user.scope.tenant, user.asker(), new).await?;
    let location = format!("/sso/connections/{}", made.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(shown(&state, &user, made).await?))
}

/// Change a connection. Its provider, and what names people there, stay: who is known under it is known as that provider's.
#[utoipa::path(patch, path = "/sso/connections/{id}", tag = "sso", operation_id = "sso_connection.update", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")), request_body = UpdateConnectionRequest,
    responses((status = 200, description = "The connection after the change", body = ConnectionResponse),
              (status = 409, description = "`conflict`: another connection has the name, somebody else is changing it, or it is the last one while `sso.enforced` is on", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn update(
    Then(user, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<UpdateConnectionRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = find(&state, &user, &id).await?;
    let change = changed_connection(&state.sso, user.scope.tenant.id(), found, body).await?;
    let changed = sso::update(&state.sso, &user.scope.tenant, user.asker(), change).await?;
    Ok(HttpResponse::Ok().json(shown(&state, &user, changed).await?))
}

/// Delete a connection, with the links of its people. The sessions that came by it end.
#[utoipa::path(delete, path = "/sso/connections/{id}", tag = "sso", operation_id = "sso_connection.delete", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 204, description = "Deleted"),
              (status = 409, description = "`conflict`: it is the last one while `sso.enforced` is on", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn delete(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    sso::delete(&state.sso, &user.scope.tenant, user.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Find out what is wrong with a connection: asks the provider for its documents and keys, and whether it knows the client; of a
/// provider of SAML, whether its metadata can be read and says the same, how long its certificates last, and what time it is there.
#[utoipa::path(post, path = "/sso/connections/{id}/test", tag = "sso", operation_id = "sso_connection.test", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "What was found", body = TestResponse), openapi::ThingProblems))]
pub(in crate::http) async fn test(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = sso::diagnose(&state.sso, &user.scope.tenant, id_of(&id)?).await?;
    let ok = found.iter().all(|check| check.state != CheckState::Failed);
    let checks = found
        .into_iter()
        .map(|check| CheckResponse { check: check.name, state: word(check.state), detail: check.detail })
        .collect();
    Ok(HttpResponse::Ok().json(TestResponse { ok, checks }))
}

fn word(state: CheckState) -> &'static str {
    match state {
        CheckState::Ok => "ok",
        CheckState::Warning => "warning",
        CheckState::Failed => "failed",
        CheckState::Unknown => "unknown",
    }
}

pub(super) async fn find(state: &AppState, user: &AdminOfTenant, id: &str) -> Result<Connection, Problem> {
    let id = id_of(id)?;
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let found = sso_connections::find(&mut tx, id).await;
    tx.finish();
    Ok(found?.ok_or(SsoError::UnknownConnection)?)
}

pub(super) async fn shown(
    state: &AppState,
    user: &AdminOfTenant,
    connection: Connection,
) -> Result<ConnectionResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let domains = email_domains::list(&mut tx).await;
    let keys = saml_keys::list_of(&mut tx, connection.id).await;
    tx.finish();
    Ok(ConnectionResponse::new(&user.scope.view, connection, &domains?, &keys?))
}
