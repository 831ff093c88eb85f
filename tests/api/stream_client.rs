//! A client of usage streams, and a hand that writes what they show.

use std::time::Duration;

use businessos::db::pool::PoolSettings;
use businessos::db::{Db, TenantTx, stream_events};
use businessos::domain::ids::TenantId;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::helpers::{App, PATIENCE, Session, Tenant};

/// An open stream.
pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
}

/// Why a handshake was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: Value,
}

impl Client {
    /// Opens the stream with a query and, perhaps, an access token or API key.
    pub async fn try_open(app: &App, slug: &str, query: &str, token: Option<&str>) -> Result<Self, Refused> {
        Self::try_open_on(TcpSocket::new_v4().unwrap(), app, slug, query, token).await
    }

    /// A stream on a socket that takes little at once, so that it is felt soon when nobody reads.
    pub async fn open_narrow(app: &App, slug: &str, session: &Session) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self::try_open_on(socket, app, slug, "", Some(&session.access)).await.unwrap()
    }

    async fn try_open_on(
        socket: TcpSocket,
        app: &App,
        slug: &str,
        query: &str,
        token: Option<&str>,
    ) -> Result<Self, Refused> {
        let stream = socket.connect(([127, 0, 0, 1], app.port).into()).await.unwrap();
        let url = format!("ws://{slug}.localhost:{}/billing/usage/stream{query}", app.port);
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer to the handshake") {
            Ok((socket, _response)) => Ok(Self { socket }),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(Refused {
                    status: response.status().as_u16(),
                    body: serde_json::from_slice(body).unwrap_or_default(),
                })
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn open(app: &App, slug: &str, query: &str, session: &Session) -> Self {
        match Self::try_open(app, slug, query, Some(&session.access)).await {
            Ok(client) => client,
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// The next message of the server; pings are answered on the way. `Err` is the close frame's code.
    pub async fn next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("a message in time");
            match message.expect("the server closes with a frame").unwrap() {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(Some(frame)) => return Err((frame.code.into(), frame.reason.to_string())),
                Message::Close(None) => return Err((1005, String::new())),
                _ => {}
            }
        }
    }

    pub async fn snapshot(&mut self) -> Value {
        let message = self.next().await.unwrap();
        assert_eq!(message["type"], "snapshot", "{message}");
        message
    }

    /// Reads events up to a number; all that came, in their order.
    pub async fn ids_up_to(&mut self, last: i64) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.last() != Some(&last) {
            let message = self.next().await.unwrap();
            if let Some(id) = message["id"].as_i64() {
                ids.push(id);
            }
        }
        ids
    }

    /// The code and reason that the stream is closed with.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }
}

/// Another process of the platform, as far as streams can tell: pools of its own.
pub struct Hand {
    db: Db,
}

impl Hand {
    pub fn new(app: &App) -> Self {
        let (acquire_timeout, statement_timeout) = (PATIENCE, Duration::from_secs(20));
        let settings = PoolSettings { max_connections: 4, acquire_timeout, statement_timeout };
        Self { db: Db::new(settings, |role| app.db.options(role)) }
    }

    /// Appends an event; returns its number.
    pub async fn append(&self, tenant: &Tenant, kind: &str, payload: Value) -> i64 {
        let tenant: TenantId = tenant.id.parse().unwrap();
        let mut tx = TenantTx::begin(&self.db, tenant).await.unwrap();
        let id = stream_events::append(&mut tx, kind, &payload).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub async fn cross(&self, tenant: &Tenant) -> i64 {
        self.append(tenant, "threshold.crossed", json!({ "meter": "ai_tokens", "threshold": 80 })).await
    }

    /// Forgets the events that are older than now.
    pub async fn forget_all(&self, tenant: &Tenant) -> u64 {
        let mut tx = TenantTx::begin(&self.db, tenant.id.parse().unwrap()).await.unwrap();
        let n = stream_events::forget_old(&mut tx, businessos::clock::now(), 1_000).await.unwrap();
        tx.commit().await.unwrap();
        n
    }
}

/// Sets a counter of the present month, as counting does.
pub async fn count_up(app: &App, tenant: &Tenant, meter: &str, used: i64) {
    app.db
        .as_admin(&format!(
            "INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end, used)
             VALUES ('{}', '{meter}', date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
                     (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC', {used})
             ON CONFLICT (tenant_id, meter, period_start)
             DO UPDATE SET used = excluded.used, revision = usage_counters.revision + 1",
            tenant.id
        ))
        .await;
}
