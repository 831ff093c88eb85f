//! The OpenAPI document, generated from the handlers. Sets of error answers that many calls share stand here once.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::problem::{FieldError, PROBLEM_JSON};
use super::{
    accounts, api_keys, audit, auth, billing, docs, health, invitations, mfa, operator, scim, sessions, sso, tenants,
    usage_stream, users, webhooks, well_known,
};

/// An error answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemSchema {
    /// Stable name of the kind of problem, as a URN.
    #[schema(example = "urn:businessos:problem:rate-limited")]
    r#type: String,
    /// What kind of problem it is, for people.
    title: String,
    /// The HTTP status again.
    status: u16,
    /// Stable name of the kind of problem, for programs.
    #[schema(example = "rate-limited")]
    code: String,
    /// What happened in this case.
    detail: String,
    /// Id of the request, to quote to support.
    request_id: String,
    /// The fields that are wrong, with status 422.
    errors: Option<Vec<FieldError>>,
    /// Where to get what the plan lacks.
    upgrade_url: Option<String>,
    /// With `quota-exceeded` and `quota-throttled`: the meter.
    meter: Option<String>,
    /// With `quota-exceeded` and `quota-throttled`: the limit that was reached.
    limit: Option<i64>,
    /// With `quota-exceeded` and `quota-throttled`: used in the present period.
    used: Option<i64>,
    /// With `quota-exceeded` and `quota-throttled`: when the period ends.
    resets_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// It works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// Always `ok`.
    status: String,
}

/// It does not.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotReady {
    /// Always `unavailable`.
    status: String,
    /// Part → what is wrong with it.
    failing: BTreeMap<String, String>,
}

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Debug, Serialize, ToSchema)]
pub struct Jwks {
    /// The keys.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// Where a tenant's endpoints are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Discovery {
    /// Issuer of the tenant's tokens.
    issuer: String,
    /// Where its keys are.
    jwks_uri: String,
}

fn problems(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    list.iter()
        .map(|(status, description)| {
            let content = Content::new(Some(Ref::from_schema_name("ProblemSchema")));
            let response = ResponseBuilder::new().description(*description).content(PROBLEM_JSON, content).build();
            ((*status).to_owned(), RefOr::T(response))
        })
        .collect()
}

macro_rules! problem_set {
    ($(#[$doc:meta])* $name:ident $(extends $base:ident)? : $($status:literal $description:literal),+) => {
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let bases: Vec<BTreeMap<String, RefOr<Response>>> = vec![$($base::responses())?];
                let own = problems(&[$(($status, $description)),+]);
                bases.into_iter().flatten().chain(own).collect()
            }
        }
    };
}

problem_set!(
    /// What every call may answer.
    CommonProblems:
    "400" "`malformed-request`: not a proper request",
    "414" "`uri-too-long`",
    "417" "`expectation-failed`",
    "429" "`rate-limited` or, where a password is checked, `too-many-attempts`, or for a stream `too-many-connections`: wait for `Retry-After` seconds",
    "431" "`headers-too-large`",
    "500" "`internal`: a bug; quote the request id",
    "503" "`unavailable` or `overloaded`: wait for `Retry-After` seconds"
);
problem_set!(
    /// What a call with a body may answer.
    BodyProblems extends CommonProblems:
    "408" "`request-timeout`: the body did not arrive in time",
    "413" "`payload-too-large`",
    "415" "`unsupported-media-type`: send JSON",
    "422" "`validation-failed`, with JSON pointers to the fields"
);
problem_set!(
    /// What a call on a tenant's host may answer.
    TenantProblems extends CommonProblems:
    "403" "`tenant-suspended`, or `tenant-mismatch`: host, header and token name different tenants",
    "404" "`unknown-tenant`"
);
problem_set!(
    /// What a call with an access token may answer.
    SignedInProblems extends CommonProblems:
    "401" "`authentication-required`, `invalid-token`, or `insufficient_user_authentication` where a second factor is asked for",
    "403" "`forbidden`, `insufficient-scope` (an API key), `tenant-suspended` or `tenant-mismatch`",
    "404" "`unknown-tenant`"
);
problem_set!(
    /// What a call on a thing may answer.
    ThingProblems extends CommonProblems:
    "401" "`authentication-required`, `invalid-token`, or `insufficient_user_authentication` where a second factor is asked for",
    "403" "`forbidden`, `insufficient-scope` (an API key), `tenant-suspended` or `tenant-mismatch`",
    "404" "`not-found` (the same for a thing of another tenant) or `unknown-tenant`"
);
problem_set!(
    /// What a call about second factors may answer.
    FactorProblems extends CommonProblems:
    "401" "`authentication-required`, `invalid-token`, `invalid-mfa-token`, `invalid-mfa-code`, `invalid-passkey`, or \
           `insufficient_user_authentication` with a challenge (RFC 9470)",
    "403" "`tenant-suspended` or `tenant-mismatch`",
    "404" "`unknown-tenant`, or `not-found`: no such factor, or no enrolment waits"
);
problem_set!(
    /// What a change of state may answer besides.
    SwitchProblems:
    "409" "`conflict`: not possible in the present state"
);

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token; where a call says so, an API key (also in `X-Api-Key`)."))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "BusinessOS core", description = "Gateway, sign-in and tenants. A tenant's calls go to its own host, \
        `<subdomain>.<base domain>`; a client that cannot set the host sends `X-Tenant`."),
    paths(
        health::healthz, health::readyz, docs::openapi, docs::page, docs::asset,
        tenants::onboard, tenants::get_tenant, tenants::update_tenant, tenants::get_config, tenants::put_config,
        tenants::list_keys, tenants::replace_keys,
        tenants::list_secrets, tenants::put_secret, tenants::delete_secret,
        tenants::list_domains, tenants::claim_domain, tenants::verify_domain, tenants::release_domain,
        sso::discover, sso::start, sso::callback, sso::callback_by_post, sso::redeem_code, sso::step_up, sso::link,
        sso::list_identities, sso::unlink,
        sso::list, sso::create, sso::get, sso::update, sso::delete, sso::test, sso::refresh,
        sso::add_key, sso::activate_key, sso::metadata,
        well_known::jwks, well_known::discovery,
        auth::login, auth::refresh, auth::logout, auth::validate, auth::validate_by_post, auth::me,
        mfa::begin_totp, mfa::confirm_totp, mfa::remove_totp, mfa::renew_recovery_codes, mfa::verify,
        api_keys::list, api_keys::create, api_keys::revoke, audit::list, audit::checkpoint,
        sessions::list, sessions::end,
        usage_stream::open, usage_stream::make_ticket,
        mfa::list_passkeys, mfa::begin_passkey, mfa::finish_passkey, mfa::challenge_passkey, mfa::verify_passkey,
        mfa::remove_passkey, mfa::begin_login, mfa::finish_login,
        operator::list_tenants, operator::suspend, operator::resume, operator::delete, operator::rebuild,
        operator::change_plan, billing::resume, billing::list_plans, billing::subscription,
        billing::subscribe, billing::cancel, billing::portal, billing::list_invoices, billing::get_invoice, billing::upcoming_invoice, billing::get_pdf, billing::get_profile, billing::put_profile,
        operator::list_all_invoices, operator::mark_paid, operator::credit_invoice,
        accounts::forgot, accounts::reset, accounts::change_password, accounts::change_email, accounts::verify_email,
        accounts::resend_verification,
        invitations::accept, invitations::create, invitations::list, invitations::revoke, invitations::resend,
        users::list, users::create, users::get, users::update, users::delete, users::end_sessions, users::remove_factors,
        billing::post_events, billing::get_usage,
        webhooks::stripe,
        scim::tokens::list, scim::tokens::create, scim::tokens::revoke, scim::mapping::list, scim::mapping::put,
        scim::discovery::config, scim::discovery::schemas, scim::discovery::schema, scim::discovery::resource_types,
        scim::discovery::resource_type, scim::discovery::me, scim::bulk::run, scim::search::search_all,
        scim::users::list, scim::users::search, scim::users::create, scim::users::get, scim::users::replace,
        scim::users::update, scim::users::delete,
        scim::groups::list, scim::groups::search, scim::groups::create, scim::groups::get, scim::groups::replace,
        scim::groups::update, scim::groups::delete,
        operator::invite_to_onboard, operator::list_jobs, operator::run_job, operator::list_mail, operator::retry_mail, operator::import_users,
        operator::rls_check, operator::reload,
    ),
    components(schemas(ProblemSchema, FieldError, scim::document::ScimErrorSchema)),
    modifiers(&Bearer),
    tags(
        (name = "platform", description = "On any host"),
        (name = "tenants", description = "Onboarding, and what a tenant's admins see and set"),
        (name = "auth", description = "On a tenant's host"),
        (name = "mfa", description = "Second factors, on a tenant's host"),
        (name = "sso", description = "Sign-in by the tenant's identity providers, on its host"),
        (name = "users", description = "A tenant's users and invitations, for its admins"),
        (name = "billing", description = "Usage, limits and plans, on a tenant's host"),
        (name = "scim", description = "SCIM 2.0 (RFC 7644) for a tenant's identity provider, and what admins set of it. Below \
            `/scim/v2` the bearer token is one of `POST /scim/tokens`, and errors are as RFC 7644 §3.12 has them"),
        (name = "webhooks", description = "What other services tell, on any host"),
        (name = "operator", description = "On the host of the tenant `platform`, for its operators"),
    )
)]
struct Api;

/// The document as JSON.
#[must_use]
pub fn json() -> String {
    // A generated document always serialises.
    Api::openapi().to_pretty_json().unwrap_or_default()
}
