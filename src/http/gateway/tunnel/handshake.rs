//! Both halves of the handshake (RFC 6455 §4).

use actix_web::HttpRequest;
use actix_web::http::{Method, Version, header as old};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap};

/// Why a request to switch to a WebSocket is refused before any service sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Another method than GET, or HTTP/1.0.
    #[error("a WebSocket handshake is a GET of HTTP/1.1")]
    Method,
    /// `Upgrade` names more than `websocket`, or `Connection` does not name `upgrade`.
    #[error("send Upgrade: websocket and Connection: upgrade")]
    Upgrade,
    /// `Sec-WebSocket-Key` is missing, double or not 16 bytes.
    #[error("send one Sec-WebSocket-Key of 16 bytes")]
    Key,
    /// A version other than 13.
    #[error("send Sec-WebSocket-Version: 13")]
    Version,
}

/// Whether a request asks for a WebSocket, well or badly.
#[must_use]
pub fn is_upgrade(request: &HttpRequest) -> bool {
    let mut values = request.headers().get_all(old::UPGRADE);
    values.any(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"websocket"))
}

/// Checks a handshake; returns its key.
///
/// # Errors
/// [`HandshakeError`].
pub fn check(request: &HttpRequest) -> Result<&str, HandshakeError> {
    if *request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(HandshakeError::Method);
    }
    let upgrade = one(request, &old::UPGRADE).filter(|value| value.eq_ignore_ascii_case("websocket"));
    let connection = request.headers().get_all(old::CONNECTION).filter_map(|value| value.to_str().ok());
    let says_so =
        connection.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if upgrade.is_none() || !says_so {
        return Err(HandshakeError::Upgrade);
    }
    if one(request, &old::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(HandshakeError::Version);
    }
    let key = one(request, &old::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        Ok(_) | Err(_) => Err(HandshakeError::Key),
    }
}

fn one<'a>(request: &'a HttpRequest, name: &old::HeaderName) -> Option<&'a str> {
    let mut values = request.headers().get_all(name);
    let first = values.next()?.to_str().ok()?.trim();
    if values.next().is_some() { None } else { Some(first) }
}

/// Whether a service's 101 answers the handshake with this key: it switches to a WebSocket and proves that it read the key.
pub(super) fn is_answered(headers: &HeaderMap, key: &str) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(header::HeaderValue::as_bytes);
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        && accept == Some(actix_http::ws::hash_key(key.as_bytes()).as_slice())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(change: &[(&'static str, &'static str)]) -> HttpRequest {
        let mut headers = vec![
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        for (name, value) in change {
            headers.retain(|(known, _)| known != name);
            headers.push((name, value));
        }
        let made = headers.into_iter().filter(|(_, value)| !value.is_empty());
        made.fold(TestRequest::get(), |request, header| request.append_header(header)).to_http_request()
    }

    #[test]
    fn a_handshake_is_read_strictly() {
        assert_eq!(check(&request(&[])), Ok(KEY));
        for (name, value, error) in [
            ("upgrade", "websocket, h2c", HandshakeError::Upgrade),
            ("connection", "keep-alive", HandshakeError::Upgrade),
            ("sec-websocket-version", "12", HandshakeError::Version),
            ("sec-websocket-version", "", HandshakeError::Version),
            ("sec-websocket-key", "", HandshakeError::Key),
            ("sec-websocket-key", "c2hvcnQ=", HandshakeError::Key),
        ] {
            assert_eq!(check(&request(&[(name, value)])), Err(error), "{name}: {value}");
        }
        assert!(is_upgrade(&request(&[])) && is_upgrade(&request(&[("upgrade", "websocket, h2c")])));
        assert!(!is_upgrade(&request(&[("upgrade", "h2c")])) && !is_upgrade(&request(&[("upgrade", "")])));
    }

    #[test]
    fn the_answer_proves_that_the_service_read_the_key() {
        let headers = |accept: &'static str, upgrade: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, header::HeaderValue::from_static(accept));
            headers.insert(header::UPGRADE, header::HeaderValue::from_static(upgrade));
            headers
        };
        // The example of RFC 6455 §1.3.
        assert!(is_answered(&headers("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "websocket"), KEY));
        assert!(!is_answered(&headers("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "h2c"), KEY));
        assert!(!is_answered(&headers("AAAALMBiTxaQ9kYGzzhZRbK+xOo=", "websocket"), KEY));
        assert!(!is_answered(&HeaderMap::new(), KEY));
    }
}
