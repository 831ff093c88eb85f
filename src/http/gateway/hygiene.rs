//! What a request must look like, and which headers pass in either direction.
//!
//! actix-http already refuses, with 400 and before any handler: both `Content-Length` and `Transfer-Encoding`, either
//! of them twice, a length that is not a plain number, a coding other than `chunked`, `Transfer-Encoding` in HTTP/1.0,
//! a missing `Host` (HTTP/1.1) or two of them, folded lines and bytes outside a field's grammar, more than 96 fields,
//! and a head above 128 KiB. It also answers `Expect: 100-continue` itself. [`check_request`] adds the rest.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode, Version, header as old};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::convert::{self, Values};

/// Sizes that a request's head must keep.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Names and values of all fields, in bytes.
    pub max_header_bytes: usize,
    /// The request target, in bytes.
    pub max_url_bytes: usize,
}

/// Why a request is refused before anything looks at its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HygieneError {
    /// A name with a character outside `[A-Za-z0-9-]`. Many services fold `_` (and more) into `-`, so that
    /// `X_Tenant_Id` would pass for our own header.
    #[error("header name with a character other than letters, digits and hyphens")]
    HeaderName,
    /// More bytes of headers than allowed.
    #[error("request headers too large")]
    HeadersTooLarge,
    /// A longer target than allowed.
    #[error("request target too long")]
    UrlTooLong,
    /// `TRACE` shows injected headers to the client, `CONNECT` makes a tunnel.
    #[error("method not allowed")]
    Method,
    /// A target that is neither a path, nor `*`, nor an absolute URL of http(s).
    #[error("malformed request target")]
    Target,
    /// The target names another host than `Host` (RFC 9112 §3.2.2 would let the target win; routing must not depend on
    /// which of the two a program reads).
    #[error("request target and host header differ")]
    HostMismatch,
    /// A request to change protocols that carries a body: the two ends may disagree on where the body ends.
    #[error("upgrade request with a body")]
    UpgradeWithBody,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    #[error("unknown expectation")]
    Expectation,
}

impl HygieneError {
    /// The answer's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeaderName | Self::Target | Self::HostMismatch | Self::UpgradeWithBody => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }
}

/// Checks a request's head.
///
/// # Errors
///
/// The first rule that is broken. The answer should close the connection (`Connection: close`): what follows on it
/// cannot be trusted.
pub fn check_request(request: &HttpRequest, limits: &HeadLimits) -> Result<(), HygieneError> {
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(HygieneError::Method);
    }
    let headers = request.headers();
    check_target(request, headers, limits)?;
    let mut n_bytes = 0_usize;
    for (name, value) in headers {
        if !name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(HygieneError::HeaderName);
        }
        n_bytes = n_bytes.saturating_add(name.as_str().len()).saturating_add(value.len());
        match *name {
            old::EXPECT if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue") => {
                return Err(HygieneError::Expectation);
            }
            old::UPGRADE if has_body(headers) => return Err(HygieneError::UpgradeWithBody),
            _ => {}
        }
    }
    if n_bytes > limits.max_header_bytes { Err(HygieneError::HeadersTooLarge) } else { Ok(()) }
}

fn check_target(request: &HttpRequest, headers: &old::HeaderMap, limits: &HeadLimits) -> Result<(), HygieneError> {
    let uri = request.uri();
    let path = uri.path();
    let n_bytes = path.len() + uri.query().map_or(0, |query| query.len() + 1);
    if n_bytes > limits.max_url_bytes {
        return Err(HygieneError::UrlTooLong);
    }
    let is_for_the_server = path == "*" && *request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !is_for_the_server {
        return Err(HygieneError::Target);
    }
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) | None => return Err(HygieneError::Target),
    }
    match headers.get(old::HOST) {
        // HTTP/2 has the authority instead.
        None if request.version() == Version::HTTP_2 => Ok(()),
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => Ok(()),
        Some(_) | None => Err(HygieneError::HostMismatch),
    }
}

fn has_body(headers: &old::HeaderMap) -> bool {
    headers.contains_key(old::CONTENT_LENGTH) || headers.contains_key(old::TRANSFER_ENCODING)
}

/// What the platform says about a request, as header values made once by the caller. A value that is `None` is not
/// sent; whatever the client sent under its name is dropped all the same.
#[derive(Debug, Clone, Default)]
pub struct TenantContextHeaders {
    /// `X-Tenant-Id`
    pub tenant_id: Option<HeaderValue>,
    /// `X-Tenant-Slug`
    pub tenant_slug: Option<HeaderValue>,
    /// `X-Tenant-Plan`
    pub tenant_plan: Option<HeaderValue>,
    /// `X-Tenant-Region`
    pub tenant_region: Option<HeaderValue>,
    /// `X-User-Id`
    pub user_id: Option<HeaderValue>,
    /// `X-User-Roles`
    pub user_roles: Option<HeaderValue>,
    /// `X-Auth-Acr`
    pub auth_acr: Option<HeaderValue>,
    /// `X-Api-Key-Id`
    pub api_key_id: Option<HeaderValue>,
    /// `X-Request-Id`
    pub request_id: Option<HeaderValue>,
    /// `X-Tenant-Context`, the signed form of the above.
    pub tenant_context: Option<HeaderValue>,
    /// `traceparent` (W3C Trace Context), already checked or made.
    pub traceparent: Option<HeaderValue>,
    /// `X-Forwarded-For`
    pub forwarded_for: Option<HeaderValue>,
    /// `X-Forwarded-Host`
    pub forwarded_host: Option<HeaderValue>,
    /// `X-Forwarded-Proto`
    pub forwarded_proto: Option<HeaderValue>,
}

/// Whether the client's `Authorization` header goes to the service.
///
/// It is dropped once the platform has taken an identity from it: a service that could replay a user's token against
/// other services or the platform would hold far more than the signed context it is given. It passes on routes where
/// the platform did not use it (`auth = "none"`, or `optional` without an identity), for services that check their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing was taken from it.
    Forward,
    /// The platform used it.
    Withhold,
}

/// Headers of one hop (RFC 9110 §7.6.1, and what is treated as such in practice). `TE: trailers` is not an exception:
/// trailers do not pass.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Names that only the platform may set towards a service, read with `_` as `-`.
fn is_reserved(name: &str) -> bool {
    const FAMILIES: [&str; 6] = ["x-tenant-", "x-user-", "x-auth-", "x-api-key-", "x-internal-", "x-forwarded-"];
    const NAMES: [&str; 18] = [
        "x-tenant",
        "x-forwarded",
        "forwarded",
        "x-real-ip",
        "x-request-id",
        "x-api-key",
        "traceparent",
        // Other ways to say "treat this as another path", and the name that CGI turns into a proxy setting.
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-host",
        "x-host",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-url",
        "x-rewrite-url",
        "proxy",
    ];
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't' | b'p')) {
        return false;
    }
    let folded = || name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    FAMILIES.iter().any(|family| folded().take(family.len()).eq(family.bytes()))
        || NAMES.iter().any(|reserved| folded().eq(reserved.bytes()))
}

/// Names in `Connection`: they are of this hop only, as the sender says (RFC 9110 §7.6.1).
pub fn is_listed<'a>(mut connection: impl Iterator<Item = &'a [u8]>, name: &str) -> bool {
    connection.any(|value| {
        value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// The headers for the service.
///
/// `Connection` is processed first and the context is set last, so that `Connection: x-tenant-id` removes nothing of
/// ours. Not copied: headers of the hop, everything in the platform's namespace, `Expect` (answered here) and
/// `Content-Length` (set with the body). `Host` is the client's.
pub fn upstream_headers(
    request: &HttpRequest,
    context: &TenantContextHeaders,
    authorization: Authorization,
) -> HeaderMap {
    let headers = request.headers();
    let n_bytes = headers.iter().map(|(_, value)| value.len()).sum();
    let mut values = Values::with_capacity(n_bytes);
    let mut out = HeaderMap::with_capacity(headers.len() + 15);
    let connection = || headers.get_all(old::CONNECTION).map(old::HeaderValue::as_bytes);
    let lists_names = connection().any(names_something);
    for (name, value) in headers {
        match *name {
            old::CONTENT_LENGTH | old::EXPECT => continue,
            old::AUTHORIZATION if authorization == Authorization::Withhold => continue,
            _ => {}
        }
        let text = name.as_str();
        if is_hop_by_hop(text) || is_reserved(text) {
            continue;
        }
        // A client that lists `Host` or its credentials only hurts itself, except that a request needs a `Host`.
        if lists_names && text != "host" && is_listed(connection(), text) {
            continue;
        }
        if let (Some(name), Some(value)) = (convert::name_to_hyper(name), values.to_hyper(value)) {
            out.append(name, value);
        }
    }
    inject(&mut out, context);
    out
}

/// The headers for the service, without the client's `Host` if that is not for it.
pub fn service_headers(
    request: &HttpRequest,
    context: &TenantContextHeaders,
    authorization: Authorization,
    keeps_host: bool,
) -> HeaderMap {
    let mut headers = upstream_headers(request, context, authorization);
    if !keeps_host {
        headers.remove(header::HOST);
    }
    headers
}

/// What of a client's headers is for a provider, who is a stranger to the platform: what the body is, what may be answered, and what
/// OpenAI's API defines.
pub fn provider_headers(from: &old::HeaderMap) -> HeaderMap {
    let is_for_provider = |name: &str| {
        matches!(name, "accept" | "content-type" | "user-agent" | "idempotency-key") || name.starts_with("openai-")
    };
    let mut values = Values::with_capacity(256);
    let mut out = HeaderMap::new();
    for (name, value) in from.iter().filter(|(name, _)| is_for_provider(name.as_str())) {
        if let (Some(name), Some(value)) = (convert::name_to_hyper(name), values.to_hyper(value)) {
            out.append(name, value);
        }
    }
    out
}

/// Whether `Connection` has more than the two options that everybody sends.
fn names_something(value: &[u8]) -> bool {
    !(value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close"))
}

fn inject(out: &mut HeaderMap, context: &TenantContextHeaders) {
    const TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");
    const TENANT_SLUG: HeaderName = HeaderName::from_static("x-tenant-slug");
    const TENANT_PLAN: HeaderName = HeaderName::from_static("x-tenant-plan");
    const TENANT_REGION: HeaderName = HeaderName::from_static("x-tenant-region");
    const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
    const USER_ROLES: HeaderName = HeaderName::from_static("x-user-roles");
    const AUTH_ACR: HeaderName = HeaderName::from_static("x-auth-acr");
    const API_KEY_ID: HeaderName = HeaderName::from_static("x-api-key-id");
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    const TENANT_CONTEXT: HeaderName = HeaderName::from_static("x-tenant-context");
    const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let TenantContextHeaders {
        tenant_id,
        tenant_slug,
        tenant_plan,
        tenant_region,
        user_id,
        user_roles,
        auth_acr,
        api_key_id,
        request_id,
        tenant_context,
        traceparent,
        forwarded_for,
        forwarded_host,
        forwarded_proto,
    } = context;
    for (name, value) in [
        (TENANT_ID, tenant_id),
        (TENANT_SLUG, tenant_slug),
        (TENANT_PLAN, tenant_plan),
        (TENANT_REGION, tenant_region),
        (USER_ID, user_id),
        (USER_ROLES, user_roles),
        (AUTH_ACR, auth_acr),
        (API_KEY_ID, api_key_id),
        (REQUEST_ID, request_id),
        (TENANT_CONTEXT, tenant_context),
        (TRACEPARENT, traceparent),
        (FORWARDED_FOR, forwarded_for),
        (FORWARDED_HOST, forwarded_host),
        (FORWARDED_PROTO, forwarded_proto),
    ] {
        if let Some(value) = value {
            out.insert(name, value.clone());
        }
    }
}

/// What a service says that it used; for the platform, not for clients.
pub const X_USAGE: HeaderName = HeaderName::from_static("x-usage");

/// Copies a service's headers to the client's answer: all but those of the hop, `Server`, `X-Powered-By`, `X-Usage` and
/// `Content-Length` (set with the body). Headers that come several times, such as `Set-Cookie`, stay several.
pub fn downstream_headers(from: &HeaderMap, to: &mut old::HeaderMap) {
    let n_bytes = from.values().map(HeaderValue::len).sum();
    let mut values = Values::with_capacity(n_bytes);
    to.reserve(from.len());
    let connection = || from.get_all(header::CONNECTION).into_iter().map(HeaderValue::as_bytes);
    let lists_names = connection().any(names_something);
    for (name, value) in from {
        let text = name.as_str();
        if is_hop_by_hop(text) || matches!(text, "server" | "x-powered-by" | "x-usage" | "content-length") {
            continue;
        }
        if lists_names && is_listed(connection(), text) {
            continue;
        }
        if let (Some(name), Some(value)) = (convert::name_to_actix(name), values.to_actix(value)) {
            to.append(name, value);
        }
    }
}

#[cfg(test)]
#[path = "hygiene_tests.rs"]
mod tests;
