//! What browsers do: ask where to sign in, and leave for the provider.

use actix_web::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::saml::form_page;
use super::{browser, id_of, own_host};
use crate::actors::sso::{self, Departure, Start, Wish};
use crate::domain::identity::EmailAddress;
use crate::domain::ids::ConnectionId;
use crate::domain::sso::ConnectionKind;
use crate::http::extract::{TenantScope, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Whose sign-in is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DiscoverQuery {
    /// E-mail address; only its domain matters.
    #[param(example = "ann@acme.example")]
    email: String,
}

/// Where somebody signs in.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DiscoverResponse {
    /// By these connections; none = with a password.
    connections: Vec<WayIn>,
    /// The tenant lets nobody in by password, but owners in need.
    enforced: bool,
}

/// A connection to sign in by.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WayIn {
    /// Its id.
    id: ConnectionId,
    /// Its name.
    name: String,
    /// What it speaks.
    kind: ConnectionKind,
    /// Where to send the browser.
    start_url: String,
}

/// Where does somebody with this address sign in? The answer is about the address's domain, and the same whether or not anybody has the
/// address.
#[utoipa::path(get, path = "/auth/sso", tag = "sso", operation_id = "sso.discover", params(DiscoverQuery),
    responses((status = 200, description = "The ways in", body = DiscoverResponse),
              (status = 422, description = "`validation-failed`: no address", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::TenantProblems))]
pub(in crate::http) async fn discover(
    Then(scope, web::Query(query)): Then<TenantScope, web::Query<DiscoverQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let email = EmailAddress::parse(&query.email).map_err(|error| Problem::invalid_field("/email", error))?;
    let found = sso::connections_of_address(&state.sso, &scope.tenant, &email).await?;
    let origin = own_host::elsewhere(&state, &scope).unwrap_or_else(|| scope.view.issuer.clone());
    let connections = found
        .into_iter()
        .map(|connection| WayIn {
            id: connection.id,
            kind: connection.kind(),
            name: connection.name,
            start_url: format!("{origin}/auth/sso/{}", connection.id),
        })
        .collect();
    let enforced = scope.view.tenant.config.sso.enforced;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(DiscoverResponse { connections, enforced }))
}

/// How a browser leaves.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StartQuery {
    /// Where the browser goes afterwards, with `code` or `error`: a path of this host, a page of another host of the tenant's, or one of
    /// its `sso.return_urls`; `/` if left out.
    pub(super) return_to: Option<String>,
    /// Comes back with the code; at most 512 bytes.
    pub(super) state: Option<String>,
    /// PKCE challenge of the client that will redeem the code (RFC 7636, S256). Without one, the code is good in this browser only.
    pub(super) code_challenge: Option<String>,
    /// Only `S256`.
    pub(super) code_challenge_method: Option<String>,
    /// Whom the sign-in is for.
    pub(super) login_hint: Option<String>,
    /// Of `POST /auth/sso/step-up` or `/auth/sso/link`; the other parameters are in it.
    pub(super) ticket: Option<String>,
}

/// Send the browser to the provider; from a host of the tenant's own, by way of its subdomain.
#[utoipa::path(get, path = "/auth/sso/{connection}", tag = "sso", operation_id = "sso.start",
    params(("connection" = String, Path, description = "The connection's id"), StartQuery),
    responses((status = 303, description = "To the provider", headers(("Location" = String), ("Set-Cookie" = String))),
              (status = 200, description = "A page that posts itself to a provider of SAML that takes nothing else", body = String, content_type = "text/html", headers(("Set-Cookie" = String))),
              (status = 422, description = "`validation-failed`: `return_to` is not on the list", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::TenantProblems))]
pub(in crate::http) async fn start(
    Then(scope, web::Query(query)): Then<TenantScope, web::Query<StartQuery>>,
    state: web::Data<AppState>,
    connection: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    if let Some(elsewhere) = own_host::elsewhere(&state, &scope) {
        let url = own_host::start_url(&scope.view.issuer, &id_of(&connection)?.to_string(), query, &elsewhere);
        let mut answer = HttpResponse::SeeOther();
        return Ok(answer.insert_header((LOCATION, url)).insert_header((CACHE_CONTROL, "no-store")).finish());
    }
    let StartQuery { return_to, state: client_state, code_challenge, code_challenge_method, login_hint, ticket } =
        query;
    if code_challenge_method.is_some_and(|method| method != "S256") {
        return Err(Problem::invalid_field("/code_challenge_method", "must be S256"));
    }
    let browser = browser::of_or_new(&request, &state)?;
    let start = Start {
        connection: id_of(&connection)?,
        ticket: ticket.as_deref(),
        wish: Wish { return_to, client_state, code_challenge },
        login_hint: login_hint.as_deref().filter(|hint| hint.len() <= 254),
        browser: &browser,
    };
    let mut answer = match sso::begin(&state.sso, &scope.tenant, start).await? {
        Departure::Redirect(url) => {
            HttpResponse::SeeOther().insert_header((LOCATION, url)).insert_header((CACHE_CONTROL, "no-store")).finish()
        }
        Departure::Form { action, fields } => form_page(&action, &fields),
    };
    answer.headers_mut().insert(SET_COOKIE, browser::set(&state, &browser)?);
    Ok(answer)
}
