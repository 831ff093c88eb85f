//! Import of users of another system.

use std::collections::BTreeMap;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::actors::accounts::{self, ImportOutcome, ImportRow};
use crate::actors::tenant::Wanted;
use crate::domain::identity::{EmailAddress, Role, parse_person_name};
use crate::domain::ids::{TenantId, UserId};
use crate::domain::imported_hash::ImportedHash;
use crate::domain::tenant::{PLATFORM_SLUG, Slug};
use crate::http::extract::{Operator, RawBody, SteppedUp, Then, check_fields, parse_field, parse_json, read_body};
use crate::http::openapi;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// Users in one request at most.
const MAX_ROWS: usize = 1_000;
/// Bytes in one request at most.
const MAX_BYTES: usize = 1 << 20;

/// A user of another system.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ImportUser {
    /// The tenant's subdomain or id.
    tenant: String,
    /// E-mail address.
    email: String,
    /// Display name, 1 to 200 characters.
    name: Option<String>,
    /// Role; `member` if left out.
    role: Option<Role>,
    /// Hash of the user's password: argon2id or argon2i in PHC form (m up to 65536, t up to 10, p up to 8), or bcrypt of cost 4 to 14. It
    /// is replaced by one of the platform's own when the user signs in.
    password_hash: String,
}

/// What became of a row.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ImportResult {
    /// Where the row stands in the request, from 0.
    index: usize,
    /// `imported`, `taken` (the address is a user's already) or `rejected`.
    status: &'static str,
    /// The user that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UserId>,
    /// What is wrong with the row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// What became of the rows.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ImportResponse {
    /// In the order of the request.
    results: Vec<ImportResult>,
}

/// Import up to 1,000 users with the hashes of their passwords: a JSON array, or a line for each (`application/x-ndjson`). Bad rows are
/// named and the others are kept; the rows of one tenant are written together.
#[utoipa::path(post, path = "/operator/users/import", tag = "operator", operation_id = "operator.users.import", security(("bearer" = [])),
    request_body(content((Vec<ImportUser> = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, description = "What became of each row", body = ImportResponse),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn import_users(
    Then(operator, RawBody(payload)): Then<SteppedUp<Operator>, RawBody>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let body = read_body(payload, MAX_BYTES).await?;
    let rows = split(&request, &body)?;
    if rows.len() > MAX_ROWS {
        return Err(Problem::invalid_field("", format!("must have at most {MAX_ROWS} rows")));
    }
    let mut results = Vec::with_capacity(rows.len());
    let mut by_tenant: BTreeMap<TenantId, Vec<ImportRow>> = BTreeMap::new();
    for (index, row) in rows.into_iter().enumerate() {
        let checked = match row {
            Ok(row) => check(&state, index, &row).await?,
            Err(mistake) => Err(mistake.into_errors()),
        };
        match checked {
            Ok((tenant, row)) => by_tenant.entry(tenant).or_default().push(row),
            Err(errors) => results.push(ImportResult { index, status: "rejected", id: None, errors }),
        }
    }
    for (tenant, rows) in by_tenant {
        let outcomes = accounts::import(&state.accounts, tenant, operator.asker(), rows).await?;
        results.extend(outcomes.into_iter().map(|(index, outcome)| match outcome {
            ImportOutcome::Imported(id) => ImportResult { index, status: "imported", id: Some(id), errors: Vec::new() },
            ImportOutcome::Taken => ImportResult { index, status: "taken", id: None, errors: Vec::new() },
        }));
    }
    results.sort_by_key(|result| result.index);
    Ok(HttpResponse::Ok().json(ImportResponse { results }))
}

/// A row that was not looked into yet, or why a line is none.
type Row = Result<Box<RawValue>, Problem>;

/// The rows of a request.
fn split(request: &HttpRequest, body: &[u8]) -> Result<Vec<Row>, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(parse_json::<Vec<Box<RawValue>>>(body)?.into_iter().map(Ok).collect()),
        "application/x-ndjson" => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            Ok(lines.map(parse_json).collect())
        }
        _ => Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, "send application/json or application/x-ndjson")),
    }
}

/// Checks a row: the mistakes of one are no reason to refuse the others.
async fn check(
    state: &AppState,
    index: usize,
    row: &RawValue,
) -> Result<Result<(TenantId, ImportRow), Vec<FieldError>>, Problem> {
    let ImportUser { tenant, email, name, role, password_hash } = match parse_json(row.get().as_bytes()) {
        Ok(user) => user,
        Err(problem) => return Ok(Err(problem.into_errors())),
    };
    let mut errors = Vec::new();
    let tenant = find_tenant(state, &tenant).await?;
    if tenant.is_none() {
        errors.push(FieldError { pointer: "/tenant".to_owned(), detail: "there is no such tenant".to_owned() });
    }
    let role = role.unwrap_or(Role::Member);
    if role == Role::Operator && tenant.is_none_or(|(_, is_platform)| !is_platform) {
        let detail = "this role is for the platform's own tenant".to_owned();
        errors.push(FieldError { pointer: "/role".to_owned(), detail });
    }
    let email = parse_field(&mut errors, "/email", EmailAddress::parse(&email));
    let name = parse_field(&mut errors, "/name", name.as_deref().map(parse_person_name).transpose());
    let password_hash = parse_field(&mut errors, "/password_hash", ImportedHash::parse(&password_hash));
    let fields = tenant.zip(email).zip(name).zip(password_hash);
    Ok(match check_fields(errors, fields) {
        Ok(((((tenant, _), email), name), password_hash)) => {
            Ok((tenant, ImportRow { index, email, name, role, password_hash }))
        }
        Err(problem) => Err(problem.into_errors()),
    })
}

/// The tenant of that subdomain or id, and whether it is the platform's own.
async fn find_tenant(state: &AppState, name: &str) -> Result<Option<(TenantId, bool)>, Problem> {
    let wanted = match (name.parse::<TenantId>(), Slug::parse(name)) {
        (Ok(id), _) => Wanted::Id(id),
        (Err(_), Ok(slug)) => Wanted::Slug(slug.as_str().into()),
        (Err(_), Err(_)) => return Ok(None),
    };
    match tenancy::resolve(state, wanted).await {
        Ok(tenant) => Ok(Some((tenant.id(), tenant.slug().as_str() == PLATFORM_SLUG))),
        Err(problem) if problem.kind() == &kinds::UNKNOWN_TENANT => Ok(None),
        Err(problem) => Err(problem),
    }
}
