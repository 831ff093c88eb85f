//! Calls to a provider with OpenAI's API, on the tenant's own account.

use std::sync::Arc;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header as old;
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::{HttpMessage as _, HttpResponse};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;

use super::{Call, counted};
use crate::domain::meter::MeterName;
use crate::http::credential::Identity;
use crate::http::gateway::metered::{self, Answer, MeteredBody, MeteredCall, NotAnObject, TokenRequest, TokenWatch};
use crate::http::gateway::{ClientBody, ForwardError, ForwardSettings, Forwarded, forward, hygiene};
use crate::http::problem::{Problem, kinds};
use crate::http::quota;

/// Largest request that is kept, where the route sets no limit.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Forwards a call with the tenant's key. What has a body is counted by the tokens of its answer; lists and the like have none.
///
/// # Errors
/// `provider-key-missing`, `quota-exceeded`, what is wrong with the body, or with the provider.
pub(super) async fn forward_call(call: &Call<'_>, payload: Payload) -> Result<HttpResponse, Problem> {
    let headers = provider_headers(call)?;
    let meter = match &call.route.settings().meter {
        Some(meter)
            if !matches!(*call.request.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) =>
        {
            meter
        }
        Some(_) | None => return forward_uncounted(call, payload, headers).await,
    };
    let request = read_request(call, payload).await?;
    let held = quota::set_aside(call.state, call.view, meter, request.most).await?;
    let mut metered = MeteredCall::new(call.state, call.view.tenant.id, meter.clone(), held)
        .with("request_id", call.context.request_id.clone());
    match call.caller {
        Some(Identity::User(token)) => metered = metered.with("user_id", token.claims.sub.to_string()),
        Some(Identity::Key(key)) => metered = metered.with("api_key_id", key.key.id.to_string()),
        None => {}
    }
    forward_counted(call, headers, request, metered, meter).await
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
    asked: TokenRequest,
    metered: MeteredCall,
    meter: &MeterName,
) -> Result<HttpResponse, Problem> {
    let settings = ForwardSettings::from(&call.state.settings.gateway);
    let (request, route, state) = (call.request.clone(), Arc::clone(call.route), call.state.clone());
    let tenant = call.view.tenant.id;
    let work = async move {
        let body = ClientBody::Whole(asked.body.clone());
        let answer = forward(&request, body, &route, || headers.clone(), &settings).await.map_err(Failed::Forward)?;
        let reported = counted::report(&state, tenant, route.settings(), &answer.usage);
        let Forwarded { response, upstream_latency, .. } = answer;
        let response = watch(response, request.version(), asked, metered).map_err(Failed::Problem)?;
        reported.map_err(Failed::Problem)?;
        Ok((response, upstream_latency))
    };
    let ended = || Problem::new(&kinds::UNAVAILABLE, "the server is stopping").retry_after(1);
    let Some(task) = metered::spawn(&call.state.drain, work) else { return Err(ended()) };
    match task.await {
        Ok(Ok((response, latency))) => {
            call.context.upstream.set(Some(latency));
            Ok(response)
        }
        Ok(Err(Failed::Forward(error))) => Err(call.failure(error)),
        Ok(Err(Failed::Problem(problem))) => Err(problem),
        Err(error) if error.is_panic() => {
            tracing::error!(%meter, "a call to a provider panicked");
            Err(Problem::new(&kinds::INTERNAL, "quote the request id to support"))
        }
        Err(_cancelled) => Err(ended()),
    }
}

enum Failed {
    Forward(ForwardError),
    Problem(Problem),
}

/// Has the answer read while it passes.
fn watch(
    response: HttpResponse,
    version: Version,
    asked: TokenRequest,
    metered: MeteredCall,
) -> Result<HttpResponse, Problem> {
    if matches!(response.body().size(), BodySize::None | BodySize::Sized(0)) {
        return Ok(response);
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
    Ok(response)
}

/// Reads the whole body and makes it one whose answer can be counted.
async fn read_request(call: &Call<'_>, payload: Payload) -> Result<TokenRequest, Problem> {
    let settings = call.route.settings();
    if call.request.content_type().starts_with("multipart/") {
        return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, "send JSON: what an upload uses cannot be counted"));
    }
    let limit = call.route.body_limit().map_or(MAX_BODY, |limit| limit.min(MAX_BODY));
    let body = read_body(call, payload, limit).await.map_err(|error| call.failure(error))?;
    let target = call.route.upstream_target(call.request.uri().path());
    let path = target.as_ref().map_or("/", |target| target.path());
    let limits = settings.meter.as_ref().and_then(|meter| call.view.plan.meters.get(meter));
    let is_capped = limits.is_some_and(|limits| limits.hard.is_some());
    metered::prepare(path, &body, is_capped, settings.max_output_tokens)
        .map_err(|error: NotAnObject| Problem::new(&kinds::MALFORMED_REQUEST, error.to_string()))
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
