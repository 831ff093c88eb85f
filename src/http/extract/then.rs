//! The caller first, and only then what they send.
//!
//! actix polls the extractors of a handler side by side, so a mistake in the body could be answered before it is known whether
//! the caller may make the call at all. What is read of a request therefore cannot be an argument of a handler by itself.

use std::fmt;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

/// What is read of a request once its caller is known: a body, a query.
pub trait Input: Sized + 'static {
    /// Reads it. The answer to a mistake is the error.
    fn read(request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>>;
}

/// Who calls, and what they send. Whatever is wrong with `B` is told only to whom `A` lets in.
#[derive(Debug)]
pub struct Then<A, B>(pub A, pub B);

impl<A, B> FromRequest for Then<A, B>
where
    A: FromRequest + 'static,
    B: Input,
{
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = A::from_request(request, &mut Payload::None);
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let caller = caller.await.map_err(Into::into)?;
            Ok(Self(caller, B::read(&request, payload).await?))
        }
        .boxed_local()
    }
}

impl<T: DeserializeOwned + 'static> Input for web::Query<T> {
    fn read(request: &HttpRequest, mut payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        Box::pin(Self::from_request(request, &mut payload))
    }
}

/// A body that the handler reads itself, with limits of its own.
pub struct RawBody(pub Payload);

impl fmt::Debug for RawBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawBody")
    }
}

impl Input for RawBody {
    fn read(_request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        Box::pin(std::future::ready(Ok(Self(payload))))
    }
}
