//! Security headers: the set and the values of helmet 8, on every answer, errors included. A service that sets one itself is
//! left alone.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// Everything a page of the platform itself needs, and no more. `upgrade-insecure-requests` follows over TLS only.
const CSP: &str = "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
                   frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
                   script-src-attr 'none';style-src 'self' https: 'unsafe-inline'";
const CSP_SECURE: &str = "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
                   frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
                   script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests";

const COMMON: [(&str, &str); 10] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

type Headers = Vec<(HeaderName, HeaderValue)>;

/// How the client reached the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// By plain HTTP.
    Plain,
    /// By TLS, on a host of the platform's own.
    Secure,
    /// By TLS, on a customer's host: what lies below it is not ours to pin.
    SecureElsewhere,
}

thread_local! {
    static PLAIN: Headers = headers(Reached::Plain);
    static SECURE: Headers = headers(Reached::Secure);
    static SECURE_ELSEWHERE: Headers = headers(Reached::SecureElsewhere);
}

fn headers(reached: Reached) -> Headers {
    let is_secure = reached != Reached::Plain;
    let mut headers: Headers =
        COMMON.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    let csp = if is_secure { CSP_SECURE } else { CSP };
    headers.push((HeaderName::from_static("content-security-policy"), HeaderValue::from_static(csp)));
    // Browsers ignore HSTS over plain HTTP, and a developer's localhost must not be pinned to TLS.
    let hsts = match reached {
        Reached::Plain => None,
        Reached::Secure => Some("max-age=31536000; includeSubDomains"),
        Reached::SecureElsewhere => Some("max-age=31536000"),
    };
    headers.extend(
        hsts.map(|value| (HeaderName::from_static("strict-transport-security"), HeaderValue::from_static(value))),
    );
    headers
}

/// Adds what is missing.
pub(super) fn add(map: &mut HeaderMap, reached: Reached) {
    let headers = match reached {
        Reached::Plain => &PLAIN,
        Reached::Secure => &SECURE,
        Reached::SecureElsewhere => &SECURE_ELSEWHERE,
    };
    headers.with(|headers| {
        map.reserve(headers.len());
        for (name, value) in headers {
            if !map.contains_key(name) {
                map.insert(name.clone(), value.clone());
            }
        }
    });
}
