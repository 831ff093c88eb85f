//! Names in DNS that a tenant claims: for its people's e-mail addresses, or as hosts of its own.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::target;
use crate::actors::sso::{self, SsoError};
use crate::actors::tenant::{TenantHandle, canonical_host};
use crate::db::email_domains::DomainRow;
use crate::db::{TenantTx, custom_hosts, domain_claims, email_domains};
use crate::domain::assurance::Requirement;
use crate::domain::domain_claim::{DomainClaim, DomainUse, record_text};
use crate::domain::ids::ConnectionId;
use crate::http::extract::{AdminOfTenant, Json, Then, demand};
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DomainResponse {
    /// Its name, as it is compared: lower case, ASCII.
    #[schema(example = "acme.example")]
    domain: String,
    /// What it is claimed for.
    r#use: DomainUse,
    /// `pending` until the record was found, then `verified`.
    state: &'static str,
    /// The record that proves it. It stays: it is looked for again every day.
    record: RecordResponse,
    /// Where a host must lead, so that requests arrive; it proves nothing. Null for addresses.
    target: Option<RecordResponse>,
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
    /// `TXT`, or `CNAME` for a `target`; at the apex of a zone, where there can be no `CNAME`, whatever leads to the same addresses.
    r#type: &'static str,
    /// Its name.
    #[schema(example = "_businessos-challenge.acme.example")]
    name: String,
    /// What it says.
    value: String,
}

impl DomainResponse {
    fn of(state: &AppState, tenant: &TenantHandle, used: DomainUse, row: DomainRow) -> Result<Self, Problem> {
        let DomainRow { domain, challenge, claimed_at, expires_at, verified_at, checked_at, n_missed, connection_id } =
            row;
        let claim = DomainClaim::parse(used, &domain).map_err(SsoError::from)?;
        let target = RecordResponse {
            r#type: "CNAME",
            name: domain.clone(),
            value: canonical_host(&state.settings, tenant.slug()),
        };
        Ok(Self {
            domain,
            r#use: used,
            state: if verified_at.is_some() { "verified" } else { "pending" },
            record: RecordResponse { r#type: "TXT", name: claim.record_name(), value: record_text(&challenge) },
            target: (used == DomainUse::Host).then_some(target),
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
    /// Those for addresses, then those that are hosts; each by name.
    domains: Vec<DomainResponse>,
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
    let email = email_domains::list(&mut tx).await;
    let hosts = custom_hosts::list(&mut tx).await;
    tx.finish();
    let email = email?.into_iter().map(|row| (DomainUse::Email, row));
    let hosts = hosts?.into_iter().map(|row| (DomainUse::Host, row));
    let shown = email.chain(hosts).map(|(used, row)| DomainResponse::of(&state, &tenant, used, row));
    let domains = shown.collect::<Result<_, Problem>>()?;
    Ok(HttpResponse::Ok().json(DomainsResponse { domains }))
}

/// A domain to be claimed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClaimDomainRequest {
    /// Its name. A host may be international; it is kept in its `xn--` form.
    #[schema(value_type = String, required = true, example = "acme.example")]
    domain: Option<String>,
    /// `email` (if left out): the tenant's people have addresses of this domain. `host`: the tenant is reached at it.
    #[serde(default)]
    #[schema(default = "email")]
    r#use: DomainUse,
}

/// Claim a domain. The answer has the record that proves it; a claim that is there already stays as it is.
#[utoipa::path(post, path = "/tenants/{id}/domains", tag = "tenants", operation_id = "domain.claim", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")), request_body = ClaimDomainRequest,
    responses((status = 201, description = "Claimed", body = DomainResponse),
              (status = 409, description = "`conflict`: the tenant has 100 domains, or 20 hosts", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn claim_domain(
    Then(user, Json(body)): Then<AdminOfTenant, Json<ClaimDomainRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let ClaimDomainRequest { domain, r#use } = body;
    // Not a missing field for the parser: whether there is such a tenant is said first.
    let claim = DomainClaim::parse(r#use, &domain.unwrap_or_default()).map_err(SsoError::from)?;
    let row = sso::claim(&state.sso, tenant.id(), user.asker(), &claim).await?;
    Ok(HttpResponse::Created().json(DomainResponse::of(&state, &tenant, r#use, row)?))
}

/// Which claim of a name.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UseQuery {
    /// What it is claimed for; needed only if it is claimed for both.
    r#use: Option<DomainUse>,
}

/// Look for the record now. A host that is proved leads to the tenant at once.
#[utoipa::path(post, path = "/tenants/{id}/domains/{domain}/verify", tag = "tenants", operation_id = "domain.verify", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"), ("domain" = String, Path, description = "The domain"), UseQuery),
    responses((status = 200, description = "Proved", body = DomainResponse),
              (status = 409, description = "`conflict`: the record was not found; `domain-taken`: another tenant has proved it", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`: it is claimed for both uses, or has become the platform's own", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn verify_domain(
    Then(user, web::Query(query)): Then<AdminOfTenant, web::Query<UseQuery>>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, domain) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let (claim, _row) = find_claim(&state, &tenant, &domain, query.r#use).await?;
    let row = sso::verify(&state.sso, tenant.id(), user.asker(), &claim).await?;
    refresh(&state, &tenant, &claim).await?;
    Ok(HttpResponse::Ok().json(DomainResponse::of(&state, &tenant, claim.used(), row)?))
}

/// Give a domain up: its people are found and made by their addresses no more, and a host leads nowhere at once. One that is proved asks
/// for a second factor within the last five minutes.
#[utoipa::path(delete, path = "/tenants/{id}/domains/{domain}", tag = "tenants", operation_id = "domain.release", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"), ("domain" = String, Path, description = "The domain"), UseQuery),
    responses((status = 204, description = "Given up"),
              (status = 422, description = "`validation-failed`: it is claimed for both uses", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn release_domain(
    Then(user, web::Query(query)): Then<AdminOfTenant, web::Query<UseQuery>>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, domain) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let (claim, row) = find_claim(&state, &tenant, &domain, query.r#use).await?;
    if row.verified_at.is_some() {
        demand(&user, Requirement::SENSITIVE)?;
    }
    sso::release(&state.sso, tenant.id(), user.asker(), &claim).await?;
    refresh(&state, &tenant, &claim).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The tenant's claim of a path's name; what is no name was claimed by nobody.
async fn find_claim(
    state: &AppState,
    tenant: &TenantHandle,
    text: &str,
    wanted: Option<DomainUse>,
) -> Result<(DomainClaim, DomainRow), Problem> {
    let mut found = Vec::new();
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    for used in DomainUse::ALL {
        if wanted.is_none_or(|wanted| wanted == used)
            && let Ok(claim) = DomainClaim::parse(used, text)
            && let Some(row) = domain_claims::find(&mut tx, &claim).await?
        {
            found.push((claim, row));
        }
    }
    tx.finish();
    match (found.pop(), found.pop()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(SsoError::UnknownDomain.into()),
        (Some(_), Some(_)) => Err(Problem::invalid_field("/use", "say email or host: the name is claimed for both")),
    }
}

/// Shows this node what has changed; the others follow the log.
async fn refresh(state: &AppState, tenant: &TenantHandle, claim: &DomainClaim) -> Result<(), Problem> {
    match claim {
        DomainClaim::Email(_) => Ok(()),
        DomainClaim::Host(_) => {
            state.registry.forget_unknown();
            tenancy::reload(tenant, None).await
        }
    }
}
