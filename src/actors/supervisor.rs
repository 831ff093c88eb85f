//! How an actor lives, dies and is built again.
//!
//! The framework does not see panics and would start the same struct again. So each child has one supervising task,
//! on the thread of the child, that owns the actor's future itself: a panic ends the future, not the task. A dead child
//! is replaced by a fresh one from its factory, which reads the database; too many deaths are handed up to the
//! [`Owner`]. However the task itself ends, its exit guard reports it.
//!
//! A child costs one task and a few small allocations, so that ten thousand tenants can share a few threads.

mod arbiters;
mod group;
mod policy;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use arbiters::{ArbiterHandle, Arbiters, ArbitersError};
pub use group::{ChildReport, StartFailed, Supervisor};
pub use policy::{Decision, RestartPolicy, RestartWindow};

use super::ask::{ActorMetrics, ActorRef, Child, ChildActor, Ending, Slot};

/// Whether a child that stopped by itself is built again. One that died is built again in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It must always run; leaving by itself counts as a failure.
    Permanent,
    /// It may finish, and then stays down until somebody starts it again.
    Transient,
}

/// How to treat one child.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Name in logs and reports, such as `billing_meter` or a tenant's id. Not a metric label.
    pub name: Cow<'static, str>,
    /// Whether an orderly end of its own is final.
    pub restart: Restart,
    /// How often and how fast it may be built again.
    pub policy: RestartPolicy,
    /// How long the factory may take; longer counts as a failed start.
    pub start_timeout: Duration,
    /// How long an orderly stop may take; then the child is dropped as it is, which is logged.
    pub shutdown_timeout: Duration,
    /// Messages that may be queued or in work at the same time; one more is refused as `Overloaded`. At least 1.
    pub mailbox_capacity: u32,
}

impl ChildSpec {
    /// A permanent child with the default policy, 10 s to start, 5 s to stop and 1024 messages.
    pub fn permanent(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            restart: Restart::Permanent,
            policy: RestartPolicy::CHILD,
            start_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(5),
            mailbox_capacity: 1024,
        }
    }

    /// The same for a child that may finish.
    pub fn transient(name: impl Into<Cow<'static, str>>) -> Self {
        Self { restart: Restart::Transient, ..Self::permanent(name) }
    }
}

/// Why a factory could not build its actor. Only logged, never shown to a client.
#[derive(Debug, thiserror::Error)]
#[error("the actor could not be built")]
pub struct StartError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StartError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// Who answers for a child. Called on the child's thread; must not block.
pub trait Owner: Send + Sync + 'static {
    /// The child used up the intensity of its policy: start over on the owner's account, or leave it down?
    fn child_exhausted(&self, name: &str) -> Decision {
        let _ = name;
        Decision::GiveUp
    }

    /// The child is down for good, and not because somebody stopped it.
    fn child_failed(&self, name: &str);
}

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Being built for the first time.
    Starting,
    /// Serves its messages.
    Running,
    /// Died; a fresh one is waited for.
    Restarting,
    /// Down for good after too many deaths.
    Failed,
    /// Stopped in order, by its owner or by itself.
    Stopped,
}

impl ChildState {
    /// Whether no other state follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Restarting => false,
            Self::Failed | Self::Stopped => true,
        }
    }
}

/// The owner's hold on a child. Cheap to clone; dropping it does not stop the child.
pub struct ChildHandle<A: ChildActor> {
    /// Where to send messages, through all the child's lives.
    pub actor: ActorRef<A>,
    status: Arc<ChildStatus>,
}

impl<A: ChildActor> ChildHandle<A> {
    /// Stops the child in order: no message is let in, all that is queued is answered, [`ChildActor::stopping`] runs.
    /// After the shutdown timeout it is dropped as it is. Returns when it is down; may be called again.
    pub async fn stop(&self) {
        self.status.stop().await;
    }

    /// The state now.
    pub fn state(&self) -> ChildState {
        *self.status.state.borrow()
    }

    /// The state now and its changes.
    pub fn watch(&self) -> watch::Receiver<ChildState> {
        self.status.state.subscribe()
    }

    /// How often the child was built again.
    pub fn restarts(&self) -> u64 {
        self.status.n_restarts.load(Ordering::Relaxed)
    }

    /// Waits until the child runs or is down for good, and says which.
    pub async fn settled(&self) -> ChildState {
        self.status.wait_for(|state| state == ChildState::Running || state.is_final()).await
    }

    /// Waits until the child is down for good, and says how.
    pub async fn ended(&self) -> ChildState {
        self.status.wait_for(ChildState::is_final).await
    }
}

impl<A: ChildActor> Clone for ChildHandle<A> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), status: Arc::clone(&self.status) }
    }
}

impl<A: ChildActor> fmt::Debug for ChildHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle").field("actor", &self.actor).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Starts a child on `arbiter` and returns at once; [`ChildHandle::settled`] tells how it went. The factory is called
/// for each life and builds the actor from what is stored, never from what the last life remembered.
pub fn supervise<A, F, W>(
    arbiter: &ArbiterHandle,
    spec: ChildSpec,
    metrics: &ActorMetrics,
    owner: Arc<dyn Owner>,
    factory: F,
) -> ChildHandle<A>
where
    A: ChildActor,
    F: Fn() -> W + Send + 'static,
    W: Future<Output = Result<A, StartError>> + 'static,
{
    let name: Arc<str> = Arc::from(spec.name.as_ref());
    let slot = Slot::new(Arc::clone(&name), spec.mailbox_capacity, metrics.clone());
    let status = Arc::new(ChildStatus {
        name,
        state: watch::Sender::new(ChildState::Starting),
        n_restarts: AtomicU64::new(0),
        stop: CancellationToken::new(),
    });
    let handle = ChildHandle { actor: ActorRef::to(Arc::clone(&slot)), status: Arc::clone(&status) };
    let guard = ExitGuard { slot, status, owner, end: ChildState::Failed };
    let metrics = metrics.clone();
    if !arbiter.run(move || Task { spec, metrics, guard, factory }.run()) {
        tracing::error!(child = handle.actor.name(), "the thread of the child has ended");
    }
    handle
}

/// What the outside sees of a child, whatever its kind.
struct ChildStatus {
    name: Arc<str>,
    state: watch::Sender<ChildState>,
    n_restarts: AtomicU64,
    stop: CancellationToken,
}

impl ChildStatus {
    async fn stop(&self) {
        self.stop.cancel();
        self.wait_for(ChildState::is_final).await;
    }

    async fn wait_for(&self, is_reached: impl Fn(ChildState) -> bool) -> ChildState {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| is_reached(*state)).await {
            Ok(state) => *state,
            // The sender lives in `self`, so this cannot be reached while somebody waits here.
            Err(_closed) => std::future::pending().await,
        }
    }

    fn report(&self) -> ChildReport {
        ChildReport {
            name: self.name.as_ref().to_owned(),
            state: *self.state.borrow(),
            n_restarts: self.n_restarts.load(Ordering::Relaxed),
        }
    }
}

/// Lives in the supervising task. Its drop publishes how the task ended, even if it was cut off with its thread.
struct ExitGuard<A: ChildActor> {
    slot: Arc<Slot<A>>,
    status: Arc<ChildStatus>,
    owner: Arc<dyn Owner>,
    /// What to report; failed unless the task knows better.
    end: ChildState,
}

impl<A: ChildActor> Drop for ExitGuard<A> {
    fn drop(&mut self) {
        self.slot.close();
        self.status.state.send_replace(self.end);
        if self.end == ChildState::Failed {
            tracing::error!(child = %self.status.name, "the child stays down");
            self.owner.child_failed(&self.status.name);
        }
    }
}

/// How one life ended.
#[derive(Debug)]
enum Death {
    /// In order.
    Finished,
    /// It was told to stop, did not in time, and was dropped.
    Killed,
    /// A handler, the factory or the last act panicked.
    Panicked,
    /// The actor gave up.
    Crashed,
    /// The factory failed or took too long.
    FailedStart(StartError),
}

/// The supervising task of one child.
struct Task<A: ChildActor, F> {
    spec: ChildSpec,
    metrics: ActorMetrics,
    guard: ExitGuard<A>,
    factory: F,
}

impl<A, F, W> Task<A, F>
where
    A: ChildActor,
    F: Fn() -> W + Send + 'static,
    W: Future<Output = Result<A, StartError>> + 'static,
{
    async fn run(mut self) {
        let stop = self.guard.status.stop.clone();
        let mut window = RestartWindow::new(self.spec.policy);
        loop {
            let death = self.live().await;
            self.guard.slot.close();
            self.account(&death);
            let may_rest = matches!(death, Death::Finished) && self.spec.restart == Restart::Transient;
            if may_rest || stop.is_cancelled() {
                self.guard.end = ChildState::Stopped;
                return;
            }
            let Decision::RestartAfter(wait) = self.decide(&mut window) else {
                return;
            };
            self.guard.status.state.send_replace(ChildState::Restarting);
            self.guard.status.n_restarts.fetch_add(1, Ordering::Relaxed);
            // A stop cuts the wait short, and the life that follows ends before it begins.
            if timeout(wait, stop.cancelled()).await.is_ok() {
                self.guard.end = ChildState::Stopped;
                return;
            }
        }
    }

    /// One life, from the factory to the death.
    async fn live(&self) -> Death {
        let stop = &self.guard.status.stop;
        let built = AssertUnwindSafe(async { timeout(self.spec.start_timeout, (self.factory)()).await });
        let built = tokio::select! {
            built = built.catch_unwind() => built,
            () = stop.cancelled() => return Death::Finished,
        };
        let actor = match built {
            Ok(Ok(Ok(actor))) => actor,
            Ok(Ok(Err(error))) => return Death::FailedStart(error),
            Ok(Err(elapsed)) => return Death::FailedStart(StartError::new(elapsed)),
            Err(_panic) => return Death::Panicked,
        };

        let finish = stop.child_token();
        let ending = Rc::new(Cell::new(Ending::Crashed));
        let child = Child::new(actor, Arc::clone(&self.guard.slot), finish.clone(), Rc::clone(&ending));
        let mut context = actix::Context::new();
        self.guard.slot.open(&mut context);
        self.guard.status.state.send_replace(ChildState::Running);
        let mut life = Box::pin(AssertUnwindSafe(context.into_future(child)).catch_unwind());
        let patience = async {
            finish.cancelled().await;
            self.guard.slot.close();
            sleep(self.spec.shutdown_timeout).await;
        };
        let death = tokio::select! {
            // First, so that a life is always polled before it can be dropped: the framework would start it then.
            biased;
            lived = &mut life => match (lived, ending.get()) {
                (Err(_panic), _) => Death::Panicked,
                (Ok(()), Ending::Finished) => Death::Finished,
                (Ok(()), Ending::Crashed) => Death::Crashed,
            },
            () = patience => Death::Killed,
        };
        // What is left of the actor may panic once more in its own drop.
        match catch_unwind(AssertUnwindSafe(move || drop(life))) {
            Ok(()) => death,
            Err(_panic) => Death::Panicked,
        }
    }

    /// Counts and logs a death; the only place that does.
    fn account(&self, death: &Death) {
        let (cause, error) = match death {
            Death::Finished => return,
            Death::Killed => ("killed", None),
            Death::Panicked => ("panic", None),
            Death::Crashed => ("crash", None),
            Death::FailedStart(error) => ("failed_start", Some(error as &dyn std::error::Error)),
        };
        self.metrics.count_death(A::KIND, cause);
        tracing::error!(actor.kind = A::KIND, child = %self.spec.name, cause, error, "the child died");
    }

    fn decide(&self, window: &mut RestartWindow) -> Decision {
        match window.record(Instant::now(), jitter()) {
            Decision::GiveUp => {
                window.clear();
                self.guard.owner.child_exhausted(&self.spec.name)
            }
            decision @ Decision::RestartAfter(_) => decision,
        }
    }
}

/// A number that nobody can foresee, to keep children that died together from coming back together.
fn jitter() -> u64 {
    RandomState::new().hash_one(0_u8)
}
