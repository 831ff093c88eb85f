//! Who is asking: the tenant context that the gateway signs for each request.
//!
//! `X-Tenant-Id`, `X-User-Id` and so on are handy but prove nothing: whoever reaches this port could send them. So a
//! handler takes [`Tenant`], which exists only for a valid `X-Tenant-Context`: a JWS (RFC 7515) that lives for a minute,
//! for this service alone, signed with a key of that very tenant. A tenant's key that leaks opens no other tenant.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use jsonwebtoken::{Header, Validation, dangerous, decode_header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keys::{Key, KeyError, KeyStore};
use crate::problem::Problem;

/// This service as the gateway calls it: the prefix of its route. A context for another service is worth nothing here.
const AUDIENCE: &str = "/crm";
/// Keeps other tokens of the same tenant, such as users' access tokens, from passing as a context.
const TYPE: &str = "tenant-context+jwt";
/// The platform's clock and ours may differ by so many seconds.
const LEEWAY_S: u64 = 5;
/// Longer contexts are not looked at.
const MAX_BYTES: usize = 8 * 1024;

/// What the platform says about a request. Only [`verify`] makes one that is to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The tenant's own URL.
    pub iss: String,
    /// The service that may believe this.
    pub aud: String,
    /// The tenant.
    pub tid: Uuid,
    /// Its subdomain.
    pub slug: String,
    /// Its plan.
    pub plan: String,
    /// The user; none on routes that ask for no credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<Uuid>,
    /// The user's roles, for decisions of your own: `context.roles.iter().any(|role| role == "admin")`.
    pub roles: Vec<String>,
    /// How strongly the user proved who they are: `aal1`, or `aal2` with a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Issued at, in seconds since 1970.
    pub iat: u64,
    /// Not valid after, in seconds since 1970.
    pub exp: u64,
    /// The only request that this is for, if the route says `bind_request_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The tenant of a request, proved. `db.rs` asks for one, so no query runs without.
#[derive(Debug, Clone)]
pub struct Tenant {
    context: Context,
}

impl Tenant {
    /// The tenant's id.
    pub fn id(&self) -> Uuid {
        self.context.tid
    }

    /// Everything that the platform signed.
    pub fn context(&self) -> &Context {
        &self.context
    }

    async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let token = single_header(request, "x-tenant-context").ok_or_else(Problem::unauthorized)?;
        let (tenant, header) = inspect(token).ok_or_else(Problem::unauthorized)?;
        let keys = request.app_data::<web::Data<KeyStore>>().ok_or_else(Problem::internal)?;
        let kid = header.kid.as_deref().unwrap_or_default();
        let key = keys.find(tenant, kid).await.map_err(|error| match error {
            KeyError::Unknown => Problem::unauthorized(),
            KeyError::PlatformDown => Problem::unavailable(),
        })?;
        let context = verify(token, &header, &key).ok_or_else(Problem::unauthorized)?;
        // The plain headers come from the same gateway. If they say something else, somebody tampered with them.
        let agrees = |name, value: &str| single_header(request, name) == Some(value);
        let same_request = context.request_id.as_deref().is_none_or(|id| agrees("x-request-id", id));
        if !agrees("x-tenant-id", &context.tid.to_string()) || !same_request {
            return Err(Problem::unauthorized());
        }
        Ok(Self { context })
    }
}

impl FromRequest for Tenant {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            // Left here by the middleware, so that a handler which asks again costs no second verification.
            let known = request.extensions().get::<Self>().cloned();
            match known {
                Some(tenant) => Ok(tenant),
                None => Self::of(&request).await,
            }
        })
    }
}

/// Tells whose keys to look at. Nothing of it is proved yet, so no more than that may come of it.
pub fn inspect(token: &str) -> Option<(Uuid, Header)> {
    #[derive(Deserialize)]
    struct Unproved {
        tid: Uuid,
    }
    if token.len() > MAX_BYTES {
        return None;
    }
    let header = decode_header(token).ok()?;
    // `typ`, `alg` and `kid`, nothing else: what would change the meaning (`crit`, `jwk`, `jku`, ...) is refused.
    let mut expected = Header::new(header.alg);
    expected.typ = Some(TYPE.to_owned());
    expected.kid = Some(header.kid.clone()?);
    if header != expected {
        return None;
    }
    let Unproved { tid } = dangerous::insecure_decode_claims(token).ok()?;
    Some((tid, header))
}

/// The context, if this key signed it for this service and for now. `key` must be the tenant's.
pub fn verify(token: &str, header: &Header, key: &Key) -> Option<Context> {
    // The key says which algorithm it is for. To believe the header instead is the classic mistake with JWS.
    if header.alg != key.algorithm {
        return None;
    }
    let mut rules = Validation::new(key.algorithm);
    rules.leeway = LEEWAY_S;
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud"]);
    let context: Context = jsonwebtoken::decode(token, &key.decoding, &rules).ok()?.claims;
    (context.iat <= jsonwebtoken::get_current_timestamp() + LEEWAY_S).then_some(context)
}

/// A header's value, if it was sent exactly once: with two, neither is to be believed.
fn single_header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
