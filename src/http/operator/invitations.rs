//! Invitations to found a tenant.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::accounts;
use crate::domain::identity::EmailAddress;
use crate::domain::ids::InvitationId;
use crate::http::extract::{Json, Operator, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Who is invited to found a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OnboardingInviteRequest {
    /// E-mail address.
    #[schema(example = "founder@initech.test")]
    email: String,
}

/// An invitation to found a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct OnboardingInvitationResponse {
    /// Id.
    id: InvitationId,
    /// E-mail address.
    email: String,
    /// When its link stops working.
    expires_at: DateTime<Utc>,
}

/// Invite somebody to found a tenant: the mail's link carries the `invitation_token` of `POST /tenants/onboard`. An open invitation of
/// the same address is replaced.
#[utoipa::path(post, path = "/operator/invitations", tag = "operator", operation_id = "operator.invitations.create",
    security(("bearer" = [])), request_body = OnboardingInviteRequest,
    responses((status = 201, description = "Invited", body = OnboardingInvitationResponse),
              (status = 409, description = "`conflict`: invited twice at once", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn invite_to_onboard(
    Then(operator, Json(body)): Then<Operator, Json<OnboardingInviteRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let email = EmailAddress::parse(&body.email).map_err(|error| Problem::invalid_field("/email", error))?;
    // Operators are of the platform's own tenant, where these invitations live.
    let platform = &operator.scope.view;
    let made = accounts::invite_to_onboard(&state.accounts, platform, operator.asker(), &email).await?;
    let (id, email, expires_at) = (made.id, made.email, made.expires_at);
    Ok(HttpResponse::Created().json(OnboardingInvitationResponse { id, email, expires_at }))
}
