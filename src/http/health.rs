//! Liveness and readiness.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::extract::Caller;
use super::state::AppState;

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "platform", operation_id = "health.live",
    responses((status = 200, description = "The process lives", body = super::openapi::Status)))]
pub(super) async fn healthz(_caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// The server can do its work. Asked by load balancers; false while it starts, while the database is away, and while it drains.
#[utoipa::path(get, path = "/readyz", tag = "platform", operation_id = "health.ready",
    responses((status = 200, description = "Ready", body = super::openapi::Status),
              (status = 503, description = "Not ready, with the failing parts", body = super::openapi::NotReady)))]
pub(super) async fn readyz(_caller: Caller, state: web::Data<AppState>) -> HttpResponse {
    answer(&state).await
}

/// What `/readyz` says, also for the admin listener.
pub(super) async fn answer(state: &AppState) -> HttpResponse {
    match state.db.ping().await {
        Ok(()) => state.readiness.recover("database"),
        Err(error) => state.readiness.fail("database", error.to_string()),
    }
    match state.sessions.ping().await {
        Ok(()) => state.readiness.recover("session_store"),
        Err(error) => state.readiness.fail("session_store", error.to_string()),
    }
    let failing = state.readiness.failing();
    if failing.is_empty() {
        return HttpResponse::Ok().json(json!({ "status": "ok" }));
    }
    let failing: serde_json::Map<_, _> = failing.into_iter().map(|(part, why)| (part.to_owned(), why.into())).collect();
    HttpResponse::ServiceUnavailable().json(json!({ "status": "unavailable", "failing": failing }))
}
