//! Many operations in one request (RFC 7644 §3.7).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use serde_json::{Value, json};

use super::answer;
use super::document::{BodyErrors, ScimErrors, ScimMessage};
use super::input::ScimBody;
use crate::actors::scim::{self, Outcome, Tried};
use crate::domain::scim::bulk;
use crate::domain::scim::user::entity_tag;
use crate::http::extract::{Provisioner, Then};
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Do up to 100 operations. Each is done or refused by itself, and `bulkId:` refers to what another one makes. After `failOnErrors`
/// errors nothing more is done, and the answer has no more entries.
#[utoipa::path(post, path = "/scim/v2/Bulk", tag = "scim", operation_id = "scim.bulk", security(("bearer" = [])),
    request_body(content = ScimMessage, content_type = "application/scim+json"),
    responses((status = 200, description = "What became of each", body = ScimMessage, content_type = "application/scim+json"),
              ScimErrors, BodyErrors))]
pub(in crate::http) async fn run(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let request = bulk::parse(&body)?;
    let tried = scim::run_bulk(&by.desk(&state), request).await;
    let entries: Vec<Value> = tried.into_iter().map(entry).collect();
    Ok(answer::body(
        StatusCode::OK,
        &json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"], "Operations": entries,
        }),
    ))
}

fn entry(tried: Tried) -> Value {
    let Tried { echo, outcome } = tried;
    let mut entry = json!({ "method": echo.method });
    let mut put = |name: &str, value: Value| {
        if let Value::Object(entry) = &mut entry {
            entry.insert(name.to_owned(), value);
        }
    };
    if let Some(bulk_id) = echo.bulk_id {
        put("bulkId", json!(bulk_id));
    }
    match outcome {
        Outcome::Done(status, found) => {
            put("status", json!(status.to_string()));
            if let Some(found) = found {
                put("location", json!(found.location));
                put("version", json!(entity_tag(found.version)));
            }
        }
        Outcome::Changed(location, version) => {
            put("status", json!("204"));
            put("location", json!(location));
            put("version", json!(entity_tag(version)));
        }
        Outcome::Failed(failure) => {
            let problem = Problem::from(failure);
            put("status", json!(problem.status_code().as_u16().to_string()));
            put("response", problem.scim_value());
        }
    }
    entry
}
