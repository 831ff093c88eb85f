//! A stream while it is open.
//!
//! What waits for a client is bounded everywhere: the hub's queue, the framework's channel and its write buffer. A client that does
//! not read fills them one after the other, and then loses its place; the database keeps what it will ask for when it comes back.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::web;
use actix_ws::{CloseCode, CloseReason, Message, MessageStream, ProtocolError, Session};
use chrono::{DateTime, Utc};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::messages;
use crate::actors::tenant::TenantHandle;
use crate::actors::usage_feed::hub::message;
use crate::actors::usage_feed::{Notice, Place};
use crate::clock;
use crate::db::stream_feed::{self, Counter, Picture, StreamEvent};
use crate::db::{DbError, TenantTx};
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::http::standing::{Lost, Standing};
use crate::http::state::AppState;

/// How often the caller is looked at while nothing is sent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A client that takes nothing for so long is too slow.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
/// A client gets so long to take the close frame, while nothing is kept for it but what was under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);
/// Old events that are read at once.
const PAGE: i64 = 100;
/// Pings that a client may leave without an answer.
const MAX_UNANSWERED: u32 = 2;

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// The client closed it, or is gone.
    Gone,
    /// With a close frame.
    Close(CloseCode, &'static str),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        let (code, reason) = lost.close();
        Self::Close(CloseCode::Other(code), reason)
    }
}

impl From<DbError> for End {
    fn from(error: DbError) -> Self {
        tracing::warn!(%error, "a stream of usage could not be brought up to date");
        Self::Close(CloseCode::Restart, "unavailable")
    }
}

const TOO_SLOW: End = End::Close(CloseCode::Again, "too-slow");

/// An open stream.
pub(super) struct Stream {
    state: web::Data<AppState>,
    tenant: TenantId,
    standing: Standing,
    place: Place,
    session: Session,
    messages: MessageStream,
    /// The newest picture of each meter that the client has: begin of the period and revision.
    shown: HashMap<MeterName, (DateTime<Utc>, i64)>,
    n_unanswered: u32,
}

/// Serves a stream beside the worker's requests; it ends with the connection.
#[expect(clippy::disallowed_methods, reason = "it lives as long as its connection, on the connection's worker")]
pub(super) fn serve(stream: Stream, first: String, after: i64) {
    actix_web::rt::spawn(stream.run(first, after));
}

impl Stream {
    pub(super) fn new(
        state: web::Data<AppState>,
        tenant: TenantId,
        standing: Standing,
        place: Place,
        session: Session,
        messages: MessageStream,
        picture: Picture,
    ) -> Self {
        let shown =
            picture.counters.into_iter().map(|counter| (counter.meter, (counter.period_start, counter.revision)));
        Self { state, tenant, standing, place, session, messages, shown: shown.collect(), n_unanswered: 0 }
    }

    async fn run(mut self, first: String, after: i64) {
        let Err(end) = self.tell_all(first, after).await;
        let End::Close(code, reason) = end else { return };
        tracing::debug!(tenant.id = %self.tenant, reason, "a stream of usage is closed");
        let reason = CloseReason { code, description: Some(reason.to_owned()) };
        drop(self.place);
        // Who does not even take this is left to the end of the connection.
        let _ = timeout(CLOSE_PATIENCE, self.session.close(Some(reason))).await;
    }

    async fn tell_all(&mut self, first: String, mut after: i64) -> Result<std::convert::Infallible, End> {
        self.send(first).await?;
        loop {
            let page = self.list_after(after).await?;
            let n_events = page.len();
            for event in page {
                self.send(message(&event)).await?;
                after = event.id;
            }
            if n_events < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                break;
            }
        }
        // The hub asks for whatever came meanwhile.
        let mut notices = self.place.listen(after, Period::containing(clock::now()));
        self.follow(&mut notices).await
    }

    async fn list_after(&self, after: i64) -> Result<Vec<StreamEvent>, DbError> {
        let mut tx = TenantTx::begin_read(&self.state.db, self.tenant).await?;
        let page = stream_feed::list_after(&mut tx, after, PAGE).await?;
        tx.finish();
        Ok(page)
    }

    async fn follow(&mut self, notices: &mut Receiver<Notice>) -> Result<std::convert::Infallible, End> {
        let ping_every = Duration::from_secs(self.state.settings.stream.ping_s);
        let mut next_ping = Instant::now() + ping_every;
        // Outside of the loop: a client that never falls silent, or news that never end, must not put it off.
        let mut next_look = Instant::now() + LOOK_EVERY;
        let state = self.state.clone();
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.tell(notice).await?,
                    None => return Err(TOO_SLOW),
                },
                said = self.messages.recv() => self.hear(said).await?,
                () = sleep_until(next_look.min(next_ping)) => {
                    self.check()?;
                    next_look = Instant::now() + LOOK_EVERY;
                    if next_ping <= Instant::now() {
                        next_ping = Instant::now() + ping_every;
                        self.ping().await?;
                    }
                }
                () = state.drain.begun() => {
                    sleep(state.drain.spread()).await;
                    return Err(End::Close(CloseCode::Restart, "restarting"));
                }
            }
        }
    }

    async fn tell(&mut self, notice: Notice) -> Result<(), End> {
        match notice {
            Notice::Event { id: _, text } => self.send(text.to_string()).await,
            Notice::Usage(counter) => {
                let Counter { meter, period_start, revision, .. } = &*counter;
                let version = (*period_start, *revision);
                if self.shown.get(meter).is_some_and(|shown| version <= *shown) {
                    return Ok(());
                }
                self.shown.insert(meter.clone(), version);
                let text = messages::usage_updated(&self.handle()?.view(), &counter);
                self.send(text).await
            }
        }
    }

    /// Sends a message to a caller who may still see it.
    async fn send(&mut self, text: String) -> Result<(), End> {
        self.check()?;
        sent(timeout(SEND_PATIENCE, self.session.text(text)).await)
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.n_unanswered >= MAX_UNANSWERED {
            return Err(End::Close(CloseCode::Other(4408), "no-pong"));
        }
        self.n_unanswered += 1;
        sent(timeout(SEND_PATIENCE, self.session.ping(b"")).await)
    }

    /// Asks the tenant's present view, and keeps the tenant from being passivated: nobody would tell this stream of a revocation.
    fn check(&self) -> Result<(), End> {
        let tenant = self.handle()?;
        tenant.touch(clock::monotonic_ns());
        Ok(self.standing.check(&tenant.view(), clock::now_s())?)
    }

    fn handle(&self) -> Result<std::sync::Arc<TenantHandle>, End> {
        let tenant = self.state.registry.find_id(self.tenant);
        tenant.ok_or(End::Close(CloseCode::Restart, "unavailable"))
    }

    async fn hear(&mut self, said: Option<Result<Message, ProtocolError>>) -> Result<(), End> {
        let said = said.ok_or(End::Gone)?.map_err(|error| match error {
            ProtocolError::Overflow => End::Close(CloseCode::Size, "too-long"),
            ProtocolError::Io(_) => End::Gone,
            _ => End::Close(CloseCode::Protocol, "protocol-error"),
        })?;
        match said {
            Message::Pong(_) => {
                self.n_unanswered = 0;
                Ok(())
            }
            Message::Ping(bytes) => sent(timeout(SEND_PATIENCE, self.session.pong(&bytes)).await),
            Message::Close(_) => Err(End::Close(CloseCode::Normal, "")),
            Message::Text(_) | Message::Binary(_) | Message::Continuation(_) => {
                Err(End::Close(CloseCode::Unsupported, "only-listening"))
            }
            Message::Nop => Ok(()),
        }
    }
}

fn sent(sent: Result<Result<(), actix_ws::Closed>, tokio::time::error::Elapsed>) -> Result<(), End> {
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_closed)) => Err(End::Gone),
        Err(_elapsed) => Err(TOO_SLOW),
    }
}
