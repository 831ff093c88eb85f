//! Delivery: bounds, deadlines, answers.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use businessos::actors::ask::{ActorMetrics, ActorRef, AskError, TellError};
use businessos::actors::supervisor::{ArbiterHandle, Arbiters, ChildSpec, Owner, supervise};
use futures_util::FutureExt as _;
use prometheus_client::registry::Registry;

use crate::saboteur::{Add, Freeze, GetSum, No, SOON, Sabotage, Saboteur, World, eventually};

fn spec(mailbox_capacity: u32) -> ChildSpec {
    ChildSpec { mailbox_capacity, ..ChildSpec::permanent("saboteur") }
}

#[actix::test]
async fn a_reply_a_refusal_and_a_dropped_responder_reach_the_asker() {
    let child = World::new().supervise(spec(8));
    child.settled().await;
    assert_eq!(child.actor.ask(Add, SOON).await, Ok(1));
    assert_eq!(child.actor.ask(Sabotage::Refuse, SOON).await, Err(AskError::Refused(No)));
    assert_eq!(child.actor.ask(Sabotage::Ignore, SOON).await, Err(AskError::Unavailable));
    assert_eq!(child.restarts(), 0);
    child.stop().await;
}

#[actix::test]
async fn a_full_mailbox_refuses_at_once_and_leaves_the_neighbour_alone() {
    let (world, neighbour) = (World::new(), World::new());
    let flooded = world.supervise(spec(3));
    let neighbour = neighbour.supervise(spec(3));
    tokio::join!(flooded.settled(), neighbour.settled());

    for _ in 0..3 {
        flooded.actor.tell(Freeze).unwrap();
    }
    assert_eq!(flooded.actor.tell(Freeze), Err(TellError::Overloaded));
    assert_eq!(flooded.actor.ask(Add, SOON).await, Err(AskError::Overloaded));
    assert_eq!(neighbour.actor.ask(Add, SOON).await, Ok(1));

    world.gate.add_permits(3);
    flooded.stop().await;
    neighbour.stop().await;
    assert_eq!(world.journal(), ["thawed", "thawed", "thawed", "flushed 0"]);
}

#[actix::test]
async fn an_actor_whose_mailbox_never_empties_does_not_starve_its_neighbour() {
    // On a thread of their own, so that a starved neighbour cannot starve this test as well.
    let arbiters = Arbiters::start(NonZeroUsize::MIN).unwrap();
    let flooded = World::new().supervise_on(&arbiters.pick(0), spec(4));
    let neighbour = World::new().supervise_on(&arbiters.pick(0), spec(4));
    tokio::join!(flooded.settled(), neighbour.settled());
    flooded.actor.tell(Sabotage::Flood).unwrap();
    for n in 1..=5 {
        assert_eq!(neighbour.actor.ask(Add, SOON).await, Ok(n));
    }
    flooded.actor.tell(Sabotage::Panic).unwrap();
    neighbour.stop().await;
    flooded.stop().await;
    arbiters.stop().await;
}

#[actix::test]
async fn an_ask_that_is_dropped_after_it_was_queued_still_takes_effect() {
    let child = World::new().supervise(spec(8));
    child.settled().await;
    let mut ask = Box::pin(child.actor.ask(Add, SOON));
    assert!(ask.as_mut().now_or_never().is_none(), "the actor shares this thread, so it cannot have answered yet");
    drop(ask);
    assert_eq!(child.actor.ask(GetSum, SOON).await, Ok(1));
    child.stop().await;
}

#[actix::test]
async fn a_frozen_handler_times_out_and_its_permit_returns_with_the_late_answer() {
    tokio::time::pause();
    let world = World::new();
    let child = world.supervise(spec(1));
    child.settled().await;
    assert_eq!(child.actor.ask(Freeze, Duration::from_secs(1)).await, Err(AskError::TimedOut));
    assert_eq!(child.actor.ask(GetSum, SOON).await, Err(AskError::Overloaded), "the permit is not back yet");

    world.gate.add_permits(1);
    eventually("the permit is back", async || child.actor.ask(GetSum, SOON).await == Ok(0)).await;
    assert_eq!(world.journal(), ["thawed"]);
    child.stop().await;
}

#[actix::test]
async fn whoever_sees_an_answer_finds_the_permit_returned() {
    let child = World::new().supervise(spec(1));
    child.settled().await;
    for how in [Sabotage::Ignore, Sabotage::Refuse] {
        let probe = Arc::new(Probe { actor: child.actor.clone(), told: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&probe));
        let mut ask = Box::pin(child.actor.ask(how, SOON));
        assert!(ask.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        eventually("the answer is there", async || probe.told.lock().unwrap().is_some()).await;
        assert_eq!(*probe.told.lock().unwrap(), Some(Ok(())), "{how:?}");
        eventually("the probe's own message is done", async || child.actor.ask(GetSum, SOON).await.is_ok()).await;
    }
    child.stop().await;
}

/// Sends a message at the very moment at which the answer of another arrives.
struct Probe {
    actor: ActorRef<Saboteur>,
    told: Mutex<Option<Result<(), TellError>>>,
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.told.lock().unwrap().get_or_insert_with(|| self.actor.tell(GetSum));
    }
}

#[actix::test]
async fn what_became_of_messages_is_counted_by_kind_and_name() {
    let mut registry = Registry::default();
    let metrics = ActorMetrics::register(&mut registry);
    let world = World::new();
    let owner: Arc<dyn Owner> = Arc::<World>::clone(&world);
    let arbiter = ArbiterHandle::current().unwrap();
    let child = supervise(&arbiter, spec(1), &metrics, owner, {
        let world = Arc::clone(&world);
        move || Arc::clone(&world).build()
    });
    child.settled().await;
    child.actor.ask(Add, SOON).await.unwrap();
    child.actor.ask(Sabotage::Refuse, SOON).await.unwrap_err();
    child.actor.tell(Freeze).unwrap();
    child.actor.ask(Add, SOON).await.unwrap_err();
    world.gate.add_permits(1);
    child.stop().await;
    child.actor.ask(Add, SOON).await.unwrap_err();

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let count = |message: &str, outcome: &str| {
        let series = format!(r#"actor_messages_total{{actor="saboteur",message="{message}",outcome="{outcome}"}} "#);
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |n| n.parse::<u32>().unwrap())
    };
    assert_eq!(count("add", "asked"), 3, "{text}");
    assert_eq!(count("add", "overloaded"), 1, "{text}");
    assert_eq!(count("add", "unavailable"), 1, "{text}");
    assert_eq!(count("sabotage", "refused"), 1, "{text}");
    assert_eq!(count("freeze", "told"), 1, "{text}");
    for (message, n) in [("add", 1), ("sabotage", 1), ("freeze", 1)] {
        let series = format!(r#"actor_message_duration_seconds_count{{actor="saboteur",message="{message}"}} {n}"#);
        assert!(text.contains(&series), "{series}\n{text}");
    }
}
