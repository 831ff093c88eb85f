//! Domains that a tenant claims for its people's e-mail addresses.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::target;
use crate::actors::sso::{self, SsoError};
use crate::db::email_domains::DomainRow;
use crate::db::{TenantTx, email_domains};
use crate::domain::assurance::Requirement;
use crate::domain::email_domain::{EmailDomain, EmailDomainError, record_text};
use crate::domain::ids::ConnectionId;
use crate::http::extract::{AdminOfTenant, Json, Then, demand};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DomainResponse {
    /// Its name.
    #[schema(example = "acme.example")]
    domain: String,
    /// `pending` until the record was found, then `verified`.
    state: &'static str,
    /// The record that proves it. It stays: it is looked for again every day.
    record: RecordResponse,
    /// Whose people sign in by it.
    connection: Option<ConnectionId>,
    /// When it was claimed.
    claimed_at: DateTime<Utc>,
    /// When a claim that is not proved is forgotten; null for a proved one.
    expires_at: Option<DateTime<Utc>>,
    /// When it was proved.
    verified_at: Option<DateTime<Utc>>,
    /// When the record was last looked for.
    checked_at: Option<DateTime<Utc>>,
    /// Looks in a row that did not find it; after seven the domain is let go.
    missed: i32,
}

/// A record in DNS.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RecordResponse {
    /// Always `TXT`.
    r#type: &'static str,
    /// Its name.
    #[schema(example = "_businessos-challenge.acme.example")]
    name: String,
    /// What it says.
    value: String,
}

impl TryFrom<DomainRow> for DomainResponse {
    type Error = EmailDomainError;

    fn try_from(row: DomainRow) -> Result<Self, EmailDomainError> {
        let DomainRow { domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed, connection_id } =
            row;
        let name = EmailDomain::parse(&domain)?.record_name();
        Ok(Self {
            domain,
            state: if verified_at.is_some() { "verified" } else { "pending" },
            record: RecordResponse { r#type: "TXT", name, value: record_text(&challenge) },
            connection: connection_id.map(ConnectionId::from),
            claimed_at,
            expires_at: verified_at.is_none().then_some(expires_at),
            verified_at,
            checked_at,
            missed: n_missed,
        })
    }
}

/// A tenant's domains.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DomainsResponse {
    /// By name.
    domains: Vec<DomainResponse>,
}

fn shown(row: DomainRow) -> Result<DomainResponse, Problem> {
    DomainResponse::try_from(row).map_err(|error| Problem::from(SsoError::from(error)))
}

/// The tenant's domains.
#[utoipa::path(get, path = "/tenants/{id}/domains", tag = "tenants", operation_id = "domain.list", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The domains", body = DomainsResponse), openapi::ThingProblems))]
pub(in crate::http) async fn list_domains(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    let rows = email_domains::list(&mut tx).await;
    tx.finish();
    let domains = rows?.into_iter().map(shown).collect::<Result<_, Problem>>()?;
    Ok(HttpResponse::Ok().json(DomainsResponse { domains }))
}

/// A domain to be claimed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClaimDomainRequest {
    /// Its name.
    #[schema(value_type = String, required = true, example = "acme.example")]
    domain: Option<String>,
}

/// Claim a domain. The answer has the record that proves it; a claim that is there already stays as it is.
#[utoipa::path(post, path = "/tenants/{id}/domains", tag = "tenants", operation_id = "domain.claim", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")), request_body = ClaimDomainRequest,
    responses((status = 201, description = "Claimed", body = DomainResponse),
              (status = 409, description = "`conflict`: the tenant has 100 domains", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn claim_domain(
    Then(user, Json(body)): Then<AdminOfTenant, Json<ClaimDomainRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    // Not a missing field for the parser: whether there is such a tenant is said first.
    let domain = EmailDomain::parse(&body.domain.unwrap_or_default()).map_err(SsoError::from)?;
    let row = sso::claim(&state.sso, tenant.id(), user.asker(), &domain).await?;
    Ok(HttpResponse::Created().json(shown(row)?))
}

/// Look for the record now.
#[utoipa::path(post, path = "/tenants/{id}/domains/{domain}/verify", tag = "tenants", operation_id = "domain.verify", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"), ("domain" = String, Path, description = "The domain")),
    responses((status = 200, description = "Proved", body = DomainResponse),
              (status = 409, description = "`conflict`: the record was not found; `domain-taken`: another tenant has proved it", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn verify_domain(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, domain) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let row = sso::verify(&state.sso, tenant.id(), user.asker(), &domain_of(&domain)?).await?;
    Ok(HttpResponse::Ok().json(shown(row)?))
}

/// Give a domain up: its people are found and made by their addresses no more. One that is proved asks for a second factor within the
/// last five minutes.
#[utoipa::path(delete, path = "/tenants/{id}/domains/{domain}", tag = "tenants", operation_id = "domain.release", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"), ("domain" = String, Path, description = "The domain")),
    responses((status = 204, description = "Given up"), openapi::ThingProblems))]
pub(in crate::http) async fn release_domain(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, domain) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let domain = domain_of(&domain)?;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    let row = email_domains::find(&mut tx, &domain).await;
    tx.finish();
    if row?.ok_or(SsoError::UnknownDomain)?.verified_at.is_some() {
        demand(&user, Requirement::SENSITIVE)?;
    }
    sso::release(&state.sso, tenant.id(), user.asker(), &domain).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A path's domain; what is none was claimed by nobody.
fn domain_of(text: &str) -> Result<EmailDomain, Problem> {
    EmailDomain::parse(text).map_err(|_malformed: EmailDomainError| SsoError::UnknownDomain.into())
}
