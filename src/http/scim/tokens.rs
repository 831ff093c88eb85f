//! Tokens of the identity provider: made, listed and revoked by a tenant's admins.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::clients::kms;
use crate::clock;
use crate::db::scim_tokens::{self, NewScimToken, ScimTokenRow};
use crate::db::{TenantTx, audit};
use crate::domain::api_key::{self, ApiKeyName, MalformedName};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::{ScimTokenId, UserId};
use crate::domain::scim::token::{self, MAX_LIVE_TOKENS};
use crate::http::extract::{AdminOfTenant, Json, Page, Principal, SteppedUp, Then};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TokenResponse {
    /// Id.
    id: ScimTokenId,
    /// Name.
    name: String,
    /// Whom it may touch: an owner's token everybody, an admin's everybody but owners.
    rank: String,
    /// Who made it.
    created_by: UserId,
    /// When.
    created_at: DateTime<Utc>,
    /// When it was last used, up to a minute late.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<ScimTokenRow> for TokenResponse {
    fn from(row: ScimTokenRow) -> Self {
        let ScimTokenRow { id, name, rank, created_by, created_at, last_used_at } = row;
        Self { id: id.into(), name, rank, created_by: created_by.into(), created_at, last_used_at }
    }
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NewTokenResponse {
    /// Id.
    id: ScimTokenId,
    /// Name.
    name: String,
    /// Whom it may touch: an owner's token everybody, an admin's everybody but owners.
    rank: String,
    /// Who made it.
    created_by: UserId,
    /// When.
    created_at: DateTime<Utc>,
    /// The URL to give to the identity provider.
    #[schema(example = "https://acme.example.com/scim/v2")]
    base_url: String,
    /// The token itself, for `Authorization: Bearer`. It is shown here and never again.
    #[schema(example = "bos_scim_<id>_<secret>_<checksum>")]
    secret: String,
}

/// The tokens that were not revoked, oldest first.
#[utoipa::path(get, path = "/scim/tokens", tag = "scim", operation_id = "scim.token.list", security(("bearer" = [])),
    responses((status = 200, description = "The tokens, two at most", body = Page<TokenResponse>), openapi::SignedInProblems))]
pub(in crate::http) async fn list(
    admin: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, admin.scope.tenant.id()).await?;
    let rows = scim_tokens::list(&mut tx).await?;
    tx.finish();
    let items: Vec<_> = rows.into_iter().map(TokenResponse::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next: None }))
}

/// The token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateTokenRequest {
    /// Name, 1 to 200 characters.
    #[schema(example = "Entra")]
    name: String,
}

/// Make a token for the identity provider. There are two at most, so that one can replace the other. Asks for a second factor within the
/// last five minutes. The answer alone has the token's text.
#[utoipa::path(post, path = "/scim/tokens", tag = "scim", operation_id = "scim.token.create", security(("bearer" = [])),
    request_body = CreateTokenRequest,
    responses((status = 201, description = "The token, for the only time", body = NewTokenResponse),
              (status = 409, description = "`conflict`: there are two already", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn create(
    Then(admin, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<CreateTokenRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let name = ApiKeyName::parse(&body.name)
        .map_err(|error: MalformedName| Problem::invalid_field("/name", error.to_string()))?;
    let rank = token::rank_of_maker(admin.asker().role).ok_or_else(Principal::forbidden)?;
    let id: ScimTokenId = clock::new_id();
    let secret = kms::random().map_err(|_no_randomness: kms::MasterKeyError| {
        Problem::new(&kinds::UNAVAILABLE, "the machine has no random bytes; try again soon").retry_after(1)
    })?;
    let text = token::compose(id, &Zeroizing::new(secret));
    let created_by = admin.token.claims.sub;
    let hash = api_key::hash(text.expose_secret());
    let tenant = &admin.scope.tenant;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let new = NewScimToken { id, name: &name, hash, rank, created_by };
    let Some(created_at) = scim_tokens::insert(&mut tx, &new).await? else {
        tx.roll_back().await;
        return Err(Problem::new(&kinds::CONFLICT, format!("there are {MAX_LIVE_TOKENS} tokens; revoke one first")));
    };
    let detail = json!({ "name": name.as_str(), "rank": rank });
    audit::insert(&mut tx, &event(&admin, "scim.token.create", id, detail)).await?;
    tx.commit().await?;
    tenancy::reload(tenant, None).await?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(NewTokenResponse {
        id,
        name: name.as_str().to_owned(),
        rank: rank.as_str().to_owned(),
        created_by,
        created_at,
        base_url: format!("{}/scim/v2", admin.scope.view.issuer),
        secret: text.expose_secret().to_owned(),
    }))
}

/// Revoke a token. It is refused here at once, and on every other node within a second. Asks for a second factor within the last five
/// minutes.
#[utoipa::path(delete, path = "/scim/tokens/{id}", tag = "scim", operation_id = "scim.token.revoke", security(("bearer" = [])),
    params(("id" = String, Path, description = "The token's id")),
    responses((status = 204, description = "Revoked"), openapi::ThingProblems))]
pub(in crate::http) async fn revoke(
    admin: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such token");
    let id: ScimTokenId = id.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let tenant = &admin.scope.tenant;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let name = scim_tokens::revoke(&mut tx, id, admin.token.claims.sub).await?.ok_or_else(not_found)?;
    audit::insert(&mut tx, &event(&admin, "scim.token.revoke", id, json!({ "name": name }))).await?;
    tx.commit().await?;
    tenancy::reload(tenant, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn event(admin: &Principal, action: &'static str, token: ScimTokenId, detail: serde_json::Value) -> AuditEvent {
    AuditEvent {
        actor: admin.audit_actor(),
        action,
        target_kind: "scim_token",
        target_id: Some(token.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: admin.scope.caller.source.clone(),
        detail,
    }
}
