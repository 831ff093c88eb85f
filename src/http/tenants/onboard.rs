//! `POST /tenants/onboard`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TenantResponse, invitation, region_error};
use crate::actors::auth::HashPassword;
use crate::actors::onboarding::{self, FirstUser, Onboard};
use crate::actors::tenant::canonical_url;
use crate::config::OnboardingMode;
use crate::domain::audit::AuditActor;
use crate::domain::identity::{EmailAddress, NewPassword, Role, parse_person_name};
use crate::domain::ids::UserId;
use crate::domain::tenant::{Slug, TenantName, TenantState};
use crate::http::extract::{Json, OptionalUser, Principal, Then, parse_field};
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;
use crate::http::{challenge, openapi};

/// Longest wait for the password's hash.
const HASH_DEADLINE: Duration = Duration::from_secs(10);

/// A tenant to be, and its first user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OnboardRequest {
    /// Display name, 1 to 200 characters.
    #[schema(example = "Acme GmbH")]
    name: String,
    /// One DNS label that nobody has; the tenant lives at `<subdomain>.<base domain>`.
    #[schema(example = "acme")]
    subdomain: String,
    /// Where its data lives; the platform's first region if left out.
    region: Option<String>,
    /// Plan; the platform's default plan if left out. One that costs something is chosen by subscribing, or by an operator.
    plan: Option<String>,
    /// The first user, who becomes the owner.
    admin: AdminRequest,
    /// Token of an invitation, where onboarding is for the invited.
    #[schema(value_type = Option<String>, format = Password)]
    invitation_token: Option<SecretString>,
}

/// The first user of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AdminRequest {
    /// E-mail address.
    #[schema(example = "owner@acme.test")]
    email: String,
    /// Password, 8 to 128 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Display name, 1 to 200 characters.
    name: Option<String>,
}

/// What onboarding made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct OnboardResponse {
    /// The tenant.
    tenant: TenantResponse,
    /// Its owner.
    admin: AdminResponse,
    /// Where it lives.
    url: String,
}

/// The owner of a new tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AdminResponse {
    /// Id.
    id: UserId,
    /// E-mail address.
    email: String,
    /// Role.
    role: Role,
}

/// A request whose every field is well formed.
struct Wish {
    name: TenantName,
    slug: Slug,
    region: String,
    plan: String,
    email: EmailAddress,
    password: NewPassword,
    person: Option<String>,
}

/// Create a tenant and its owner.
#[utoipa::path(post, path = "/tenants/onboard", tag = "tenants", operation_id = "tenant.onboard", request_body = OnboardRequest,
    responses((status = 201, description = "Made", body = OnboardResponse),
              (status = 400, description = "`malformed-request`, or `invalid-link`: the invitation's token is not good (any more)", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 401, description = "Onboarding is for operators or the invited, and no token was sent; or a token that is not good", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 403, description = "Onboarding is for operators; or the token is for another tenant", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 404, description = "`unknown-tenant`, of the token", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 409, description = "`subdomain-taken`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::CommonProblems))]
pub(in crate::http) async fn onboard(
    Then(caller, Json(mut body)): Then<OptionalUser, Json<OnboardRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let actor = permit(&caller, &state, body.invitation_token.is_some())?;
    let token = body.invitation_token.take();
    let Wish { name, slug, region, plan, email, password, person } = check(&state, body, caller.operator().is_some())?;
    let password_hash = state.auth.ask(HashPassword { password }, HASH_DEADLINE).await?;
    let invitation = match &token {
        Some(token) => Some(invitation::claim(&state, token, caller.caller.source.clone()).await?),
        None => None,
    };
    // The mail with the token was read, so the address is proven if it is the same one.
    let is_verified = invitation.as_ref().is_some_and(|invitation| invitation.proves(&email));
    let admin = FirstUser { email: email.clone(), name: person, password_hash, is_verified, role: Role::Owner };
    let wish = Onboard {
        slug: slug.clone(),
        name: name.clone(),
        region: region.clone(),
        plan: plan.clone(),
        admin: Some(admin),
        actor,
        source: caller.caller.source,
    };
    let made = match onboarding::onboard(&state.settings, &state.db, &state.master, wish).await {
        Ok(made) => made,
        Err(error) => {
            if let Some(invitation) = invitation {
                invitation.release(&state).await;
            }
            return Err(error.into());
        }
    };
    // Somebody may have asked for this name a moment ago.
    state.registry.forget_unknown();
    let admin = made.admin.ok_or_else(|| Problem::new(&kinds::INTERNAL, "no admin"))?;
    let url = canonical_url(&state.settings, &slug);
    Ok(HttpResponse::Created()
        .insert_header((actix_web::http::header::LOCATION, format!("/tenants/{}", made.tenant)))
        .json(OnboardResponse {
            tenant: TenantResponse {
                id: made.tenant,
                name: name.as_str().to_owned(),
                subdomain: slug.to_string(),
                region,
                plan,
                state: TenantState::Active,
                created_at: made.created_at,
                delete_after: None,
            },
            admin: AdminResponse { id: admin, email: email.to_string(), role: Role::Owner },
            url,
        }))
}

/// Whether the caller may onboard, and as whom. A token only has to be there: it is looked at once everything else is well.
fn permit(caller: &OptionalUser, state: &AppState, has_token: bool) -> Result<AuditActor, Problem> {
    match (state.settings.onboarding.mode, caller.operator()) {
        (_, Some(operator)) => Ok(operator.audit_actor()),
        (OnboardingMode::Open, None) => Ok(AuditActor::Anonymous),
        (OnboardingMode::Invite, None) if has_token => Ok(AuditActor::Anonymous),
        (OnboardingMode::Invite | OnboardingMode::Operator, None) if caller.user.is_some() => {
            Err(Principal::forbidden())
        }
        (OnboardingMode::Invite, None) => Err(challenge::unauthorized(
            &kinds::AUTHENTICATION_REQUIRED,
            "an invitation_token is needed, or an operator",
        )),
        (OnboardingMode::Operator, None) => {
            Err(challenge::unauthorized(&kinds::AUTHENTICATION_REQUIRED, "an operator must do this"))
        }
    }
}

/// What is wrong with a plan. What costs something is chosen by subscribing, where somebody answers for it; or by an operator.
fn plan_error(state: &AppState, plan: &str, is_operator: bool) -> Option<FieldError> {
    let default = &state.settings.onboarding.default_plan;
    let may_have = |name: &str, price_minor: i64| is_operator || name == default || price_minor == 0;
    let plans: Vec<_> = state.settings.plans.iter().filter(|(name, plan)| may_have(name, plan.price_minor)).collect();
    if plans.iter().any(|(name, _)| *name == plan) {
        return None;
    }
    let names: Vec<_> = plans.iter().map(|(name, _)| name.as_str()).collect();
    Some(FieldError { pointer: "/plan".to_owned(), detail: format!("must be one of {}", names.join(", ")) })
}

/// Checks every field, so that one answer names all mistakes.
fn check(state: &AppState, body: OnboardRequest, is_operator: bool) -> Result<Wish, Problem> {
    let OnboardRequest { name, subdomain, region, plan, admin, invitation_token: _ } = body;
    let AdminRequest { email, password, name: person } = admin;
    let onboarding = &state.settings.onboarding;
    let mut errors = Vec::new();
    let name = parse_field(&mut errors, "/name", TenantName::parse(&name));
    let slug = parse_field(&mut errors, "/subdomain", Slug::parse_new(&subdomain, &onboarding.reserved_subdomains));
    let email = parse_field(&mut errors, "/admin/email", EmailAddress::parse(&email));
    let password = parse_field(&mut errors, "/admin/password", NewPassword::parse(password));
    let person = match person.as_deref().map(parse_person_name) {
        None => Some(None),
        Some(parsed) => parse_field(&mut errors, "/admin/name", parsed).map(Some),
    };
    let region = region.unwrap_or_else(|| onboarding.regions.first().cloned().unwrap_or_default());
    errors.extend(region_error(state, &region));
    let plan = plan.unwrap_or_else(|| onboarding.default_plan.clone());
    errors.extend(plan_error(state, &plan, is_operator));
    match (name, slug, email, password, person) {
        (Some(name), Some(slug), Some(email), Some(password), Some(person)) if errors.is_empty() => {
            let local = email.as_str().split('@').next().unwrap_or_default();
            let words = [name.as_str(), slug.as_str(), email.as_str(), local];
            password.check_context(&words).map_err(|error| Problem::invalid_field("/admin/password", error))?;
            Ok(Wish { name, slug, region, plan, email, password, person })
        }
        _ => Err(Problem::invalid_fields(errors)),
    }
}
