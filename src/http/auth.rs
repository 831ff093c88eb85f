//! Sign-in, refresh, sign-out, and the question whether a token is good.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credential::Identity;
use super::extract::{AnyUser, Anyone, Json, OptionalJson, Principal, SignedIn, TenantScope, Then, UserOrKey};
use super::gateway_identity::roles;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::actors::auth::{Challenged, EndedSessions, Refresh, SignIn, SignInOutcome, SignOut, TokenSet};
use crate::actors::sso;
use crate::db::{TenantTx, factors, users};
use crate::domain::factor::FactorKind;
use crate::domain::identity::Role;
use crate::domain::ids::{ApiKeyId, SessionId, TenantId, UserId};
use crate::domain::scope::Scope;

/// Longest wait for a sign-in: the queue for hashing, the hash, the database.
const SIGN_IN_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for the rest.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Who signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    /// E-mail address.
    #[schema(example = "owner@acme.test")]
    email: String,
    /// Password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Tokens of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenResponse {
    /// Access token (RFC 9068), for `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Life of the access token, in seconds.
    expires_in: u64,
    /// Good for one refresh.
    refresh_token: String,
    /// The session.
    session_id: SessionId,
}

impl From<TokenSet> for TokenResponse {
    fn from(tokens: TokenSet) -> Self {
        let TokenSet { access_token, expires_in, refresh_token, session_id } = tokens;
        Self {
            access_token: access_token.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_in,
            refresh_token: refresh_token.expose_secret().to_owned(),
            session_id,
        }
    }
}

pub(super) fn token_answer(tokens: TokenSet) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(TokenResponse::from(tokens))
}

/// A sign-in whose password was right and which waits for a second factor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MfaRequiredResponse {
    /// Always true.
    mfa_required: bool,
    /// Continues the sign-in within five minutes, at `/auth/mfa/verify`.
    mfa_token: String,
    /// What may continue it.
    factors: Vec<FactorKind>,
    /// The tenant asks for a second factor and the user has none: `/auth/mfa/totp` takes the token and enrols one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enrolment_required: bool,
}

impl From<Challenged> for MfaRequiredResponse {
    fn from(challenged: Challenged) -> Self {
        let Challenged { mfa_token, factors } = challenged;
        Self {
            mfa_required: true,
            mfa_token: mfa_token.expose_secret().to_owned(),
            enrolment_required: factors.is_empty(),
            factors,
        }
    }
}

/// What a right password is answered with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer in the API document")]
pub(super) enum LoginResponse {
    /// Signed in.
    Tokens(TokenResponse),
    /// More is needed.
    MfaRequired(MfaRequiredResponse),
}

/// Sign in with e-mail and password.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "session.create", request_body = LoginRequest,
    responses((status = 200, description = "Signed in, or a second factor is needed", body = LoginResponse),
              (status = 401, description = "`invalid-credentials`", body = super::openapi::ProblemSchema, content_type = "application/problem+json"),
              super::openapi::BodyProblems, super::openapi::TenantProblems))]
pub(super) async fn login(
    Then(scope, Json(body)): Then<TenantScope, Json<LoginRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let LoginRequest { email, password } = body;
    let message = SignIn { tenant: scope.tenant, email, password, source: scope.caller.source };
    Ok(match state.auth.ask(message, SIGN_IN_DEADLINE).await? {
        SignInOutcome::Tokens(tokens) => token_answer(tokens),
        SignInOutcome::Challenged(challenged) => {
            HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(MfaRequiredResponse::from(challenged))
        }
    })
}

/// The token to exchange.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshRequest {
    /// The latest refresh token of the session.
    #[schema(value_type = String, format = Password)]
    refresh_token: SecretString,
}

/// Exchange a refresh token for new tokens. The same token again within the grace gets the same refresh token again; an older
/// one ends the session, because somebody else must have used it.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", operation_id = "session.refresh", request_body = RefreshRequest,
    responses((status = 200, description = "New tokens", body = TokenResponse),
              (status = 401, description = "`invalid-refresh-token`, `session-revoked`, or `mfa-required`: the tenant asks for a second factor now, so sign in again", body = super::openapi::ProblemSchema, content_type = "application/problem+json"),
              super::openapi::BodyProblems, super::openapi::TenantProblems))]
pub(super) async fn refresh(
    Then(scope, Json(body)): Then<TenantScope, Json<RefreshRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let message = Refresh { tenant: scope.tenant, refresh_token: body.refresh_token, source: scope.caller.source };
    Ok(token_answer(state.auth.ask(message, DEADLINE).await?))
}

/// What to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogoutRequest {
    /// End every session of the user, not only this one.
    all: bool,
    /// End every session of the user but this one.
    others: bool,
}

/// Where the browser signs out of its identity provider.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogoutResponse {
    /// The provider's page (RP-Initiated Logout 1.0): send the browser there.
    end_session_url: String,
}

/// Sign out. The access token is refused from now on, on every node within a second. For a session that came by an identity provider the
/// answer says where to sign out there too.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", operation_id = "session.end", request_body = Option<LogoutRequest>,
    security(("bearer" = [])),
    responses((status = 204, description = "Signed out"),
              (status = 200, description = "Signed out here, and not yet at the identity provider that the session came by", body = LogoutResponse),
              super::openapi::BodyProblems, super::openapi::SignedInProblems))]
pub(super) async fn logout(
    Then(SignedIn(user), OptionalJson(body)): Then<SignedIn, OptionalJson<LogoutRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let LogoutRequest { all, others } = body.unwrap_or_default();
    let ended = match (all, others) {
        (false, false) => EndedSessions::Own,
        (true, false) => EndedSessions::All,
        (false, true) => EndedSessions::Others,
        (true, true) => return Err(Problem::invalid_field("/others", "cannot be true together with all")),
    };
    state.auth.ask(sign_out(&user, ended), DEADLINE).await?;
    if ended == EndedSessions::Others {
        return Ok(HttpResponse::NoContent().finish());
    }
    Ok(match sso::end_session(&state.sso, &user.scope.tenant, user.token.claims.sid).await? {
        Some(end_session_url) => HttpResponse::Ok().json(LogoutResponse { end_session_url }),
        None => HttpResponse::NoContent().finish(),
    })
}

pub(super) fn sign_out(user: &Principal, ended: EndedSessions) -> SignOut {
    let claims = &user.token.claims;
    SignOut {
        tenant: std::sync::Arc::clone(&user.scope.tenant),
        user: claims.sub,
        session: claims.sid,
        ended,
        source: user.scope.caller.source.clone(),
    }
}

/// What a good credential says.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ValidateResponse {
    /// Always true; a credential that is not good is answered 401.
    active: bool,
    /// The tenant.
    tenant_id: TenantId,
    /// The user; null for an API key.
    user_id: Option<UserId>,
    /// The user's roles; none for an API key.
    roles: Vec<Role>,
    /// The session; null for an API key.
    session_id: Option<SessionId>,
    /// How strongly the user proved who they are; null for an API key.
    acr: Option<String>,
    /// When the credential expires, in seconds since 1970; null for an API key that does not.
    exp: Option<i64>,
    /// The API key, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<ApiKeyId>,
    /// What the API key may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
}

/// Whether an access token or API key is good: for services that are not behind the gateway, and for `auth_request` of nginx,
/// `forwardAuth` of Traefik and `forward_auth` of Caddy, which copy the answer's headers. It asks no database. What an API key
/// may do is in `scopes`: the asking service decides whether that is enough.
#[utoipa::path(get, path = "/auth/validate", tag = "auth", operation_id = "session.validate", security(("bearer" = [])),
    responses((status = 200, description = "The credential is good", body = ValidateResponse,
               headers(("X-Tenant-Id" = String), ("X-User-Id" = String), ("X-User-Roles" = String), ("X-Api-Key-Id" = String))),
              super::openapi::SignedInProblems))]
pub(super) async fn validate(caller: UserOrKey<Anyone>) -> HttpResponse {
    validated(&caller)
}

/// The same by POST.
#[utoipa::path(post, path = "/auth/validate", tag = "auth", operation_id = "session.validate_by_post", security(("bearer" = [])),
    responses((status = 200, description = "The credential is good", body = ValidateResponse,
               headers(("X-Tenant-Id" = String), ("X-User-Id" = String), ("X-User-Roles" = String), ("X-Api-Key-Id" = String))),
              super::openapi::SignedInProblems))]
pub(super) async fn validate_by_post(caller: UserOrKey<Anyone>) -> HttpResponse {
    validated(&caller)
}

fn validated(caller: &UserOrKey<Anyone>) -> HttpResponse {
    let body = match &caller.identity {
        Identity::User(token) => {
            let claims = &token.claims;
            ValidateResponse {
                active: true,
                tenant_id: claims.tid,
                user_id: Some(claims.sub),
                roles: claims.roles.clone(),
                session_id: Some(claims.sid),
                acr: Some(claims.acr.clone()),
                exp: Some(claims.exp),
                key_id: None,
                scopes: None,
            }
        }
        Identity::Key(verified) => ValidateResponse {
            active: true,
            tenant_id: caller.scope.tenant.id(),
            user_id: None,
            roles: Vec::new(),
            session_id: None,
            acr: None,
            exp: verified.key.expires_at.map(|at| at.timestamp()),
            key_id: Some(verified.key.id),
            scopes: Some(verified.key.scopes.iter().map(Scope::to_string).collect()),
        },
    };
    // A header that does not apply is sent empty: a proxy that copies them must overwrite what the client sent.
    let header = |name: &'static str, value: Option<String>| (HeaderName::from_static(name), value.unwrap_or_default());
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(header("x-tenant-id", Some(body.tenant_id.to_string())))
        .insert_header(header("x-user-id", body.user_id.map(|id| id.to_string())))
        .insert_header(header("x-user-roles", Some(roles(&body.roles))))
        .insert_header(header("x-api-key-id", body.key_id.map(|id| id.to_string())))
        .json(body)
}

/// The signed-in user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeResponse {
    /// Id.
    id: UserId,
    /// E-mail address.
    email: String,
    /// Display name.
    name: Option<String>,
    /// Role.
    role: Role,
    /// The tenant.
    tenant: MyTenant,
    /// The session of the request.
    session_id: SessionId,
    /// How strongly the user proved who they are.
    acr: String,
    /// Second factors that the user has.
    factors: Vec<FactorKind>,
    /// Whether the tenant asks everybody for a second factor.
    mfa_required: bool,
}

/// The signed-in user's tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MyTenant {
    /// Id.
    id: TenantId,
    /// Display name.
    name: String,
    /// Subdomain.
    subdomain: String,
    /// Plan.
    plan: String,
}

/// Who am I?
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "session.me", security(("bearer" = [])),
    responses((status = 200, description = "The signed-in user", body = MeResponse), super::openapi::SignedInProblems))]
pub(super) async fn me(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let claims = &user.token.claims;
    let tenant = &user.scope.view.tenant;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id).await?;
    let stored = users::find(&mut tx, claims.sub).await?;
    let has = factors::get(&mut tx, claims.sub).await?;
    tx.finish();
    let stored = stored.ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "the user is gone"))?;
    Ok(HttpResponse::Ok().json(MeResponse {
        id: stored.id,
        email: stored.email,
        name: stored.name,
        role: stored.role,
        tenant: MyTenant {
            id: tenant.id,
            name: tenant.name.clone(),
            subdomain: tenant.slug.to_string(),
            plan: tenant.plan.clone(),
        },
        session_id: claims.sid,
        acr: claims.acr.clone(),
        factors: has.kinds(),
        mfa_required: tenant.config.mfa_required,
    }))
}
