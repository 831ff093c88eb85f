//! actix-web: the route table, extractors, middleware, and one file for each resource.
//!
//! [`configure`] is the whole route table. What it does not name goes to the company's services (`proxy`).

pub mod access_log;
mod accounts;
pub mod admin;
mod api_keys;
mod audit;
mod auth;
mod billing;
mod challenge;
mod client;
mod context;
mod credential;
mod docs;
pub mod drain;
mod dunning;
pub mod extract;
pub mod gateway;
mod gateway_identity;
mod health;
mod invitations;
pub mod metrics;
mod mfa;
pub mod middleware;
pub mod openapi;
mod operator;
pub mod problem;
mod proxy;
mod quota;
pub mod readiness;
mod scim;
pub mod server;
mod sessions;
mod sso;
mod standing;
pub mod state;
mod tenancy;
mod tenants;
pub mod tls;
mod usage_stream;
mod users;
mod webhooks;
mod websocket;
mod well_known;

use actix_web::guard;
use actix_web::web::{self, ServiceConfig, delete, get, patch, post, put};

pub use client::TrustedNetworks;

use self::problem::{Problem, kinds};

/// First segments of the platform's own paths.
const OWN: [&str; 16] = [
    ".well-known",
    "api-keys",
    "audit",
    "auth",
    "billing",
    "docs",
    "healthz",
    "invitations",
    "openapi.json",
    "operator",
    "readyz",
    "scim",
    "sso",
    "tenants",
    "users",
    "webhooks",
];

/// What the platform serves itself, and the way to the company's services.
pub fn configure(service: &mut ServiceConfig) {
    // A call of a service is not compared with all our paths first, which took a twentieth of what the call takes.
    service.service(web::scope("").guard(guard::fn_guard(|request| is_own(request.head().uri.path()))).configure(own));
    service.default_service(web::to(proxy::proxy));
}

/// Whether a path may be one of the platform's own.
fn is_own(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    // What is encoded is left to the table, which decodes it.
    OWN.binary_search(&first).is_ok() || first.contains('%')
}

/// The whole route table.
fn own(service: &mut ServiceConfig) {
    // Any host.
    resource(service, "/healthz", |r| r.route(get().to(health::healthz)).route(web::head().to(health::healthz)));
    resource(service, "/readyz", |r| r.route(get().to(health::readyz)).route(web::head().to(health::readyz)));
    resource(service, "/openapi.json", |r| r.route(get().to(docs::openapi)));
    resource(service, "/docs", |r| r.route(get().to(docs::page)));
    resource(service, "/docs/{file}", |r| r.route(get().to(docs::asset)));
    resource(service, "/webhooks/stripe", |r| r.route(post().to(webhooks::stripe)));
    resource(service, "/tenants/onboard", |r| r.route(post().to(tenants::onboard)));
    // A tenant's host.
    resource(service, "/.well-known/jwks.json", |r| r.route(get().to(well_known::jwks)));
    resource(service, "/.well-known/openid-configuration", |r| r.route(get().to(well_known::discovery)));
    resource(service, "/auth/login", |r| r.route(post().to(auth::login)));
    resource(service, "/auth/refresh", |r| r.route(post().to(auth::refresh)));
    resource(service, "/auth/logout", |r| r.route(post().to(auth::logout)));
    resource(service, "/auth/sessions", |r| r.route(get().to(sessions::list)));
    resource(service, "/auth/sessions/{id}", |r| r.route(delete().to(sessions::end)));
    resource(service, "/auth/validate", |r| r.route(get().to(auth::validate)).route(post().to(auth::validate_by_post)));
    resource(service, "/auth/me", |r| r.route(get().to(auth::me)));
    resource(service, "/auth/mfa/totp", |r| r.route(post().to(mfa::begin_totp)).route(delete().to(mfa::remove_totp)));
    resource(service, "/auth/mfa/totp/confirm", |r| r.route(post().to(mfa::confirm_totp)));
    resource(service, "/auth/mfa/recovery-codes", |r| r.route(post().to(mfa::renew_recovery_codes)));
    resource(service, "/auth/mfa/verify", |r| r.route(post().to(mfa::verify)));
    resource(service, "/auth/mfa/webauthn", |r| r.route(get().to(mfa::list_passkeys)));
    resource(service, "/auth/mfa/webauthn/register", |r| r.route(post().to(mfa::begin_passkey)));
    resource(service, "/auth/mfa/webauthn/register/finish", |r| r.route(post().to(mfa::finish_passkey)));
    resource(service, "/auth/mfa/webauthn/challenge", |r| r.route(post().to(mfa::challenge_passkey)));
    resource(service, "/auth/mfa/webauthn/verify", |r| r.route(post().to(mfa::verify_passkey)));
    resource(service, "/auth/mfa/webauthn/{id}", |r| r.route(delete().to(mfa::remove_passkey)));
    resource(service, "/auth/webauthn/login", |r| r.route(post().to(mfa::begin_login)));
    resource(service, "/auth/webauthn/login/finish", |r| r.route(post().to(mfa::finish_login)));
    resource(service, "/auth/sso", |r| r.route(get().to(sso::discover)));
    resource(service, "/auth/sso/callback", |r| {
        r.route(get().to(sso::callback)).route(post().to(sso::callback_by_post))
    });
    resource(service, "/auth/sso/token", |r| r.route(post().to(sso::redeem_code)));
    resource(service, "/auth/sso/step-up", |r| r.route(post().to(sso::step_up)));
    resource(service, "/auth/sso/link", |r| r.route(post().to(sso::link)));
    resource(service, "/auth/sso/identities", |r| r.route(get().to(sso::list_identities)));
    resource(service, "/auth/sso/identities/{connection}", |r| r.route(delete().to(sso::unlink)));
    resource(service, "/auth/sso/{connection}", |r| r.route(get().to(sso::start)));
    resource(service, "/auth/sso/{connection}/metadata", |r| r.route(get().to(sso::metadata)));
    resource(service, "/sso/connections", |r| r.route(get().to(sso::list)).route(post().to(sso::create)));
    resource(service, "/sso/connections/{id}", |r| {
        r.route(get().to(sso::get)).route(patch().to(sso::update)).route(delete().to(sso::delete))
    });
    resource(service, "/sso/connections/{id}/test", |r| r.route(post().to(sso::test)));
    resource(service, "/sso/connections/{id}/refresh", |r| r.route(post().to(sso::refresh)));
    resource(service, "/sso/connections/{id}/keys", |r| r.route(post().to(sso::add_key)));
    resource(service, "/sso/connections/{id}/keys/activate", |r| r.route(post().to(sso::activate_key)));
    resource(service, "/auth/invitations/accept", |r| r.route(post().to(invitations::accept)));
    resource(service, "/auth/password", |r| r.route(post().to(accounts::change_password)));
    resource(service, "/auth/password/forgot", |r| r.route(post().to(accounts::forgot)));
    resource(service, "/auth/password/reset", |r| r.route(post().to(accounts::reset)));
    resource(service, "/auth/email", |r| r.route(post().to(accounts::change_email)));
    resource(service, "/auth/email/verify", |r| r.route(post().to(accounts::verify_email)));
    resource(service, "/auth/email/verify/resend", |r| r.route(post().to(accounts::resend_verification)));
    resource(service, "/invitations", |r| r.route(get().to(invitations::list)).route(post().to(invitations::create)));
    resource(service, "/invitations/{id}", |r| r.route(delete().to(invitations::revoke)));
    resource(service, "/invitations/{id}/resend", |r| r.route(post().to(invitations::resend)));
    resource(service, "/users", |r| r.route(get().to(users::list)).route(post().to(users::create)));
    resource(service, "/users/{id}", |r| {
        r.route(get().to(users::get)).route(patch().to(users::update)).route(delete().to(users::delete))
    });
    resource(service, "/users/{id}/factors", |r| r.route(delete().to(users::remove_factors)));
    resource(service, "/users/{id}/sessions/end", |r| r.route(post().to(users::end_sessions)));
    resource(service, "/tenants/{id}", |r| {
        r.route(get().to(tenants::get_tenant)).route(patch().to(tenants::update_tenant))
    });
    resource(service, "/tenants/{id}/config", |r| {
        r.route(get().to(tenants::get_config)).route(put().to(tenants::put_config))
    });
    resource(service, "/api-keys", |r| r.route(get().to(api_keys::list)).route(post().to(api_keys::create)));
    resource(service, "/api-keys/{id}", |r| r.route(web::delete().to(api_keys::revoke)));
    resource(service, "/tenants/{id}/keys", |r| r.route(get().to(tenants::list_keys)));
    resource(service, "/tenants/{id}/keys/rotate", |r| r.route(post().to(tenants::replace_keys)));
    resource(service, "/tenants/{id}/secrets", |r| r.route(get().to(tenants::list_secrets)));
    resource(service, "/tenants/{id}/secrets/{name}", |r| {
        r.route(put().to(tenants::put_secret)).route(delete().to(tenants::delete_secret))
    });
    resource(service, "/tenants/{id}/domains", |r| {
        r.route(get().to(tenants::list_domains)).route(post().to(tenants::claim_domain))
    });
    resource(service, "/tenants/{id}/domains/{domain}", |r| r.route(delete().to(tenants::release_domain)));
    resource(service, "/tenants/{id}/domains/{domain}/verify", |r| r.route(post().to(tenants::verify_domain)));
    resource(service, "/billing/usage/stream", |r| r.route(get().to(usage_stream::open)));
    resource(service, "/billing/usage/stream-ticket", |r| r.route(post().to(usage_stream::make_ticket)));
    resource(service, "/audit", |r| r.route(get().to(audit::list)));
    resource(service, "/audit/checkpoint", |r| r.route(get().to(audit::checkpoint)));
    resource(service, "/billing/usage/{meter}/resume", |r| r.route(post().to(billing::resume)));
    resource(service, "/billing/plans", |r| r.route(get().to(billing::list_plans)));
    resource(service, "/billing/subscription", |r| r.route(get().to(billing::subscription)));
    resource(service, "/billing/subscribe", |r| r.route(post().to(billing::subscribe)));
    resource(service, "/billing/cancel", |r| r.route(post().to(billing::cancel)));
    resource(service, "/billing/portal", |r| r.route(post().to(billing::portal)));
    resource(service, "/billing/invoice", |r| r.route(get().to(billing::list_invoices)));
    resource(service, "/billing/invoice/upcoming", |r| r.route(get().to(billing::upcoming_invoice)));
    resource(service, "/billing/invoice/{id}", |r| r.route(get().to(billing::get_invoice)));
    resource(service, "/billing/invoice/{id}/pdf", |r| r.route(get().to(billing::get_pdf)));
    resource(service, "/billing/profile", |r| {
        r.route(get().to(billing::get_profile)).route(put().to(billing::put_profile))
    });
    resource(service, "/billing/usage/events", |r| r.route(post().to(billing::post_events)));
    resource(service, "/billing/usage", |r| r.route(get().to(billing::get_usage)));
    resource(service, "/scim/tokens", |r| r.route(get().to(scim::tokens::list)).route(post().to(scim::tokens::create)));
    resource(service, "/scim/tokens/{id}", |r| r.route(delete().to(scim::tokens::revoke)));
    resource(service, "/scim/groups", |r| r.route(get().to(scim::mapping::list)));
    resource(service, "/scim/groups/{id}/role", |r| r.route(put().to(scim::mapping::put)));
    // A tenant's identity provider.
    resource(service, "/scim/v2/ServiceProviderConfig", |r| r.route(get().to(scim::discovery::config)));
    resource(service, "/scim/v2/Schemas", |r| r.route(get().to(scim::discovery::schemas)));
    resource(service, "/scim/v2/Schemas/{id}", |r| r.route(get().to(scim::discovery::schema)));
    resource(service, "/scim/v2/ResourceTypes", |r| r.route(get().to(scim::discovery::resource_types)));
    resource(service, "/scim/v2/ResourceTypes/{id}", |r| r.route(get().to(scim::discovery::resource_type)));
    resource(service, "/scim/v2/Me", |r| r.route(get().to(scim::discovery::me)));
    resource(service, "/scim/v2/Bulk", |r| r.route(post().to(scim::bulk::run)));
    resource(service, "/scim/v2/.search", |r| r.route(post().to(scim::search::search_all)));
    resource(service, "/scim/v2/Users", |r| r.route(get().to(scim::users::list)).route(post().to(scim::users::create)));
    resource(service, "/scim/v2/Users/.search", |r| r.route(post().to(scim::users::search)));
    resource(service, "/scim/v2/Users/{id}", |r| {
        r.route(get().to(scim::users::get))
            .route(put().to(scim::users::replace))
            .route(patch().to(scim::users::update))
            .route(delete().to(scim::users::delete))
    });
    resource(service, "/scim/v2/Groups", |r| {
        r.route(get().to(scim::groups::list)).route(post().to(scim::groups::create))
    });
    resource(service, "/scim/v2/Groups/.search", |r| r.route(post().to(scim::groups::search)));
    resource(service, "/scim/v2/Groups/{id}", |r| {
        r.route(get().to(scim::groups::get))
            .route(put().to(scim::groups::replace))
            .route(patch().to(scim::groups::update))
            .route(delete().to(scim::groups::delete))
    });
    // The platform's own tenant.
    resource(service, "/operator/tenants", |r| r.route(get().to(operator::list_tenants)));
    resource(service, "/operator/tenants/{id}/suspend", |r| r.route(post().to(operator::suspend)));
    resource(service, "/operator/tenants/{id}/resume", |r| r.route(post().to(operator::resume)));
    resource(service, "/operator/tenants/{id}/delete", |r| r.route(post().to(operator::delete)));
    resource(service, "/operator/tenants/{id}/rebuild", |r| r.route(post().to(operator::rebuild)));
    resource(service, "/operator/tenants/{id}/plan", |r| r.route(post().to(operator::change_plan)));
    resource(service, "/operator/invitations", |r| r.route(post().to(operator::invite_to_onboard)));
    resource(service, "/operator/mail", |r| r.route(get().to(operator::list_mail)));
    resource(service, "/operator/mail/{tenant_id}/{id}/retry", |r| r.route(post().to(operator::retry_mail)));
    resource(service, "/operator/invoices", |r| r.route(get().to(operator::list_all_invoices)));
    resource(service, "/operator/invoices/{id}/paid", |r| r.route(post().to(operator::mark_paid)));
    resource(service, "/operator/invoices/{id}/credit", |r| r.route(post().to(operator::credit_invoice)));
    resource(service, "/operator/jobs", |r| r.route(get().to(operator::list_jobs)));
    resource(service, "/operator/jobs/{name}/run", |r| r.route(post().to(operator::run_job)));
    resource(service, "/operator/users/import", |r| r.route(post().to(operator::import_users)));
    resource(service, "/operator/rls-check", |r| r.route(get().to(operator::rls_check)));
    resource(service, "/operator/reload", |r| r.route(post().to(operator::reload)));
}

/// A resource whose other methods are answered 405.
fn resource(
    service: &mut ServiceConfig,
    path: &'static str,
    routes: impl FnOnce(actix_web::Resource) -> actix_web::Resource,
) {
    let resource = routes(web::resource(path)).default_service(web::to(method_not_allowed));
    service.service(resource);
}

async fn method_not_allowed(_caller: extract::Caller) -> Result<actix_web::HttpResponse, Problem> {
    Err(Problem::new(&kinds::METHOD_NOT_ALLOWED, "see the API document for the methods of this path"))
}
