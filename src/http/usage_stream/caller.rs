//! Who opens a stream: an admin or a key with `usage:read` by a header, or whoever holds a ticket.

use std::fmt;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;

use crate::actors::tenant::Bucket;
use crate::clock;
use crate::db::{TenantTx, stream_tickets};
use crate::domain::identity::Role;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::scope::Scope;
use crate::http::challenge;
use crate::http::credential;
use crate::http::extract::{Input, Policy, Principal, TenantScope, UserOrKey};
use crate::http::problem::{Problem, kinds};
use crate::http::standing::Standing;
use crate::http::state::AppState;
use crate::http::tenancy;

/// Admins, and keys with `usage:read`.
#[derive(Debug, Clone, Copy)]
struct StreamReader;

impl Policy for StreamReader {
    const SCOPE: Option<Scope> = Some(Scope::UsageRead);

    fn permits(user: &Principal) -> bool {
        user.has_role(&[Role::Owner, Role::Admin]) || user.is_operator()
    }
}

/// Who may open a stream.
#[derive(Debug, Clone)]
pub(in crate::http) struct StreamCaller {
    /// Tenant and request.
    pub(super) scope: TenantScope,
    /// What is asked again and again while the stream is open.
    pub(super) standing: Standing,
}

impl StreamCaller {
    async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let ticket = request.query_string().split('&').find_map(|pair| pair.strip_prefix("ticket="));
        let Some(ticket) = ticket else {
            let caller = UserOrKey::<StreamReader>::from_request(request, &mut Payload::None).await?;
            return Ok(Self { standing: Standing::of(&caller.identity), scope: caller.scope });
        };
        if credential::is_present(request.headers()) {
            return Err(Problem::new(&kinds::MALFORMED_REQUEST, "send a ticket or another credential, and not both"));
        }
        let mut scope = TenantScope::from_request(request, &mut Payload::None).await?;
        let standing = spend(request, &scope, ticket).await?;
        scope.view = scope.tenant.view_full();
        Ok(Self { scope, standing })
    }
}

/// Uses the ticket up. A forged one costs no query.
async fn spend(request: &HttpRequest, scope: &TenantScope, ticket: &str) -> Result<Standing, Problem> {
    let state = request.app_data::<web::Data<AppState>>().ok_or_else(|| Problem::new(&kinds::INTERNAL, "no state"))?;
    let refused = || challenge::unauthorized(&kinds::INVALID_TOKEN, "the ticket is not valid (any more)");
    let TenantScope { tenant, view, caller } = scope;
    let id = row_token::decode(ticket, RowTokenPurpose::StreamTicket, tenant.id(), &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| refused())?;
    tenancy::admit(state, &caller.context, tenant, view, Bucket::SignedIn)?;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let holder = stream_tickets::spend(&mut tx, id).await?;
    tx.commit().await?;
    let holder = holder.ok_or_else(refused)?;
    let standing = Standing::of_ticket(&holder);
    if standing.check(&tenant.view(), clock::now_s()).is_err() {
        return Err(refused());
    }
    caller.context.user.set(Some(holder.user));
    Ok(standing)
}

impl FromRequest for StreamCaller {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Self::of(&request).await }.boxed_local()
    }
}

/// Where a stream begins.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StreamQuery {
    /// Number of the last event that the client has seen: those after it are sent, after the picture.
    #[param(minimum = 0)]
    pub(super) resume_from: Option<u64>,
    /// A ticket of `POST /billing/usage/stream-ticket`, in place of a header.
    #[serde(rename = "ticket")]
    #[expect(dead_code, reason = "it is read before the caller is known")]
    ticket: Option<String>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("query", &self.query).finish_non_exhaustive()
    }
}

/// The query, and what the client sends on the stream.
pub(in crate::http) struct Opening {
    /// The query.
    pub(super) query: StreamQuery,
    /// The client's side of the connection.
    pub(super) payload: web::Payload,
}

impl Input for Opening {
    fn read(request: &HttpRequest, mut payload: Payload) -> LocalBoxFuture<'static, Result<Self, actix_web::Error>> {
        let query = <web::Query<StreamQuery> as Input>::read(request, Payload::None);
        let payload = web::Payload::from_request(request, &mut payload);
        async move { Ok(Self { query: query.await?.into_inner(), payload: payload.await? }) }.boxed_local()
    }
}
