//! Calls to a provider with OpenAI's API, on the tenant's own account.

use std::sync::Arc;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header as old;
use actix_web::http::{ConnectionType, Version};
use actix_web::{HttpMessage as _, HttpResponse};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;

use super::beside::{self, Failed};
use super::{Call, counted};
use crate::http::credential::Identity;
use crate::http::gateway::metered::{
    self, Answer, BodyError, FieldsError, MeteredBody, MeteredCall, Operation, TokenRequest, TokenWatch,
};
use crate::http::gateway::{ClientBody, ForwardError, ForwardSettings, Forwarded, forward, hygiene};
use crate::http::problem::{Problem, kinds};
use crate::http::quota;

/// Largest request that is kept, where the route sets no limit.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Forwards a call with the tenant's key, if it is one that can be counted, by the tokens of its answer, or that costs nothing.
///
/// # Errors
/// `no-route`, `provider-key-missing`, `quota-exceeded`, what is wrong with the body, or with the provider.
pub(super) async fn forward_call(call: &Call<'_>, payload: Payload) -> Result<HttpResponse, Problem> {
    let operation = operation(call)?;
    let mut headers = provider_headers(call)?;
    let meter = match (&call.route.settings().meter, operation) {
        (None, _) | (Some(_), Operation::Models) => return forward_uncounted(call, payload, headers).await,
        (Some(meter), Operation::Chat | Operation::Completions | Operation::Responses | Operation::WithoutOutput) => {
            meter
        }
    };
    let request = read_request(call, operation, payload).await?;
    // As what it was read; a provider may read another kind in another way.
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let held = quota::set_aside(call.state, call.view, meter, request.most, call.caller.is_some()).await?;
    let mut metered = counted::new_call(call, meter, held).with("request_id", call.context.request_id.clone());
    match call.caller {
        Some(Identity::User(token)) => metered = metered.with("user_id", token.claims.sub.to_string()),
        Some(Identity::Key(key)) => metered = metered.with("api_key_id", key.key.id.to_string()),
        None => {}
    }
    forward_counted(call, headers, request, metered).await
}

/// What is asked for. Between the prefix and the path of the API may be `/v1`, where the route does not put it in itself.
fn operation(call: &Call<'_>) -> Result<Operation, Problem> {
    let settings = call.route.settings();
    let path = call.request.uri().path();
    let path = if settings.prefix == "/" { path } else { path.strip_prefix(&*settings.prefix).unwrap_or_default() };
    let has_version = settings.upstream_path.as_deref().is_some_and(|base| base.trim_end_matches('/').ends_with("/v1"));
    let path = path.strip_prefix("/v1").filter(|rest| !has_version && rest.starts_with('/')).unwrap_or(path);
    Operation::of(call.request.method(), path).ok_or_else(|| {
        let detail = "only calls whose tokens can be counted are served here: POST chat/completions, completions, responses, \
                      embeddings and moderations, and GET models and models/{id}";
        Problem::new(&kinds::NO_ROUTE, detail)
    })
}

async fn forward_uncounted(call: &Call<'_>, payload: Payload, headers: HeaderMap) -> Result<HttpResponse, Problem> {
    let settings = ForwardSettings::from(&call.state.settings.gateway);
    let answer = forward(call.request, payload, call.route, || headers.clone(), &settings).await;
    let answer = answer.map_err(|error| call.failure(error))?;
    call.context.upstream.set(Some(answer.upstream_latency));
    counted::report(call.state, call.view.tenant.id, call.route.settings(), &answer.usage)?;
    Ok(answer.response)
}

/// Forwards beside the request, so that a client who leaves early does not take the answer along: the provider goes on and wants to
/// be paid, and only its answer says for how much.
async fn forward_counted(
    call: &Call<'_>,
    headers: HeaderMap,
    mut asked: TokenRequest,
    metered: MeteredCall,
) -> Result<HttpResponse, Problem> {
    let settings = ForwardSettings::from(&call.state.settings.gateway);
    let (request, route, state) = (call.request.clone(), Arc::clone(call.route), call.state.clone());
    let tenant = call.view.tenant.id;
    let exchange = async move {
        // Not kept here: it is let go as soon as it is sent.
        let body = ClientBody::Whole(std::mem::take(&mut asked.body));
        let answer = forward(&request, body, &route, || headers.clone(), &settings).await?;
        let reported = counted::report(&state, tenant, route.settings(), &answer.usage);
        let Forwarded { response, upstream_latency, .. } = answer;
        let response = watch(response, request.version(), asked, metered);
        reported?;
        Ok::<_, Failed>((response, upstream_latency))
    };
    beside::run(call, Box::pin(exchange)).await
}

/// Has the answer read while it passes.
fn watch(response: HttpResponse, version: Version, asked: TokenRequest, metered: MeteredCall) -> HttpResponse {
    if matches!(response.body().size(), BodySize::None | BodySize::Sized(0)) {
        return response;
    }
    let headers = response.headers();
    let is_event_stream = |value: &old::HeaderValue| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    let is_identity = |value: &old::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let answer = Answer {
        is_success: response.status().is_success(),
        is_event_stream: headers.get(old::CONTENT_TYPE).is_some_and(is_event_stream),
        is_encoded: headers.get(old::CONTENT_ENCODING).is_some_and(|value| !is_identity(value)),
    };
    let mut response =
        response.map_body(|_, body| BoxBody::new(MeteredBody::tokens(body, metered, TokenWatch::new(asked, answer))));
    if response.body().size() == BodySize::Stream && version < Version::HTTP_11 {
        // No chunks in HTTP/1.0: the end of the connection ends the body.
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

/// Reads the whole body and makes it one whose answer can be counted.
async fn read_request(call: &Call<'_>, operation: Operation, payload: Payload) -> Result<TokenRequest, Problem> {
    let settings = call.route.settings();
    if call.request.content_type().starts_with("multipart/") {
        return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, "send JSON: what an upload uses cannot be counted"));
    }
    let limit = call.route.body_limit().map_or(MAX_BODY, |limit| limit.min(MAX_BODY));
    let body = read_body(call, payload, limit).await.map_err(|error| call.failure(error))?;
    let limits = settings.meter.as_ref().and_then(|meter| call.view.plan.meters.get(meter));
    let is_capped = limits.is_some_and(|limits| limits.hard.is_some());
    metered::prepare(operation, &body, is_capped, settings.max_output_tokens).map_err(unreadable)
}

fn unreadable(error: BodyError) -> Problem {
    match error {
        BodyError::Fields(FieldsError::Type { name, .. } | FieldsError::Spelling { name }) => {
            Problem::invalid_field(format!("/{name}"), error)
        }
        BodyError::Fields(FieldsError::NotAnObject | FieldsError::TooMany) | BodyError::Background => {
            Problem::new(&kinds::MALFORMED_REQUEST, error.to_string())
        }
    }
}

async fn read_body(call: &Call<'_>, mut payload: Payload, limit: u64) -> Result<Bytes, ForwardError> {
    let mut body = BytesMut::new();
    loop {
        let next = actix_web::rt::time::timeout(call.route.idle_timeout(), payload.next()).await;
        match next.map_err(|_elapsed: tokio::time::error::Elapsed| ForwardError::ClientStalled)? {
            None => return Ok(body.freeze()),
            Some(Ok(chunk)) if (body.len() + chunk.len()) as u64 > limit => return Err(ForwardError::BodyTooLarge),
            Some(Ok(chunk)) => body.extend_from_slice(&chunk),
            Some(Err(actix_web::error::PayloadError::EncodingCorrupted)) => return Err(ForwardError::MalformedBody),
            Some(Err(_)) => return Err(ForwardError::ClientGone),
        }
    }
}

/// What the provider is told: the tenant's key and what belongs to the call. It is a stranger to the platform, so it gets no context,
/// no cookies and no addresses.
fn provider_headers(call: &Call<'_>) -> Result<HeaderMap, Problem> {
    let key = provider_key(call)?;
    let mut headers = hygiene::provider_headers(call.request.headers());
    headers.insert(http::header::AUTHORIZATION, key);
    headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Ok(id) = HeaderValue::from_str(&call.context.request_id) {
        headers.insert("x-request-id", id);
    }
    if call.route.preserves_host()
        && let Some(host) = call.request.headers().get(old::HOST)
        && let Ok(host) = HeaderValue::from_bytes(host.as_bytes())
    {
        headers.insert(http::header::HOST, host);
    }
    Ok(headers)
}

fn provider_key(call: &Call<'_>) -> Result<HeaderValue, Problem> {
    let name = call.route.settings().provider_secret.as_deref().unwrap_or_default();
    let Some(secret) = call.view.keys.secrets.get(name) else {
        let detail = format!("an admin must store the key: PUT /tenants/{}/secrets/{name}", call.view.tenant.id);
        return Err(Problem::new(&kinds::PROVIDER_KEY_MISSING, detail));
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret().trim())).map_err(
        |_bytes: http::header::InvalidHeaderValue| {
            Problem::new(
                &kinds::PROVIDER_KEY_MISSING,
                format!("the secret {name} cannot be a key: it has characters that no header has"),
            )
        },
    )?;
    value.set_sensitive(true);
    Ok(value)
}
