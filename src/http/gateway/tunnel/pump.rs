//! Bytes both ways, each as fast as its reader, until somebody ends it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::rt::time::sleep;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::frames::{Frames, close_frame};

/// Bytes that are read from the service at once.
const CHUNK: usize = 16 * 1024;
/// When a tunnel is told to end, a frame that is under way in either direction has so long to come to its end.
const GRACE: Duration = Duration::from_secs(2);

/// The close frame with which the gateway ends a tunnel (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Code.
    pub code: u16,
    /// Reason: at most 123 bytes.
    pub reason: &'static str,
}

/// What both directions see.
#[derive(Debug)]
struct Shared {
    /// When something moved last.
    moved: Cell<Instant>,
    /// What to say when told to end.
    farewell: Cell<Option<Farewell>>,
    ending: CancellationToken,
}

impl Shared {
    fn move_on(&self) {
        self.moved.set(Instant::now());
    }

    /// Returns after so long a silence in both directions.
    async fn silence(&self, limit: Duration) {
        while let Some(left) = limit.checked_sub(self.moved.get().elapsed()).filter(|left| !left.is_zero()) {
            sleep(left).await;
        }
    }

    /// The frame to be said at this place of a direction, if it is to end here.
    fn last_word(&self, frames: &Frames, is_clients: bool) -> Option<Bytes> {
        let farewell = self.farewell.get().filter(|_| frames.is_between() && !frames.has_closed())?;
        Some(close_frame(farewell.code, farewell.reason, is_clients))
    }

    /// Whether a direction that has come so far has nothing more to say.
    fn is_over(&self, frames: &Frames) -> bool {
        self.ending.is_cancelled() && frames.is_between()
    }
}

/// Pumps until both sides are done, all is silent for longer than `idle_limit`, or `end` says with what to close.
pub(super) async fn pump(
    service: impl AsyncRead + AsyncWrite,
    client: Payload,
    answer: Sender<Bytes>,
    idle_limit: Duration,
    end: impl Future<Output = Farewell>,
) {
    let shared =
        Shared { moved: Cell::new(Instant::now()), farewell: Cell::new(None), ending: CancellationToken::new() };
    let (reader, writer) = tokio::io::split(service);
    let told_to_end = async {
        shared.farewell.set(Some(end.await));
        shared.ending.cancel();
        sleep(GRACE).await;
    };
    tokio::select! {
        _ = futures_util::future::join(down(reader, answer, &shared), up(client, writer, &shared)) => {}
        () = shared.silence(idle_limit) => {}
        () = told_to_end => {}
    }
}

/// From the service to the client; ends the client's side when it ends.
async fn down(mut reader: impl AsyncRead + Unpin, answer: Sender<Bytes>, shared: &Shared) {
    let (mut frames, mut buffer) = (Frames::default(), BytesMut::new());
    while !shared.is_over(&frames) {
        buffer.reserve(CHUNK);
        tokio::select! {
            biased;
            () = shared.ending.cancelled(), if !shared.ending.is_cancelled() => continue,
            () = answer.closed() => return,
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
        }
        let bytes = cut(&mut frames, buffer.split().freeze(), shared);
        shared.move_on();
        if answer.send(bytes).await.is_err() {
            return;
        }
        shared.move_on();
    }
    if let Some(word) = shared.last_word(&frames, false) {
        // A client that is gone needs no farewell.
        let _ = answer.send(word).await;
    }
}

/// From the client to the service; tells the service when the client is done.
async fn up(mut client: Payload, mut writer: impl AsyncWrite + Unpin, shared: &Shared) {
    let mut frames = Frames::default();
    while !shared.is_over(&frames) {
        let chunk = tokio::select! {
            biased;
            () = shared.ending.cancelled(), if !shared.ending.is_cancelled() => continue,
            chunk = client.next() => chunk,
        };
        let Some(Ok(bytes)) = chunk else { break };
        let bytes = cut(&mut frames, bytes, shared);
        shared.move_on();
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        shared.move_on();
    }
    if let Some(word) = shared.last_word(&frames, true) {
        let _ = writer.write_all(&word).await;
    }
    // The service may be gone, which is what it would be told.
    let _ = writer.shutdown().await;
}

/// All of the bytes; of a tunnel that is to end, those up to the end of the present frame.
fn cut(frames: &mut Frames, bytes: Bytes, shared: &Shared) -> Bytes {
    if shared.ending.is_cancelled() {
        let n = frames.pass_one(&bytes);
        bytes.slice(..n)
    } else {
        frames.pass(&bytes);
        bytes
    }
}
