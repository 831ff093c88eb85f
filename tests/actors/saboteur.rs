//! An actor that does damage on request, and the world that outlives it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use businessos::actors::ask::{ActorMetrics, ChildActor, Ctx, Handle, Request, Responder};
use businessos::actors::supervisor::{ArbiterHandle, ChildHandle, ChildSpec, ChildState, Owner, StartError, supervise};
use tokio::sync::Semaphore;

/// Longer than anything here takes, shorter than anybody's patience.
pub const SOON: Duration = Duration::from_secs(10);

/// What all lives of a saboteur share, as real actors share the database.
pub struct World {
    pub n_starts: AtomicU32,
    pub fails_to_start: AtomicBool,
    pub panics_when_started: AtomicBool,
    /// Once only.
    pub panics_when_dropped: AtomicBool,
    /// What happened, in order.
    pub journal: Mutex<Vec<String>>,
    /// Frozen messages wait for a permit of it.
    pub gate: Arc<Semaphore>,
    /// Names of children reported as failed.
    pub failures: Mutex<Vec<String>>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            n_starts: AtomicU32::new(0),
            fails_to_start: AtomicBool::new(false),
            panics_when_started: AtomicBool::new(false),
            panics_when_dropped: AtomicBool::new(false),
            journal: Mutex::default(),
            gate: Arc::new(Semaphore::new(0)),
            failures: Mutex::default(),
        })
    }

    pub fn note(&self, what: impl Into<String>) {
        self.journal.lock().unwrap().push(what.into());
    }

    pub fn journal(&self) -> Vec<String> {
        self.journal.lock().unwrap().clone()
    }

    pub fn n_starts(&self) -> u32 {
        self.n_starts.load(Ordering::SeqCst)
    }

    pub async fn build(self: Arc<Self>) -> Result<Saboteur, StartError> {
        self.n_starts.fetch_add(1, Ordering::SeqCst);
        if self.fails_to_start.load(Ordering::SeqCst) {
            return Err(StartError::new("sabotaged"));
        }
        Ok(Saboteur { world: self, n_added: 0 })
    }

    /// Starts a saboteur on this very thread, with nobody above it but this world.
    pub fn supervise(self: &Arc<Self>, spec: ChildSpec) -> ChildHandle<Saboteur> {
        self.supervise_on(&ArbiterHandle::current().unwrap(), spec)
    }

    pub fn supervise_on(self: &Arc<Self>, arbiter: &ArbiterHandle, spec: ChildSpec) -> ChildHandle<Saboteur> {
        let world = Arc::clone(self);
        let owner: Arc<dyn Owner> = Arc::<World>::clone(self);
        supervise(arbiter, spec, &ActorMetrics::default(), owner, move || Arc::clone(&world).build())
    }
}

impl Owner for World {
    fn child_failed(&self, name: &str) {
        self.failures.lock().unwrap().push(name.to_owned());
    }
}

pub struct Saboteur {
    world: Arc<World>,
    n_added: u32,
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        assert!(!self.world.panics_when_dropped.swap(false, Ordering::SeqCst), "sabotaged when dropped");
    }
}

impl ChildActor for Saboteur {
    const KIND: &'static str = "saboteur";

    fn started(&mut self, _ctx: &mut Ctx<'_, Self>) {
        assert!(!self.world.panics_when_started.load(Ordering::SeqCst), "sabotaged when started");
    }

    async fn stopping(self) {
        tokio::task::yield_now().await;
        self.world.note(format!("flushed {}", self.n_added));
    }
}

/// Command: adds one to what this life remembers. Replies with the sum.
#[derive(Debug)]
pub struct Add;

impl Request for Add {
    const NAME: &'static str = "add";
    type Reply = u32;
    type Refusal = Infallible;
}

impl Handle<Add> for Saboteur {
    fn handle(&mut self, _: Add, responder: Responder<Add>, _: &mut Ctx<'_, Self>) {
        self.n_added += 1;
        self.world.note("added");
        responder.reply(self.n_added);
    }
}

/// Query: what this life remembers.
#[derive(Debug)]
pub struct GetSum;

impl Request for GetSum {
    const NAME: &'static str = "get_sum";
    type Reply = u32;
    type Refusal = Infallible;
}

impl Handle<GetSum> for Saboteur {
    fn handle(&mut self, _: GetSum, responder: Responder<GetSum>, _: &mut Ctx<'_, Self>) {
        responder.reply(self.n_added);
    }
}

/// Command: answers only when the gate of the world is opened.
#[derive(Debug)]
pub struct Freeze;

impl Request for Freeze {
    const NAME: &'static str = "freeze";
    type Reply = ();
    type Refusal = Infallible;
}

impl Handle<Freeze> for Saboteur {
    fn handle(&mut self, _: Freeze, responder: Responder<Freeze>, ctx: &mut Ctx<'_, Self>) {
        let gate = Arc::clone(&self.world.gate);
        ctx.spawn(async move { gate.acquire_owned().await.unwrap().forget() }, |actor, (), _| {
            actor.world.note("thawed");
            responder.reply(());
        });
    }
}

/// Command: does damage.
#[derive(Debug, Clone, Copy)]
pub enum Sabotage {
    Panic,
    PanicLater,
    Crash,
    Stop,
    Refuse,
    /// Drops the responder.
    Ignore,
    /// Keeps the mailbox from ever being empty.
    Flood,
    /// Answers a second later.
    AnswerLater,
    /// Starts work that nobody waits for and that ends when the gate opens.
    WorkInTheBackground,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("no")]
pub struct No;

impl Request for Sabotage {
    const NAME: &'static str = "sabotage";
    type Reply = ();
    type Refusal = No;
}

impl Handle<Sabotage> for Saboteur {
    fn handle(&mut self, how: Sabotage, responder: Responder<Sabotage>, ctx: &mut Ctx<'_, Self>) {
        match how {
            Sabotage::Panic => panic!("sabotaged"),
            Sabotage::PanicLater => ctx.spawn(tokio::task::yield_now(), |_, (), _| {
                let _responder = responder;
                panic!("sabotaged later");
            }),
            Sabotage::Crash => ctx.crash(),
            Sabotage::Stop => {
                ctx.stop();
                responder.reply(());
            }
            Sabotage::AnswerLater => ctx.run_later(Duration::from_secs(1), |_, _| responder.reply(())),
            Sabotage::Refuse => responder.refuse(No),
            Sabotage::Ignore => drop(responder),
            Sabotage::Flood => {
                ctx.actor().tell(Sabotage::Flood).unwrap();
                responder.reply(());
            }
            Sabotage::WorkInTheBackground => {
                let gate = Arc::clone(&self.world.gate);
                let work = async move { gate.acquire_owned().await.unwrap().forget() };
                ctx.spawn(work, |actor, (), _| actor.world.note("worked"));
                responder.reply(());
            }
        }
    }
}

/// Waits until the child has been built again `n` times and runs.
pub async fn reborn(child: &ChildHandle<Saboteur>, n: u64) {
    let mut states = child.watch();
    let is_back = states.wait_for(|state| *state == ChildState::Running && child.restarts() == n);
    tokio::time::timeout(SOON, is_back).await.expect("the child did not come back in time").unwrap();
}

/// Lets others on this thread run until the condition holds. Bounded by turns, because a paused clock stands still.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never came true: {what}");
}
