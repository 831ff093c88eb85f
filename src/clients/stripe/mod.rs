//! Stripe: requests over a bounded pool of connections, each with an end.
//!
//! What an answer means is for the caller to say; here it is only whether there was one. The secret key is in no log and no error.

mod connector;
mod form;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, Pool, PoolError, QueueMode, TimeoutType, Timeouts};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use connector::Connector;

use crate::config::StripeSettings;
use crate::domain::stripe::API_VERSION;
use crate::domain::stripe::intent::Method;

/// Longest wait for a free connection, and for a new one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 << 20;

/// There is no answer of Stripe's.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// `stripe.api_base` is no URL of a server.
    #[error("stripe.api_base cannot be used")]
    Base,
    /// The secret key has characters that no key has.
    #[error("stripe.secret_key cannot be used")]
    Key,
    /// TLS cannot be set up.
    #[error("TLS cannot be used")]
    Tls(#[source] rustls::Error),
    /// The pool cannot be set up.
    #[error("the connections to Stripe cannot be set up")]
    Pool(#[source] BuildError),
    /// No connection was free in time: nothing was sent.
    #[error("no connection to Stripe was free in time")]
    Busy,
    /// No connection could be made: nothing was sent.
    #[error("Stripe cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The request went out, and no answer came: what was asked for may have happened.
    #[error("Stripe's answer was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same, because none came in time.
    #[error("Stripe did not answer in time")]
    TimedOut,
    /// The answer is no JSON: what was asked for may have happened.
    #[error("Stripe's answer with status {status} cannot be read")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
    },
}

/// An answer of Stripe's.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The object, or `{"error": …}`.
    pub body: Value,
    /// Whether it is a recording of the answer to the first request with the same key.
    pub is_replayed: bool,
    /// What Stripe says about another attempt.
    pub should_retry: Option<bool>,
    /// How long to wait before one.
    pub retry_after: Option<Duration>,
    /// Stripe's id of the request, for its support.
    pub request_id: Option<String>,
}

impl Answer {
    /// A text of `error`.
    #[must_use]
    pub fn error(&self, field: &str) -> Option<&str> {
        self.body.get("error")?.get(field)?.as_str()
    }
}

/// A Stripe account. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    pool: Pool<Connector>,
    base: String,
    authority: HeaderValue,
    key: SecretString,
    deadline: Duration,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").field("base", &self.base).field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Stripe {
    /// The account of a secret key.
    ///
    /// # Errors
    /// [`StripeError`] if the settings cannot be used.
    pub fn new(settings: &StripeSettings, key: &SecretString) -> Result<Self, StripeError> {
        bearer(key)?;
        let uri: http::Uri = settings.api_base.parse().map_err(|_not_a_url| StripeError::Base)?;
        let authority = uri.authority().ok_or(StripeError::Base)?.as_str();
        let authority = HeaderValue::from_str(authority).map_err(|_not_a_host| StripeError::Base)?;
        let deadline = Duration::from_millis(settings.timeout_ms);
        let wait = Some(deadline.min(CONNECT_TIMEOUT));
        let pool = Pool::builder(Connector::new(&uri)?)
            .max_size(settings.max_connections)
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StripeError::Pool)?;
        let base = settings.api_base.trim_end_matches('/').to_owned();
        Ok(Self { pool, base, authority, key: key.clone(), deadline })
    }

    /// Reads an object or a list; `path` begins with `/v1/`.
    ///
    /// # Errors
    /// [`StripeError`] if there is no answer.
    pub async fn get(&self, path: &str, query: &Value) -> Result<Answer, StripeError> {
        self.send(Method::Get, path, query, None).await
    }

    /// Sends one request and reads the answer, whatever its status, within the deadline.
    ///
    /// # Errors
    /// [`StripeError`] if there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        params: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, StripeError> {
        let request = self.request(method, path, &form::encode(params), idempotency_key)?;
        let mut link = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => StripeError::Unreachable(error),
            PoolError::Timeout(TimeoutType::Create) => StripeError::Unreachable(io::ErrorKind::TimedOut.into()),
            PoolError::Timeout(TimeoutType::Wait | TimeoutType::Recycle)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => StripeError::Busy,
        })?;
        let exchange = async {
            let response = link.send_request(request).await.map_err(|error| StripeError::Lost(Box::new(error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(StripeError::Lost)?.to_bytes();
            Ok((head, body))
        };
        // A connection whose answer was not read to its end is of no use to the next request.
        match tokio::time::timeout(self.deadline, exchange).await {
            Ok(Ok((head, body))) => answer(head.status.as_u16(), &head.headers, &body),
            Ok(Err(error)) => {
                drop(Object::take(link));
                Err(error)
            }
            Err(_elapsed) => {
                drop(Object::take(link));
                Err(StripeError::TimedOut)
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        form: &str,
        idempotency_key: Option<&str>,
    ) -> Result<http::Request<Full<Bytes>>, StripeError> {
        let (name, target, body) = match method {
            Method::Get => (http::Method::GET, with_query(path, form), Bytes::new()),
            Method::Delete => (http::Method::DELETE, with_query(path, form), Bytes::new()),
            Method::Post => (http::Method::POST, path.to_owned(), Bytes::from(form.to_owned())),
        };
        let mut request = http::Request::builder()
            .method(name)
            .uri(target)
            .header(HOST, self.authority.clone())
            .header(AUTHORIZATION, bearer(&self.key)?)
            .header("stripe-version", API_VERSION)
            .header(USER_AGENT, concat!("BusinessOS/", env!("CARGO_PKG_VERSION")));
        if method == Method::Post {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(body)).map_err(|error| StripeError::Lost(Box::new(error)))
    }
}

fn with_query(path: &str, form: &str) -> String {
    if form.is_empty() { path.to_owned() } else { format!("{path}?{form}") }
}

fn bearer(key: &SecretString) -> Result<HeaderValue, StripeError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).map_err(|_not_a_header| StripeError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

fn answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Answer, StripeError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let body = serde_json::from_slice(body).map_err(|_not_json| StripeError::Unreadable { status })?;
    let retry_after = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    Ok(Answer {
        status,
        body,
        is_replayed: text("idempotent-replayed") == Some("true"),
        should_retry: text("stripe-should-retry").and_then(|value| value.parse().ok()),
        retry_after,
        request_id: text("request-id").map(str::to_owned),
    })
}
