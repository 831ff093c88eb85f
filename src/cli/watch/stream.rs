//! One connection to the stream, from the handshake to its end.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::access::Access;
use super::origin::Origin;

/// The server pings more often than this; silence for so long means that the connection is dead.
const LONGEST_SILENCE: Duration = Duration::from_secs(90);
/// Longest wait for the handshake.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody reads what is printed.
    Unread,
    /// It is of no use to come back.
    Refused(String),
    /// A new token is needed.
    Unauthorized(String),
    /// The server wants the client to come back.
    Later(String),
    /// The connection broke, or there was none.
    Lost(String),
}

/// What is read of a message.
#[derive(Debug, Deserialize)]
struct Numbered {
    r#type: String,
    id: Option<u64>,
    #[serde(default)]
    resync: bool,
}

impl Numbered {
    /// The number to come back with after this message. A picture has the last event's number, but the events that were asked for
    /// come only after it.
    fn follow(self, seen: Option<u64>) -> Option<u64> {
        let is_picture = self.r#type == "snapshot";
        match self.id {
            Some(id) if !is_picture || self.resync || seen.is_none() => Some(id),
            Some(_) | None => seen,
        }
    }
}

/// Connects and hands each message to `print`, until `print` says that it is not wanted or the connection ends. `seen` follows the
/// numbers of events.
pub(super) async fn follow(
    origin: &Origin,
    access: &Access,
    seen: &mut Option<u64>,
    print: &mut dyn FnMut(&str) -> bool,
) -> Ended {
    let connection = match origin.connect().await {
        Ok(connection) => connection,
        Err(error) => return Ended::Lost(error.to_string()),
    };
    let resume = seen.map(|id| format!("?resume_from={id}")).unwrap_or_default();
    let request = http::Request::get(format!("ws://{}/billing/usage/stream{resume}", origin.authority))
        .header("host", &origin.authority)
        .header("x-tenant", &origin.tenant)
        .header("authorization", format!("Bearer {}", access.token()))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key())
        .body(());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Ended::Refused(error.to_string()),
    };
    let mut socket = match timeout(PATIENCE, client_async(request, connection)).await {
        Ok(Ok((socket, _response))) => socket,
        Ok(Err(Error::Http(response))) => return refused(response.status().as_u16(), response.body().as_deref()),
        Ok(Err(error)) => return Ended::Lost(error.to_string()),
        Err(_elapsed) => return Ended::Lost("no answer to the handshake".to_owned()),
    };
    loop {
        let text = match timeout(LONGEST_SILENCE, socket.next()).await {
            Err(_elapsed) => return Ended::Lost("the server is silent".to_owned()),
            Ok(None) => return Ended::Lost("the connection was closed".to_owned()),
            Ok(Some(Err(error))) => return Ended::Lost(error.to_string()),
            Ok(Some(Ok(Message::Close(frame)))) => {
                let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                return closed(frame.unwrap_or_default());
            }
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => continue,
        };
        if !print(&text) {
            return Ended::Unread;
        }
        if let Ok(message) = serde_json::from_str::<Numbered>(&text) {
            *seen = message.follow(*seen);
        }
    }
}

/// What the server's close frame means for the client.
fn closed((code, reason): (u16, String)) -> Ended {
    let why = format!("the stream was closed: {code} {reason}");
    match code {
        4401 => Ended::Unauthorized(why),
        4403 => Ended::Refused(why),
        _ => Ended::Later(why),
    }
}

/// What an answer other than 101 means for the client.
fn refused(status: u16, body: Option<&[u8]>) -> Ended {
    let body: serde_json::Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let text = |name| body.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let why = format!("the stream was refused: {status} {} {}", text("code"), text("detail"));
    match status {
        401 => Ended::Unauthorized(why),
        408 | 429 | 500.. => Ended::Later(why),
        _ => Ended::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_does_not_hide_the_events_that_were_asked_for() {
        let follow = |text, seen| serde_json::from_str::<Numbered>(text).expect("a message").follow(seen);
        assert_eq!(follow(r#"{"type":"snapshot","id":9}"#, None), Some(9));
        assert_eq!(follow(r#"{"type":"snapshot","id":9}"#, Some(4)), Some(4));
        assert_eq!(follow(r#"{"type":"snapshot","id":9,"resync":true}"#, Some(4)), Some(9));
        assert_eq!(follow(r#"{"type":"plan.changed","id":5}"#, Some(4)), Some(5));
        assert_eq!(follow(r#"{"type":"usage.updated"}"#, Some(4)), Some(4));
    }

    #[test]
    fn only_what_another_try_can_mend_is_tried_again() {
        assert!(matches!(closed((4401, String::new())), Ended::Unauthorized(_)));
        assert!(matches!(closed((4403, String::new())), Ended::Refused(_)));
        for code in [1001, 1012, 1013, 4408] {
            assert!(matches!(closed((code, String::new())), Ended::Later(_)), "{code}");
        }
        assert!(matches!(refused(401, None), Ended::Unauthorized(_)));
        for status in [429, 500, 502, 503] {
            assert!(matches!(refused(status, None), Ended::Later(_)), "{status}");
        }
        for status in [400, 403, 404, 426] {
            assert!(matches!(refused(status, None), Ended::Refused(_)), "{status}");
        }
    }
}
