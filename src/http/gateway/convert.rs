//! Between the two `http` crates: actix-web speaks version 0.2, hyper version 1. Only this file knows both.
//!
//! A message's values are copied once into one buffer and then shared out of it, so that the number of allocations does
//! not grow with the number of headers; names of the list below cost none.

use actix_web::http::header as old;
use bytes::{Bytes, BytesMut};

macro_rules! common_names {
    ($($name:literal),+ $(,)?) => {
        fn common_new(name: &str) -> Option<http::HeaderName> {
            match name {
                $($name => {
                    const NAME: http::HeaderName = http::HeaderName::from_static($name);
                    Some(NAME)
                })+
                _ => None,
            }
        }

        fn common_old(name: &str) -> Option<old::HeaderName> {
            match name {
                $($name => {
                    const NAME: old::HeaderName = old::HeaderName::from_static($name);
                    Some(NAME)
                })+
                _ => None,
            }
        }

        #[cfg(test)]
        const COMMON_NAMES: &[&str] = &[$($name),+];
    };
}

// Names that the crates do not know themselves: for those they know, no allocation is needed either.
common_names! {
    "baggage", "cross-origin-opener-policy", "cross-origin-resource-policy", "idempotency-key", "keep-alive",
    "permissions-policy", "priority", "proxy-connection", "sec-ch-ua", "sec-ch-ua-mobile",
    "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user", "sec-gpc",
    "server-timing", "traceparent", "tracestate", "x-accel-buffering", "x-api-key", "x-correlation-id",
    "x-csrf-token", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-powered-by",
    "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-real-ip", "x-request-id",
    "x-requested-with", "x-tenant", "x-total-count", "x-usage",
}

/// A header name of actix-web for hyper. `None` cannot happen for a name that was parsed; it is not a panic either.
pub fn name_to_hyper(name: &old::HeaderName) -> Option<http::HeaderName> {
    let name = name.as_str();
    common_new(name).or_else(|| http::HeaderName::from_bytes(name.as_bytes()).ok())
}

/// A header name of hyper for actix-web.
pub fn name_to_actix(name: &http::HeaderName) -> Option<old::HeaderName> {
    let name = name.as_str();
    common_old(name).or_else(|| old::HeaderName::from_bytes(name.as_bytes()).ok())
}

/// A method of actix-web for hyper.
pub fn method_to_hyper(method: &actix_web::http::Method) -> Option<http::Method> {
    http::Method::from_bytes(method.as_str().as_bytes()).ok()
}

/// A status of hyper for actix-web.
pub fn status_to_actix(status: http::StatusCode) -> Option<actix_web::http::StatusCode> {
    actix_web::http::StatusCode::from_u16(status.as_u16()).ok()
}

/// The buffer that a message's values are copied into.
#[derive(Debug)]
pub struct Values(BytesMut);

impl Values {
    /// A buffer for values of so many bytes in total.
    pub fn with_capacity(n_bytes: usize) -> Self {
        Self(BytesMut::with_capacity(n_bytes))
    }

    fn copy(&mut self, value: &[u8]) -> Bytes {
        self.0.extend_from_slice(value);
        self.0.split().freeze()
    }

    /// A header value of actix-web for hyper.
    pub fn to_hyper(&mut self, value: &old::HeaderValue) -> Option<http::HeaderValue> {
        http::HeaderValue::from_maybe_shared(self.copy(value.as_bytes())).ok()
    }

    /// A header value of hyper for actix-web.
    pub fn to_actix(&mut self, value: &http::HeaderValue) -> Option<old::HeaderValue> {
        old::HeaderValue::from_maybe_shared(self.copy(value.as_bytes())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_both_ways() {
        for name in COMMON_NAMES.iter().chain(&["accept", "content-type", "x-something-else", "host"]) {
            let old = old::HeaderName::from_bytes(name.as_bytes()).unwrap();
            let new = name_to_hyper(&old).unwrap();
            assert_eq!(new.as_str(), *name);
            assert_eq!(new, http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "{name}: the same kind of name");
            assert_eq!(name_to_actix(&new).unwrap(), old);
        }
    }

    #[test]
    fn values_survive_both_ways_byte_for_byte() {
        let mut values = Values::with_capacity(4);
        for bytes in [&b""[..], b"a", b"text/html; charset=utf-8", b"\x80\xff\t x", b"a, b"] {
            let old = old::HeaderValue::from_bytes(bytes).unwrap();
            let new = values.to_hyper(&old).unwrap();
            assert_eq!(new.as_bytes(), bytes);
            assert_eq!(values.to_actix(&new).unwrap(), old);
        }
    }

    #[test]
    fn methods_and_statuses_keep_their_text_and_number() {
        for method in ["GET", "PATCH", "PROPFIND", "M-SEARCH"] {
            let old = actix_web::http::Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(method_to_hyper(&old).unwrap().as_str(), method);
        }
        for status in [200, 299, 404, 599, 799] {
            let new = http::StatusCode::from_u16(status).unwrap();
            assert_eq!(status_to_actix(new).unwrap().as_u16(), status);
        }
    }
}
