//! The admin listener: metrics and health, for the machine's own network only.

use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use prometheus_client::registry::Registry;
use serde::Deserialize;

use super::problem::kinds;
use super::state::AppState;
use super::{health, tenancy};

/// Content type of the text format that scrapers ask for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin listener's routes.
pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/metrics", web::get().to(metrics))
        .route("/hosts", web::get().to(ask_host))
        .route("/healthz", web::get().to(|| async { HttpResponse::Ok().json(serde_json::json!({ "status": "ok" })) }))
        .route("/readyz", web::get().to(|state: web::Data<AppState>| async move { health::answer(&state).await }));
}

async fn metrics(state: web::Data<AppState>, registry: web::Data<Arc<Registry>>) -> HttpResponse {
    state.metrics.set_active_tenants(state.registry.n_active());
    state.metrics.set_usage_streams(state.streams.n_open());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => HttpResponse::Ok().insert_header((CONTENT_TYPE, OPENMETRICS)).body(text),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// A question about a host, as Caddy's `on_demand_tls` asks it.
#[derive(Debug, Deserialize)]
struct HostQuery {
    /// The host.
    domain: String,
}

/// Whether a host is a tenant's: a proxy in front gets a certificate for it then, and for no other.
async fn ask_host(state: web::Data<AppState>, query: web::Query<HostQuery>) -> HttpResponse {
    match tenancy::by_host(&state, &query.domain).await {
        Ok(Some(_tenant)) => HttpResponse::Ok().finish(),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(problem) if problem.kind() == &kinds::UNKNOWN_TENANT => HttpResponse::NotFound().finish(),
        Err(_unavailable) => HttpResponse::ServiceUnavailable().finish(),
    }
}
