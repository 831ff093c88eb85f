//! Life and death: restarts, escalation, order, drain.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use businessos::actors::ask::{ActorMetrics, ActorRef, AskError, TellError};
use businessos::actors::supervisor::{
    ArbiterHandle, Arbiters, ChildHandle, ChildSpec, ChildState, RestartPolicy, Supervisor, supervise,
};
use tokio::time::timeout;

use crate::saboteur::{Add, Freeze, GetSum, SOON, Sabotage, Saboteur, World, eventually, reborn};

async fn start(world: &Arc<World>, spec: ChildSpec) -> ChildHandle<Saboteur> {
    let child = world.supervise(spec);
    assert_eq!(child.settled().await, ChildState::Running);
    child
}

#[actix::test]
async fn after_a_panic_a_fresh_actor_serves_the_next_ask() {
    for how in [Sabotage::Panic, Sabotage::PanicLater, Sabotage::Crash] {
        let world = World::new();
        let child = start(&world, ChildSpec::permanent("saboteur")).await;
        assert_eq!(child.actor.ask(Add, SOON).await, Ok(1));

        let hung = Duration::from_secs(10);
        assert_eq!(child.actor.ask(how, SOON).now_within(hung).await, Err(AskError::Unavailable), "{how:?}");
        timeout(Duration::from_secs(10), reborn(&child, 1)).await.expect("not back");

        assert_eq!(child.actor.ask(GetSum, SOON).await, Ok(0), "the old life's memory is gone");
        assert_eq!(world.n_starts(), 2);
        child.stop().await;
    }
}

#[actix::test]
async fn an_actor_that_panics_even_while_it_is_dropped_is_built_again() {
    let world = World::new();
    let child = start(&world, ChildSpec::permanent("saboteur")).await;
    world.panics_when_dropped.store(true, Ordering::SeqCst);
    child.actor.tell(Sabotage::Crash).unwrap();
    reborn(&child, 1).await;
    child.stop().await;
}

#[actix::test]
async fn messages_queued_behind_a_panic_are_answered_unavailable() {
    let child = start(&World::new(), ChildSpec::permanent("saboteur")).await;
    child.actor.tell(Sabotage::Panic).unwrap();
    let hung = Duration::from_secs(10);
    assert_eq!(child.actor.ask(Add, SOON).now_within(hung).await, Err(AskError::Unavailable));
    reborn(&child, 1).await;
    child.stop().await;
}

#[actix::test]
async fn a_child_that_always_fails_is_given_up_after_its_intensity() {
    tokio::time::pause();
    for is_panic in [false, true] {
        let world = World::new();
        world.fails_to_start.store(!is_panic, Ordering::SeqCst);
        world.panics_when_started.store(is_panic, Ordering::SeqCst);
        let began = tokio::time::Instant::now();
        let child = world.supervise(ChildSpec::permanent("saboteur"));

        assert_eq!(timeout(SOON, child.ended()).await, Ok(ChildState::Failed));
        assert_eq!(world.n_starts(), 1 + RestartPolicy::CHILD.intensity);
        assert_eq!(child.restarts(), u64::from(RestartPolicy::CHILD.intensity));
        assert!(began.elapsed() >= Duration::from_millis(775), "half of 50 + 100 + 200 + 400 + 800 ms of back-off");
        assert_eq!(*world.failures.lock().unwrap(), ["saboteur"]);
        assert_eq!(child.actor.ask(GetSum, SOON).await, Err(AskError::Unavailable));
    }
}

#[actix::test]
async fn a_factory_that_hangs_counts_as_a_failed_start() {
    tokio::time::pause();
    let world = World::new();
    let policy = RestartPolicy { intensity: 1, ..RestartPolicy::CHILD };
    let spec = ChildSpec { policy, start_timeout: Duration::from_secs(2), ..ChildSpec::permanent("hung") };
    let arbiter = ArbiterHandle::current().unwrap();
    let owner = Arc::<World>::clone(&world);
    let child: ChildHandle<Saboteur> = supervise(&arbiter, spec, &ActorMetrics::default(), owner, std::future::pending);
    assert_eq!(timeout(SOON, child.ended()).await, Ok(ChildState::Failed));
}

#[actix::test]
async fn a_factory_that_panics_counts_as_a_death() {
    tokio::time::pause();
    let world = World::new();
    let owner = Arc::<World>::clone(&world);
    let arbiter = ArbiterHandle::current().unwrap();
    let factory = {
        let world = Arc::clone(&world);
        move || {
            world.note("called");
            async { panic!("sabotaged while built") }
        }
    };
    let spec = ChildSpec::permanent("unbuildable");
    let child: ChildHandle<Saboteur> = supervise(&arbiter, spec, &ActorMetrics::default(), owner, factory);
    assert_eq!(timeout(SOON, child.ended()).await, Ok(ChildState::Failed));
    assert_eq!(world.journal().len(), 6);
}

#[actix::test]
async fn failures_that_are_far_apart_never_add_up() {
    tokio::time::pause();
    let world = World::new();
    let child = start(&world, ChildSpec::permanent("saboteur")).await;
    for n in 1..=12 {
        child.actor.tell(Sabotage::Panic).unwrap();
        reborn(&child, n).await;
        tokio::time::advance(RestartPolicy::CHILD.period).await;
    }
    assert_eq!(child.actor.ask(GetSum, SOON).await, Ok(0));
    child.stop().await;
}

#[actix::test]
async fn a_group_restarts_on_its_own_account_and_then_escalates() {
    tokio::time::pause();
    let world = World::new();
    world.fails_to_start.store(true, Ordering::SeqCst);
    let group = Supervisor::new(RestartPolicy::ROOT, ActorMetrics::default());
    let arbiter = ArbiterHandle::current().unwrap();

    let factory = Arc::clone(&world);
    let started = group.start(&arbiter, ChildSpec::permanent("broken"), move || Arc::clone(&factory).build()).await;

    assert_eq!(started.unwrap_err().state, ChildState::Failed);
    assert_eq!(timeout(SOON, group.escalated()).await.as_deref(), Ok("broken"));
    let n_rounds = 1 + RestartPolicy::ROOT.intensity;
    assert_eq!(world.n_starts(), n_rounds * (1 + RestartPolicy::CHILD.intensity));
    group.stop().await;
}

#[actix::test]
async fn a_group_starts_in_order_and_stops_in_reverse() {
    tokio::time::pause();
    let journal = World::new();
    let group = Supervisor::new(RestartPolicy::ROOT, ActorMetrics::default());
    let arbiter = ArbiterHandle::current().unwrap();
    // The first takes longest to start and the last longest to stop: only waiting keeps the order.
    for (name, start_secs) in [("first", 3), ("second", 2), ("third", 1)] {
        let journal = Arc::clone(&journal);
        let factory = move || {
            let journal = Arc::clone(&journal);
            async move {
                tokio::time::sleep(Duration::from_secs(start_secs)).await;
                journal.note(format!("{name} up"));
                Ok(Named { name, stop: Duration::from_secs(4 - start_secs), journal })
            }
        };
        group.start(&arbiter, ChildSpec::permanent(name), factory).await.unwrap();
    }
    assert!(group.reports().iter().all(|report| report.state == ChildState::Running && report.n_restarts == 0));
    group.stop().await;
    assert_eq!(journal.journal(), ["first up", "second up", "third up", "third down", "second down", "first down"]);
    assert!(group.reports().iter().all(|report| report.state == ChildState::Stopped));
}

struct Named {
    name: &'static str,
    stop: Duration,
    journal: Arc<World>,
}

impl businessos::actors::ask::ChildActor for Named {
    const KIND: &'static str = "named";

    async fn stopping(self) {
        tokio::time::sleep(self.stop).await;
        self.journal.note(format!("{} down", self.name));
    }
}

#[actix::test]
async fn a_stop_answers_all_that_was_queued_and_then_flushes() {
    let world = World::new();
    let child = start(&world, ChildSpec::permanent("saboteur")).await;
    child.actor.tell(Sabotage::WorkInTheBackground).unwrap();
    let frozen = child.actor.ask(Freeze, SOON);
    let stopped = async {
        for _ in 0..10 {
            child.actor.tell(Add).unwrap();
        }
        let stop = child.stop();
        tokio::pin!(stop);
        // Begin the stop, and only then let the frozen message and the background work go on.
        assert!(futures_util::poll!(&mut stop).is_pending());
        eventually("the mailbox is closed", async || !child.actor.is_available()).await;
        assert_eq!(child.actor.tell(Add), Err(TellError::Unavailable), "nothing is let in any more");
        world.gate.add_permits(2);
        stop.await;
    };
    let (frozen, ()) = tokio::join!(frozen, stopped);

    assert_eq!(frozen, Ok(()));
    assert_eq!(child.state(), ChildState::Stopped);
    let mut journal = world.journal();
    assert_eq!(journal.pop().as_deref(), Some("flushed 10"), "the flush comes last");
    journal.sort();
    assert_eq!(journal, [vec!["added"; 10], vec!["thawed", "worked"]].concat());
    assert_eq!(child.restarts(), 0);
    child.stop().await;
}

#[actix::test]
async fn a_stop_waits_for_work_that_no_message_waits_for() {
    let world = World::new();
    let child = start(&world, ChildSpec::permanent("saboteur")).await;
    child.actor.ask(Sabotage::WorkInTheBackground, SOON).await.unwrap();
    tokio::join!(child.stop(), async {
        eventually("the mailbox is closed", async || !child.actor.is_available()).await;
        world.gate.add_permits(1);
    });
    assert_eq!(world.journal(), ["worked", "flushed 0"]);
}

#[actix::test]
async fn a_stop_waits_for_an_answer_that_was_put_off() {
    tokio::time::pause();
    let child = start(&World::new(), ChildSpec::permanent("saboteur")).await;
    let (answer, ()) = tokio::join!(biased; child.actor.ask(Sabotage::AnswerLater, SOON), child.stop());
    assert_eq!(answer, Ok(()));
    assert_eq!(child.state(), ChildState::Stopped);
}

#[actix::test]
async fn a_stop_that_hangs_is_bounded_and_its_askers_are_told() {
    tokio::time::pause();
    let world = World::new();
    let child = start(&world, ChildSpec::permanent("saboteur")).await;
    let forever = Duration::from_secs(3600);
    let (frozen, ()) = tokio::join!(child.actor.ask(Freeze, forever), async {
        assert_eq!(timeout(SOON, child.stop()).await, Ok(()));
    });
    assert_eq!(frozen, Err(AskError::Unavailable));
    assert_eq!(child.state(), ChildState::Stopped);
    assert_eq!(world.journal(), Vec::<String>::new(), "it was dropped as it was, without a flush");
}

#[actix::test]
async fn a_transient_child_may_finish_but_not_die() {
    let world = World::new();
    let child = start(&world, ChildSpec::transient("saboteur")).await;
    child.actor.tell(Sabotage::Panic).unwrap();
    reborn(&child, 1).await;

    child.actor.ask(Sabotage::Stop, SOON).await.unwrap();
    assert_eq!(timeout(SOON, child.ended()).await, Ok(ChildState::Stopped));
    assert_eq!(world.n_starts(), 2);
    assert_eq!(world.journal(), ["flushed 0"]);
    assert!(world.failures.lock().unwrap().is_empty());
}

#[actix::test]
async fn a_permanent_child_that_finishes_is_built_again() {
    let child = start(&World::new(), ChildSpec::permanent("saboteur")).await;
    child.actor.ask(Sabotage::Stop, SOON).await.unwrap();
    reborn(&child, 1).await;
    child.stop().await;
}

#[actix::test]
async fn a_stop_ends_the_wait_for_a_restart() {
    let world = World::new();
    let policy = RestartPolicy {
        backoff_initial: Duration::from_secs(3600),
        backoff_max: Duration::from_secs(3600),
        ..RestartPolicy::CHILD
    };
    let child = start(&world, ChildSpec { policy, ..ChildSpec::permanent("saboteur") }).await;
    child.actor.tell(Sabotage::Panic).unwrap();
    child.watch().wait_for(|state| *state == ChildState::Restarting).await.unwrap();
    assert!(!child.actor.is_available());
    assert_eq!(timeout(SOON, child.stop()).await, Ok(()));
    assert_eq!(child.state(), ChildState::Stopped);
    assert_eq!(world.n_starts(), 1);
}

#[actix::test]
async fn many_children_share_a_few_threads_and_serve_callers_on_any_thread() {
    let arbiters = Arbiters::start(NonZeroUsize::new(2).unwrap()).unwrap();
    let world = World::new();
    let children: Vec<_> =
        (0..1000).map(|n| world.supervise_on(&arbiters.pick(n), ChildSpec::transient(format!("tenant {n}")))).collect();
    let asked = std::thread::spawn({
        let children = children.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for child in &children {
                    assert_eq!(child.settled().await, ChildState::Running);
                    assert_eq!(child.actor.ask(Add, SOON).await, Ok(1));
                }
            });
        }
    });
    tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap();
    futures_util::future::join_all(children.iter().map(ChildHandle::stop)).await;
    assert!(children.iter().all(|child| child.state() == ChildState::Stopped));
    assert_eq!(world.n_starts(), 1000);
    timeout(SOON, arbiters.stop()).await.expect("the threads did not end");
}

#[actix::test]
async fn a_child_whose_thread_ends_under_it_is_reported_as_failed() {
    let arbiters = Arbiters::start(NonZeroUsize::MIN).unwrap();
    let world = World::new();
    let arbiter = arbiters.pick(7);
    let child = world.supervise_on(&arbiter, ChildSpec::permanent("cut off"));
    child.settled().await;
    arbiters.stop().await;
    assert_eq!(timeout(SOON, child.ended()).await, Ok(ChildState::Failed));
    assert_eq!(child.actor.ask(Add, SOON).await, Err(AskError::Unavailable));
    let late = world.supervise_on(&arbiter, ChildSpec::permanent("too late"));
    assert_eq!(timeout(SOON, late.ended()).await, Ok(ChildState::Failed));
    assert_eq!(*world.failures.lock().unwrap(), ["cut off", "too late"]);
}

#[test]
fn threads_for_actors_need_a_running_system() {
    assert!(Arbiters::start(NonZeroUsize::MIN).is_err());
    assert!(ArbiterHandle::current().is_none());
}

#[test]
fn handles_may_be_shared_between_threads() {
    fn is_shareable<T: Send + Sync + Clone>() {}
    is_shareable::<ActorRef<Saboteur>>();
    is_shareable::<ChildHandle<Saboteur>>();
    is_shareable::<Supervisor>();
    is_shareable::<ArbiterHandle>();
}

/// Says when something took longer than it may, apart from the deadline that the ask itself has.
trait NowWithin: Future + Sized {
    async fn now_within(self, patience: Duration) -> Self::Output {
        timeout(patience, self).await.expect("the asker hangs")
    }
}

impl<W: Future> NowWithin for W {}
