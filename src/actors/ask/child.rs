//! The shell around an actor: the framework sees the shell, the actor sees a [`Ctx`], and neither sees the other.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorContext as _, ActorFutureExt as _, AsyncContext as _};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{ActorRef, Slot};

/// Messages handled in a row before the actor lets its neighbours run. The framework drains a mailbox to the last
/// message before it polls anything else, and a sender as quick as the actor would keep it at that for ever.
const BREATH: u32 = 64;

/// An actor that can be supervised: plain state, changed by one message at a time.
///
/// A panic while it is dropped is contained, but not one in a panic's own unwinding: keep `Drop` quiet.
pub trait ChildActor: Sized + Unpin + 'static {
    /// Kind of the actor in metrics and spans, such as `tenant`.
    const KIND: &'static str;

    /// Called once, before the first message.
    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        let _ = ctx;
    }

    /// The last act of an orderly stop, after every queued message was answered and all work given to [`Ctx::spawn`]
    /// ended: flush what is buffered. Not called after a crash. Bounded by the child's shutdown timeout.
    fn stopping(self) -> impl Future<Output = ()> + 'static {
        std::future::ready(())
    }
}

/// What an actor can do besides changing its state and answering.
pub struct Ctx<'a, A: ChildActor> {
    shell: &'a Shell<A>,
    context: &'a mut actix::Context<Child<A>>,
}

impl<A: ChildActor> Ctx<'_, A> {
    /// Runs `work` beside the mailbox and then `then` with the actor: other messages are handled in between. It is cut
    /// short if the actor dies; an orderly stop waits for it, so work without end does not belong here.
    pub fn spawn<W, F>(&mut self, work: W, then: F)
    where
        W: Future + 'static,
        F: FnOnce(&mut A, W::Output, &mut Ctx<'_, A>) + 'static,
    {
        self.shell.n_works.update(|n| n + 1);
        let work = wrap_future::<_, Child<A>>(work.in_current_span());
        self.context.spawn(work.map(|output, child, context| child.after_work(output, then, context)));
    }

    /// As [`Ctx::spawn`], but no message is handled before `then` has run. Say at the call which invariant needs this.
    pub fn wait<W, F>(&mut self, work: W, then: F)
    where
        W: Future + 'static,
        F: FnOnce(&mut A, W::Output, &mut Ctx<'_, A>) + 'static,
    {
        self.shell.n_works.update(|n| n + 1);
        let work = wrap_future::<_, Child<A>>(work.in_current_span());
        self.context.wait(work.map(|output, child, context| child.after_work(output, then, context)));
    }

    /// Calls `tick` once after `delay`, unless the actor is stopping by then. Something periodic arms itself again when
    /// its work is done: an interval would fire in a burst after a stall.
    pub fn run_later<F>(&mut self, delay: Duration, tick: F)
    where
        F: FnOnce(&mut A, &mut Ctx<'_, A>) + 'static,
    {
        self.context.run_later(delay, |child, context| {
            if !child.is_finishing {
                child.with(context, tick);
            }
        });
    }

    /// Asks for an orderly stop of this actor: what is queued is still handled. A transient child then stays down, a
    /// permanent one is built afresh.
    pub fn stop(&mut self) {
        self.shell.finish.cancel();
    }

    /// Gives up at once, for an actor in doubt about its own state (a write whose outcome is unknown): whatever is
    /// queued is answered `Unavailable`, and the supervisor builds a fresh actor from the database.
    pub fn crash(&mut self) {
        self.context.terminate();
    }

    /// A reference to this actor, for those it creates.
    pub fn actor(&self) -> ActorRef<A> {
        ActorRef::to(Arc::clone(&self.shell.slot))
    }
}

/// How a life ended that did not panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::actors) enum Ending {
    /// The actor left without being asked to: it gave up.
    Crashed,
    /// An orderly stop ran to its end.
    Finished,
}

struct Shell<A: ChildActor> {
    slot: Arc<Slot<A>>,
    finish: CancellationToken,
    n_works: Cell<usize>,
    ending: Rc<Cell<Ending>>,
}

/// One life of an actor, as the framework sees it.
pub(in crate::actors) struct Child<A: ChildActor> {
    /// `None` once the actor has been taken out for its last act.
    actor: Option<A>,
    shell: Shell<A>,
    is_finishing: bool,
    n_handled: u32,
}

impl<A: ChildActor> Child<A> {
    /// Wraps a fresh actor. `finish` asks for an orderly stop; `ending` tells how the life ended, once it has.
    pub(in crate::actors) fn new(
        actor: A,
        slot: Arc<Slot<A>>,
        finish: CancellationToken,
        ending: Rc<Cell<Ending>>,
    ) -> Self {
        let shell = Shell { slot, finish, n_works: Cell::new(0), ending };
        Self { actor: Some(actor), shell, is_finishing: false, n_handled: 0 }
    }

    pub(super) fn with(&mut self, context: &mut actix::Context<Self>, act: impl FnOnce(&mut A, &mut Ctx<'_, A>)) {
        if let Some(actor) = &mut self.actor {
            act(actor, &mut Ctx { shell: &self.shell, context });
        }
    }

    pub(super) fn breathe(&mut self, context: &mut actix::Context<Self>) {
        self.n_handled += 1;
        if self.n_handled >= BREATH {
            self.n_handled = 0;
            context.wait(wrap_future(tokio::task::yield_now()));
        }
    }

    fn after_work<T>(
        &mut self,
        output: T,
        then: impl FnOnce(&mut A, T, &mut Ctx<'_, A>),
        context: &mut actix::Context<Self>,
    ) {
        self.with(context, |actor, ctx| then(actor, output, ctx));
        self.shell.n_works.update(|n| n - 1);
        self.finish_if_idle(context);
    }

    fn finish_if_idle(&mut self, context: &mut actix::Context<Self>) {
        if !self.is_finishing || self.shell.n_works.get() > 0 {
            return;
        }
        let Some(actor) = self.actor.take() else { return };
        context.spawn(wrap_future::<_, Self>(actor.stopping()).map(|(), child, context| {
            child.shell.ending.set(Ending::Finished);
            context.stop();
        }));
    }
}

impl<A: ChildActor> actix::Actor for Child<A> {
    type Context = actix::Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let slot = Arc::clone(&self.shell.slot);
        let finish = self.shell.finish.clone();
        let drained = async move {
            finish.cancelled().await;
            slot.close();
            slot.drained().await;
        };
        context.spawn(wrap_future::<_, Self>(drained).map(|(), child, context| {
            child.is_finishing = true;
            child.finish_if_idle(context);
        }));
        self.with(context, |actor, ctx| actor.started(ctx));
    }
}
