//! How a message reaches an actor: a bounded mailbox, a deadline, and an answer that is never silently lost.
//!
//! The framework's own sending is not bounded (it admits a message into a full mailbox) and it drops a queued message
//! when the caller goes away. So delivery is ours: a permit taken from a semaphore travels with the message until it is
//! answered, and the answer travels through a channel whose other end may be gone without harm. An [`ActorRef`] points
//! at a slot, not at an actor, so that it survives restarts.
//!
//! Asks go down the tree of actors and events go up: no actor waits on another that may wait on it.

mod child;
mod metrics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tracing::Span;

pub use child::{ChildActor, Ctx};
pub use metrics::ActorMetrics;

pub(in crate::actors) use child::{Child, Ending};
use metrics::Outcome;

/// A message. Each implementor documents its kind (command, query or event), whether it is idempotent, who sends it and
/// what a lost reply means.
pub trait Request: fmt::Debug + Send + 'static {
    /// Name in metrics and spans, such as `check_rate_limit`.
    const NAME: &'static str;
    /// What the actor answers when it agrees; `()` for an event.
    type Reply: Send + 'static;
    /// Why the actor may say no; [`std::convert::Infallible`] when it never does. A refusal does not stop the actor.
    type Refusal: std::error::Error + Send + 'static;
}

/// Implemented by an actor for each message it understands.
pub trait Handle<M: Request>: ChildActor {
    /// Deals with one message. The responder may be moved into work given to [`Ctx::spawn`], to answer later; until it
    /// is answered or dropped the message keeps its place in the mailbox's bound.
    fn handle(&mut self, message: M, responder: Responder<M>, ctx: &mut Ctx<'_, Self>);
}

/// Why an ask has no reply.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError<E: std::error::Error + 'static> {
    /// The mailbox is at its bound. The message was not delivered.
    #[error("the actor's mailbox is full")]
    Overloaded,
    /// No answer came within the deadline. The message stays queued and may still take effect.
    #[error("the actor did not answer in time")]
    TimedOut,
    /// The actor is down, or went down before it answered. Whether the message took effect is not known.
    #[error("the actor is not available")]
    Unavailable,
    /// The actor understood the message and said no.
    #[error("the actor refused")]
    Refused(#[source] E),
}

/// Why a message could not be left with an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// The mailbox is at its bound.
    #[error("the actor's mailbox is full")]
    Overloaded,
    /// The actor is down: between two lives, failed or stopped.
    #[error("the actor is not available")]
    Unavailable,
}

/// A place where an actor of kind `A` can be reached, whichever of its lives it is in. Cheap to clone.
pub struct ActorRef<A: ChildActor> {
    slot: Arc<Slot<A>>,
}

impl<A: ChildActor> ActorRef<A> {
    /// Sends a message and waits for the answer, at most for `deadline`. Dropping the future does not take back a
    /// message that was queued; it only means that nobody reads the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<M>(&self, message: M, deadline: Duration) -> Result<M::Reply, AskError<M::Refusal>>
    where
        A: Handle<M>,
        M: Request,
    {
        let metrics = &self.slot.metrics;
        metrics.count(A::KIND, M::NAME, Outcome::Asked);
        let (sender, receiver) = oneshot::channel();
        let answer = match self.post(message, Some(sender)) {
            Ok(()) => tokio::time::timeout(deadline, receiver).await,
            Err(TellError::Overloaded) => {
                metrics.count(A::KIND, M::NAME, Outcome::Overloaded);
                return Err(AskError::Overloaded);
            }
            Err(TellError::Unavailable) => {
                metrics.count(A::KIND, M::NAME, Outcome::Unavailable);
                return Err(AskError::Unavailable);
            }
        };
        match answer {
            Ok(Ok(Ok(reply))) => Ok(reply),
            Ok(Ok(Err(refusal))) => {
                metrics.count(A::KIND, M::NAME, Outcome::Refused);
                Err(AskError::Refused(refusal))
            }
            Ok(Err(_dropped)) => {
                metrics.count(A::KIND, M::NAME, Outcome::Unavailable);
                Err(AskError::Unavailable)
            }
            Err(_elapsed) => {
                metrics.count(A::KIND, M::NAME, Outcome::TimedOut);
                Err(AskError::TimedOut)
            }
        }
    }

    /// Leaves a message without waiting for an answer. `Ok` means queued: a crash may still lose it, so what must
    /// happen is written to the database first.
    ///
    /// # Errors
    /// See [`TellError`].
    pub fn tell<M>(&self, message: M) -> Result<(), TellError>
    where
        A: Handle<M>,
        M: Request,
    {
        let metrics = &self.slot.metrics;
        metrics.count(A::KIND, M::NAME, Outcome::Told);
        self.post(message, None).inspect_err(|error| match error {
            TellError::Overloaded => metrics.count(A::KIND, M::NAME, Outcome::Overloaded),
            TellError::Unavailable => metrics.count(A::KIND, M::NAME, Outcome::Unavailable),
        })
    }

    /// The name from the child's specification, for logs.
    pub fn name(&self) -> &str {
        &self.slot.name
    }

    /// Whether a message sent now would find a living actor. Only a hint: it may die the moment after.
    pub fn is_available(&self) -> bool {
        self.slot.address.load().is_some()
    }

    pub(in crate::actors) fn to(slot: Arc<Slot<A>>) -> Self {
        Self { slot }
    }

    fn post<M>(&self, message: M, sender: Option<Answer<M>>) -> Result<(), TellError>
    where
        A: Handle<M>,
        M: Request,
    {
        // Asked first, so that a slot whose permits are being collected for the drain says "down", not "full".
        if !self.is_available() {
            return Err(TellError::Unavailable);
        }
        let Ok(permit) = Arc::clone(&self.slot.permits).try_acquire_owned() else {
            return Err(TellError::Overloaded);
        };
        // The permit comes before the address: whoever closes the slot and then holds every permit knows that no
        // message is on its way any more.
        let address = self.slot.address.load();
        let Some(address) = address.as_ref() else {
            return Err(TellError::Unavailable);
        };
        let slot = Arc::clone(&self.slot);
        let ticket = Ticket { _permit: permit, posted: Instant::now(), was_handled: false, slot, message: M::NAME };
        let envelope = Envelope { message, responder: Responder { ticket, sender }, span: Span::current() };
        #[expect(clippy::disallowed_methods, reason = "this is the one place that may; the permit bounds it")]
        let sent = address.try_send(envelope);
        sent.map_err(|error| match error {
            actix::dev::SendError::Full(_) => TellError::Overloaded,
            actix::dev::SendError::Closed(_) => TellError::Unavailable,
        })
    }
}

impl<A: ChildActor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<A: ChildActor> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorRef").field("kind", &A::KIND).field("name", &self.slot.name).finish_non_exhaustive()
    }
}

type Answer<M> = oneshot::Sender<Result<<M as Request>::Reply, <M as Request>::Refusal>>;

/// The duty to answer one message. Dropping it unanswered tells the asker that the actor is unavailable.
pub struct Responder<M: Request> {
    // Declared before the sender: whoever sees the answer must also find the permit returned.
    ticket: Ticket,
    sender: Option<Answer<M>>,
}

impl<M: Request> Responder<M> {
    /// Answers with a reply.
    pub fn reply(self, reply: M::Reply) {
        self.answer(Ok(reply));
    }

    /// Answers with a refusal.
    pub fn refuse(self, refusal: M::Refusal) {
        self.answer(Err(refusal));
    }

    /// Answers with a reply or a refusal.
    pub fn answer(self, answer: Result<M::Reply, M::Refusal>) {
        let Self { ticket, sender } = self;
        drop(ticket);
        // An asker that has gone away is not an error: the message took effect all the same.
        if let Some(Err(_unread)) = sender.map(|sender| sender.send(answer)) {
            tracing::trace!(message = M::NAME, "nobody waits for the answer");
        }
    }

    /// Whether nobody waits for the answer: a tell, or an asker that went away. A costly query may stop here; a
    /// command must not.
    pub fn is_unwatched(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl<M: Request> fmt::Debug for Responder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("message", &M::NAME).finish_non_exhaustive()
    }
}

/// One message's place in the mailbox, from posting until its answer.
struct Ticket {
    _permit: OwnedSemaphorePermit,
    posted: Instant,
    /// Only messages that reached their handler are measured, not those that died in the queue.
    was_handled: bool,
    slot: Arc<dyn Measured>,
    message: &'static str,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.was_handled {
            self.slot.measure(self.message, self.posted.elapsed());
        }
    }
}

/// What travels through the framework.
struct Envelope<M: Request> {
    message: M,
    responder: Responder<M>,
    span: Span,
}

impl<M: Request> actix::Message for Envelope<M> {
    type Result = ();
}

impl<A: Handle<M>, M: Request> actix::Handler<Envelope<M>> for Child<A> {
    type Result = ();

    fn handle(&mut self, envelope: Envelope<M>, context: &mut Self::Context) {
        let Envelope { message, mut responder, span } = envelope;
        responder.ticket.was_handled = true;
        let span = tracing::debug_span!(parent: &span, "actors.handle", actor.kind = A::KIND, actor.message = M::NAME);
        self.breathe(context);
        self.with(context, |actor, ctx| span.in_scope(|| actor.handle(message, responder, ctx)));
    }
}

/// Where the current life of an actor is found, and what all its lives share.
pub(in crate::actors) struct Slot<A: ChildActor> {
    name: Arc<str>,
    /// The one shared address; `None` between two lives. Never cloned: each clone would widen the framework's mailbox.
    address: ArcSwapOption<actix::Addr<Child<A>>>,
    permits: Arc<Semaphore>,
    capacity: u32,
    metrics: ActorMetrics,
}

impl<A: ChildActor> Slot<A> {
    pub(in crate::actors) fn new(name: Arc<str>, mailbox_capacity: u32, metrics: ActorMetrics) -> Arc<Self> {
        let capacity = mailbox_capacity.clamp(1, u32::MAX >> 3);
        let permits = Arc::new(Semaphore::new(capacity as usize));
        Arc::new(Self { name, address: ArcSwapOption::empty(), permits, capacity, metrics })
    }

    /// Lets messages reach the life that runs in `context`.
    pub(in crate::actors) fn open(&self, context: &mut actix::Context<Child<A>>) {
        use actix::AsyncContext as _;
        // One more than the permits: the framework's bound is never the one that is met.
        context.set_mailbox_capacity(self.capacity as usize + 1);
        self.address.store(Some(Arc::new(context.address())));
    }

    /// Lets no further message in. What is queued stays queued.
    pub(in crate::actors) fn close(&self) {
        self.address.store(None);
    }

    /// Resolves when every message let in has been answered or dropped. Only meaningful after [`Slot::close`].
    pub(in crate::actors) async fn drained(&self) {
        // An error would mean that the semaphore was closed, which nobody does; then nothing is in flight either.
        drop(self.permits.acquire_many(self.capacity).await);
    }
}

/// The part of a slot that does not depend on the kind of actor.
trait Measured: Send + Sync {
    fn measure(&self, message: &'static str, duration: Duration);
}

impl<A: ChildActor> Measured for Slot<A> {
    fn measure(&self, message: &'static str, duration: Duration) {
        self.metrics.observe(A::KIND, message, duration);
    }
}
