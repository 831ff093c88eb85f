//! Requests without a pause from several threads, every outcome kept.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wire::{Call, Client, Failure, PATIENCE};

/// What became of one request.
#[derive(Debug)]
pub struct Outcome {
    pub path: String,
    pub result: Result<super::wire::Answer, Failure>,
    pub took: Duration,
}

/// Outcomes of a whole load.
#[derive(Debug, Default)]
pub struct Outcomes(pub Vec<Outcome>);

impl Outcomes {
    /// Answers with this status.
    pub fn n(&self, status: u16) -> usize {
        self.0.iter().filter(|outcome| matches!(&outcome.result, Ok(answer) if answer.status == status)).count()
    }

    pub fn refused(&self) -> usize {
        self.0.iter().filter(|outcome| matches!(outcome.result, Err(Failure::Refused(_)))).count()
    }

    /// Requests that were sent and got no whole answer.
    pub fn broken(&self) -> Vec<&Outcome> {
        self.0.iter().filter(|outcome| matches!(outcome.result, Err(Failure::Broken(_)))).collect()
    }

    /// Everything but answers with one of `expected` and refused connections.
    pub fn others(&self, expected: &[u16]) -> Vec<String> {
        let is_expected = |outcome: &Outcome| match &outcome.result {
            Ok(answer) => expected.contains(&answer.status),
            Err(Failure::Refused(error)) => error.kind() == ErrorKind::ConnectionRefused,
            Err(Failure::Broken(_)) => false,
        };
        let others = self.0.iter().filter(|outcome| !is_expected(outcome));
        let describe = |outcome: &Outcome| match &outcome.result {
            Ok(answer) => format!("{} after {:?}: {answer:?}", outcome.path, outcome.took),
            Err(failure) => format!("{} after {:?}: {failure}", outcome.path, outcome.took),
        };
        others.map(describe).collect()
    }

    pub fn longest(&self) -> Duration {
        self.0.iter().map(|outcome| outcome.took).max().unwrap_or_default()
    }
}

/// A load that runs until it is stopped, or until the connections of its clients are refused.
pub struct Load {
    stop: Arc<AtomicBool>,
    n_answers: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Load {
    /// One client for each of `calls`; each repeats its call, waiting `pause` after each answer.
    pub fn start(address: SocketAddr, calls: Vec<Call>, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let n_answers = Arc::new(AtomicUsize::new(0));
        let spawn = |call: Call| {
            let (stop, n_answers) = (Arc::clone(&stop), Arc::clone(&n_answers));
            thread::spawn(move || repeat(address, &call, pause, &stop, &n_answers))
        };
        let threads = calls.into_iter().map(spawn).collect();
        Self { stop, n_answers, threads }
    }

    /// Waits for so many more answers.
    pub fn wait_for(&self, n: usize) {
        let goal = self.n_answers.load(SeqCst) + n;
        let since = Instant::now();
        while self.n_answers.load(SeqCst) < goal {
            assert!(since.elapsed() < PATIENCE, "the load stands still");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops after the requests under way.
    pub fn finish(self) -> Outcomes {
        self.stop.store(true, SeqCst);
        self.join()
    }

    /// Waits until every client was refused.
    pub fn join(self) -> Outcomes {
        Outcomes(self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect())
    }
}

fn repeat(address: SocketAddr, call: &Call, pause: Duration, stop: &AtomicBool, n: &AtomicUsize) -> Vec<Outcome> {
    let mut client = Client::new(address);
    let mut outcomes = Vec::new();
    while !stop.load(SeqCst) {
        let started = Instant::now();
        let result = client.send(call);
        let is_over = matches!(result, Err(Failure::Refused(_)));
        n.fetch_add(usize::from(result.is_ok()), SeqCst);
        outcomes.push(Outcome { path: call.path.clone(), result, took: started.elapsed() });
        if is_over {
            break;
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    outcomes
}
