//! What is SAML's own of the calls: the platform's metadata, its keys, and the page that sends a request on.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connections::{find, shown};
use super::id_of;
use super::views::ConnectionResponse;
use crate::actors::sso::saml;
use crate::http::extract::{AdminOfTenant, SteppedUp, TenantScope};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// All that the page does.
const SCRIPT: &str = "document.forms[0].submit()";

/// The platform's metadata for the provider of a connection, whether it is switched on or not. Its URL is the platform's entity id there.
#[utoipa::path(get, path = "/auth/sso/{connection}/metadata", tag = "sso", operation_id = "sso.saml_metadata",
    params(("connection" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "Metadata (saml-metadata-2.0-os)", body = String, content_type = "application/samlmetadata+xml"),
              openapi::TenantProblems))]
pub(in crate::http) async fn metadata(
    scope: TenantScope,
    state: web::Data<AppState>,
    connection: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let xml = saml::own_metadata(&state.sso, &scope.tenant, id_of(&connection)?).await?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/samlmetadata+xml")).body(xml))
}

/// Read the provider's metadata again now, from the connection's `metadata_url`.
#[utoipa::path(post, path = "/sso/connections/{id}/refresh", tag = "sso", operation_id = "sso_connection.refresh", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "The connection as it is now", body = ConnectionResponse),
              (status = 409, description = "`conflict`: it is none of SAML, or has no `metadata_url`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`: what is wrong with the metadata", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn refresh(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let refreshed = saml::refresh(&state.sso, user.scope.tenant.id(), user.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::Ok().json(shown(&state, &user, refreshed).await?))
}

/// Begin a rotation of the platform's own key: another one is made, published in the metadata, and decrypts. It signs once it is
/// activated, when the provider has read the metadata.
#[utoipa::path(post, path = "/sso/connections/{id}/keys", tag = "sso", operation_id = "sso_connection.add_key", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 201, description = "The connection with the key", body = ConnectionResponse),
              (status = 409, description = "`conflict`: it is none of SAML, or a key waits already", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn add_key(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    saml::add_key(&state.sso, &user.scope.tenant, user.asker(), id_of(&id)?).await?;
    let found = find(&state, &user, &id).await?;
    Ok(HttpResponse::Created().json(shown(&state, &user, found).await?))
}

/// End a rotation: the key that waits signs from now on. The one before still decrypts, until the next rotation begins.
#[utoipa::path(post, path = "/sso/connections/{id}/keys/activate", tag = "sso", operation_id = "sso_connection.activate_key", security(("bearer" = [])),
    params(("id" = String, Path, description = "The connection's id")),
    responses((status = 200, description = "The connection with the key", body = ConnectionResponse),
              (status = 409, description = "`conflict`: it is none of SAML, or no key waits", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn activate_key(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    saml::activate_key(&state.sso, &user.scope.tenant, user.asker(), id_of(&id)?).await?;
    let found = find(&state, &user, &id).await?;
    Ok(HttpResponse::Ok().json(shown(&state, &user, found).await?))
}

/// A page that posts a form as soon as it is there, or at the press of a button where scripts are off. Its policy lets that one script
/// run and nothing else. It does not say where forms may go: browsers hold redirects of the provider's own against that.
pub(super) fn form_page(action: &str, fields: &[(String, String)]) -> HttpResponse {
    let inputs: String = fields
        .iter()
        .map(|(name, value)| format!(r#"<input type="hidden" name="{}" value="{}">"#, escaped(name), escaped(value)))
        .collect();
    let page = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signing in</title></head><body><form method="post" action="{}">{inputs}<noscript><button>Continue</button></noscript></form><script>{SCRIPT}</script></body></html>"#,
        escaped(action)
    );
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, SCRIPT.as_bytes()));
    let policy = format!("default-src 'none';script-src 'sha256-{hash}';base-uri 'none';frame-ancestors 'none'");
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .body(page)
}

/// Text in an attribute of HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_markup() {
        assert_eq!(escaped(r#"a"><script>&'"#), "a&quot;&gt;&lt;script&gt;&amp;&#39;");
    }
}
