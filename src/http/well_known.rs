//! A tenant's keys and where to find its endpoints.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use serde_json::json;

use super::extract::TenantScope;
use crate::domain::key_rotation::JWKS_MAX_AGE_S;

/// How long clients may keep the keys: less long than a new one is published before it signs.
fn cache() -> String {
    format!("public, max-age={JWKS_MAX_AGE_S}")
}

/// What may name the tenant besides the host: a shared cache must not hand one tenant's keys to another.
const VARY_ON: &str = "X-Tenant, Authorization";

/// The tenant's public keys (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "auth", operation_id = "keys.list",
    responses((status = 200, description = "The keys", body = super::openapi::Jwks),
              super::openapi::TenantProblems))]
pub(super) async fn jwks(scope: TenantScope) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, cache()))
        .insert_header((VARY, VARY_ON))
        .body(scope.view.jwks.clone())
}

/// Where the tenant's endpoints are (OpenID Connect Discovery 1.0 §3, RFC 8414).
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "auth", operation_id = "keys.discover",
    responses((status = 200, description = "The endpoints", body = super::openapi::Discovery),
              super::openapi::TenantProblems))]
pub(super) async fn discovery(scope: TenantScope) -> HttpResponse {
    let issuer = &scope.view.issuer;
    HttpResponse::Ok().insert_header((CACHE_CONTROL, cache())).insert_header((VARY, VARY_ON)).json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_endpoint": format!("{issuer}/auth/login"),
        "userinfo_endpoint": format!("{issuer}/auth/me"),
        "end_session_endpoint": format!("{issuer}/auth/logout"),
        "introspection_endpoint": format!("{issuer}/auth/validate"),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "EdDSA"],
        "acr_values_supported": ["aal1", "aal2"],
    }))
}
