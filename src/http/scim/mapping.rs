//! Which roles the provider's groups give: for a tenant's admins.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::scim::{self, Changer, Desk};
use crate::db::TenantTx;
use crate::db::scim_groups::{self, MappedGroup};
use crate::domain::ids::ScimGroupId;
use crate::domain::scim::role::GroupRole;
use crate::http::extract::{AdminOfTenant, Json, Page, PageQuery, Principal, SteppedUp, Then};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// A group of the identity provider's.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct GroupResponse {
    /// Id.
    id: ScimGroupId,
    /// Name.
    display_name: String,
    /// Role of its members; none: the group gives none.
    role: Option<GroupRole>,
    /// Members.
    n_members: i64,
}

impl From<MappedGroup> for GroupResponse {
    fn from(group: MappedGroup) -> Self {
        let MappedGroup { id, display_name, role, n_members } = group;
        Self { id, display_name, role, n_members }
    }
}

/// Which groups are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct GroupsQuery {
    /// Id of the last group of the page before.
    after: Option<String>,
    /// Groups wanted, 1 to 200; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// The groups that the identity provider keeps, with the roles that they give.
#[utoipa::path(get, path = "/scim/groups", tag = "scim", operation_id = "scim.group_role.list", security(("bearer" = [])), params(GroupsQuery),
    responses((status = 200, description = "A page", body = Page<GroupResponse>),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn list(
    Then(admin, query): Then<AdminOfTenant, web::Query<GroupsQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let GroupsQuery { after, limit } = query.into_inner();
    let page = PageQuery { after, limit, state: None };
    let (limit, after) = (page.limit_or_problem()?, page.after_id()?);
    let mut tx = TenantTx::begin_read(&state.db, admin.scope.tenant.id()).await?;
    let rows = scim_groups::list_mapped(&mut tx, after, limit + 1).await?;
    tx.finish();
    let items = rows.into_iter().map(GroupResponse::from).collect();
    Ok(HttpResponse::Ok().json(Page::cut(items, limit, |group: &GroupResponse| group.id.to_string())))
}

/// The role that a group gives.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MapRequest {
    /// `member`, `billing` or `admin`; null: none. Nobody becomes an owner or an operator by membership.
    role: Option<GroupRole>,
}

/// Say which role a group gives. Asks for a second factor within the last five minutes. Members whose role changes sign in again; who is
/// in several groups has the highest of their roles; owners keep theirs.
#[utoipa::path(put, path = "/scim/groups/{id}/role", tag = "scim", operation_id = "scim.group_role.put", security(("bearer" = [])),
    params(("id" = String, Path, description = "The group's id")), request_body = MapRequest,
    responses((status = 200, description = "The group", body = GroupResponse), openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn put(
    Then(admin, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<MapRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such group");
    let id: ScimGroupId = id.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let mapped = scim::map_role(&desk(&admin, &state), id, body.role).await?;
    Ok(HttpResponse::Ok().json(GroupResponse {
        id,
        display_name: mapped.group.display_name,
        role: mapped.role,
        n_members: mapped.n_members,
    }))
}

fn desk(admin: &Principal, state: &AppState) -> Desk {
    let asker = admin.asker();
    Desk {
        context: state.accounts.clone(),
        tenant: admin.scope.tenant.clone(),
        base: String::new(),
        changer: Changer { actor: asker.actor, rank: asker.role, source: asker.source },
    }
}
