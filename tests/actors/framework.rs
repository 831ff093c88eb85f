//! What the actor framework really does, read in its source and pinned here, so that an upgrade cannot move the ground
//! under the kernel. A red test here is news, not necessarily bad news: see whether the kernel still needs its remedy.

#![expect(clippy::disallowed_methods, reason = "this file shows what they do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Supervised, SyncContext};
use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Subject {
    n_handled: u32,
    n_restarted: u32,
    ticks: Vec<Instant>,
    n_handled_before_future: Option<u32>,
}

impl Actor for Subject {
    type Context = Context<Self>;
}

impl Supervised for Subject {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.n_restarted += 1;
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Work;

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    TickEvery(Duration),
    /// Spawns a future that is ready at once, and then refills the mailbox that many times.
    Refill(u32),
}

#[derive(Message)]
#[rtype(result = "Seen")]
struct Look;

#[derive(actix::MessageResponse)]
struct Seen {
    n_handled: u32,
    n_restarted: u32,
    ticks: Vec<Instant>,
    n_handled_before_future: Option<u32>,
}

impl Handler<Work> for Subject {
    type Result = ();
    fn handle(&mut self, _: Work, _: &mut Context<Self>) {
        self.n_handled += 1;
    }
}

impl Handler<Do> for Subject {
    type Result = ();
    fn handle(&mut self, what: Do, ctx: &mut Context<Self>) {
        match what {
            Do::Panic => panic!("asked to"),
            Do::Stop => ctx.stop(),
            Do::TickEvery(period) => {
                ctx.run_interval(period, |subject, _| subject.ticks.push(Instant::now()));
            }
            Do::Refill(n) => {
                if self.n_handled == 0 {
                    let ready = wrap_future::<_, Self>(std::future::ready(()));
                    ctx.spawn(ready.map(|(), subject, _| subject.n_handled_before_future = Some(subject.n_handled)));
                }
                self.n_handled += 1;
                if n > 1 {
                    ctx.address().do_send(Do::Refill(n - 1));
                }
            }
        }
    }
}

impl Handler<Look> for Subject {
    type Result = Seen;
    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> Seen {
        let Self { n_handled, n_restarted, ticks, n_handled_before_future } = self;
        let (ticks, n_handled_before_future) = (ticks.clone(), *n_handled_before_future);
        Seen { n_handled: *n_handled, n_restarted: *n_restarted, ticks, n_handled_before_future }
    }
}

/// A subject whose mailbox is as small as it can be.
fn narrow_subject() -> actix::Addr<Subject> {
    Subject::create(|ctx| {
        ctx.set_mailbox_capacity(1);
        Subject::default()
    })
}

#[actix::test]
async fn fact_1_the_frameworks_supervisor_never_sees_a_panic() {
    let address = actix::Supervisor::start(|_| Subject::default());
    assert_eq!(address.send(Do::Panic).await, Err(actix::MailboxError::Closed));
    assert!(address.send(Look).await.is_err(), "nobody built it again");
}

#[actix::test]
async fn fact_1_the_frameworks_restart_uses_the_same_struct() {
    let address = actix::Supervisor::start(|_| Subject::default());
    address.send(Work).await.unwrap();
    address.send(Do::Stop).await.unwrap();
    let seen = address.send(Look).await.unwrap();
    assert_eq!((seen.n_restarted, seen.n_handled), (1, 1), "restarted, and yet it remembers");
}

#[actix::test]
async fn fact_1_a_panic_in_one_actor_leaves_others_and_the_thread_alone() {
    let (victim, other) = (Subject::default().start(), Subject::default().start());
    victim.send(Do::Panic).await.unwrap_err();
    assert!(other.send(Look).await.is_ok());
}

// The actor shares the test's thread, so nothing leaves its mailbox before the test awaits.

#[actix::test]
async fn fact_2_do_send_ignores_the_capacity() {
    let address = narrow_subject();
    for _ in 0..100 {
        address.do_send(Work);
    }
    assert_eq!(address.send(Look).await.unwrap().n_handled, 100);
}

#[actix::test]
async fn fact_2_send_ignores_the_capacity() {
    let address = narrow_subject();
    let mut requests: Vec<_> = (0..100).map(|_| Box::pin(address.send(Work))).collect();
    assert!(requests.iter_mut().all(|request| request.as_mut().now_or_never().is_none()));
    assert_eq!(address.send(Look).await.unwrap().n_handled, 100, "all were queued before the actor ran");
}

#[actix::test]
async fn fact_2_try_send_is_bounded_on_one_address_but_each_clone_adds_a_slot() {
    let address = narrow_subject();
    assert!(address.try_send(Work).is_ok());
    assert!(matches!(address.try_send(Work), Err(actix::dev::SendError::Full(_))));
    for _ in 0..100 {
        assert!(address.clone().try_send(Work).is_ok());
    }
    assert_eq!(address.send(Look).await.unwrap().n_handled, 101);
}

#[actix::test]
async fn fact_3_dropping_the_reply_future_cancels_a_queued_message() {
    let address = Subject::default().start();
    drop(address.send(Work));
    assert_eq!(address.send(Look).await.unwrap().n_handled, 0);
}

struct Threaded(Arc<AtomicU32>);

impl Actor for Threaded {
    type Context = SyncContext<Self>;
}

impl Handler<Work> for Threaded {
    type Result = ();
    fn handle(&mut self, _: Work, _: &mut SyncContext<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Handler<Do> for Threaded {
    type Result = ();
    fn handle(&mut self, _: Do, _: &mut SyncContext<Self>) {
        panic!("asked to");
    }
}

#[actix::test]
async fn fact_4_a_sync_arbiter_queues_without_bound() {
    let n_handled = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&n_handled);
    let address = actix::SyncArbiter::start(1, move || Threaded(Arc::clone(&counter)));
    for _ in 0..100_000 {
        assert!(address.try_send(Work).is_ok());
    }
    assert_eq!(n_handled.load(Ordering::SeqCst), 0, "all of them wait: the dispatcher shares the test's thread");
    timeout(SOON, address.send(Work)).await.unwrap().unwrap();
    assert_eq!(n_handled.load(Ordering::SeqCst), 100_001);
}

#[actix::test]
async fn fact_4_a_panic_kills_a_sync_arbiters_thread_for_good() {
    let n_built = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&n_built);
    let address = actix::SyncArbiter::start(1, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Threaded(Arc::default())
    });
    timeout(SOON, address.send(Work)).await.unwrap().unwrap();
    timeout(SOON, address.send(Do::Panic)).await.unwrap().unwrap_err();
    assert!(timeout(SOON, address.send(Work)).await.unwrap().is_err());
    assert_eq!(n_built.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn fact_5_the_mailbox_is_drained_before_any_future_is_polled() {
    let address = Subject::default().start();
    address.send(Do::Refill(200)).await.unwrap();
    assert_eq!(address.send(Look).await.unwrap().n_handled_before_future, Some(200));
}

#[actix::test]
async fn fact_5_an_interval_fires_in_a_burst_after_a_stall() {
    tokio::time::pause();
    let address = Subject::default().start();
    address.send(Do::TickEvery(Duration::from_secs(1))).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut ticks = Vec::new();
    for _ in 0..100 {
        // The mailbox comes before the timer, so the first look may be too early.
        ticks = address.send(Look).await.unwrap().ticks;
        if !ticks.is_empty() {
            break;
        }
    }
    let n_burst = ticks.iter().filter(|at| Some(*at) == ticks.first()).count();
    assert!(n_burst >= 9, "{n_burst} ticks at one instant");
}

#[test]
fn fact_6_the_framework_is_touched_by_the_kernel_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut users: Vec<PathBuf> = sources(&src);
    users.retain(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.contains("actix::") || text.contains("actix_rt::")
    });
    assert!(!users.is_empty(), "the kernel itself uses it, or this test looks in the wrong place");
    for file in users {
        let room = file.strip_prefix(src.join("actors")).unwrap_or(&file);
        let is_kernel = ["ask", "supervisor"].iter().any(|name| room.with_extension("").starts_with(name));
        assert!(is_kernel, "{} uses the actor framework", file.display());
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
