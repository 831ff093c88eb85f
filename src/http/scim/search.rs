//! Searching among all kinds of resources at once.

use actix_web::{HttpResponse, web};

use super::answer;
use super::document::{BodyErrors, ScimErrors, ScimList, ScimMessage};
use super::input::ScimBody;
use crate::actors::scim;
use crate::domain::scim::list::Question;
use crate::http::extract::{Provisioner, Then};
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Users, and then groups, that pass a filter. A filter on attributes that only one kind has finds that kind.
#[utoipa::path(post, path = "/scim/v2/.search", tag = "scim", operation_id = "scim.search", security(("bearer" = [])),
    request_body(content = ScimMessage, content_type = "application/scim+json"),
    responses((status = 200, description = "A page", body = ScimList, content_type = "application/scim+json"), ScimErrors, BodyErrors))]
pub(in crate::http) async fn search_all(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let question = Question::parse(body)?;
    Ok(answer::page(scim::ask_all(&by.desk(&state), &question).await?))
}
