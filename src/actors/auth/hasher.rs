//! Password hashing with a bound on how much of it happens at once, on threads of its own.
//!
//! argon2id with 19 MiB, two passes, one lane (OWASP's first choice) keeps a core busy for some 15 ms; more of them at once than
//! cores only makes each slower, and each needs its memory. So: as many threads as permits, a short queue, then 503. On Linux the
//! threads have a tenth of the weight of others (`nice`), so a thread that wakes to serve a request takes their core, and on a
//! machine without any idle time sign-ins are slow, but not starved: scheduled as idle (`SCHED_IDLE`) they were.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::argon::Memory;
use super::password_hash::{is_foreign, verify_foreign};

/// Hash of a random password that nobody knows, checked when there is no user: the answer takes the same time.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$mZpDKBpgCBzdbPV5sJNHqmvCNTXPc8fzi+RBnV9zU84";

/// No hash was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HasherError {
    /// The queue is full.
    #[error("too many passwords are being hashed")]
    Overloaded,
    /// The hash function refused, or its thread died.
    #[error("the password could not be hashed")]
    Failed,
}

/// How much less the hashing threads count than others: a tenth of their weight (sched(7)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// A thread without work for so long gives its memory back.
const KEEP_MEMORY: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Hashes passwords beside the request threads. Cheap to clone; the threads end with the last clone.
#[derive(Debug, Clone)]
pub struct Hasher {
    queue: Arc<QueueOwner>,
    /// Those who hash or wait.
    admitted: Arc<Semaphore>,
}

impl Hasher {
    /// Starts `permits` threads (at least one) and lets `queue` more passwords wait.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(permits: usize, queue: usize) -> std::io::Result<Self> {
        let permits = permits.max(1);
        let owner = QueueOwner(Arc::new(Queue::default()));
        for number in 0..permits {
            let queue = Arc::clone(&owner.0);
            std::thread::Builder::new().name(format!("hasher-{number}")).spawn(move || work(&queue))?;
        }
        Ok(Self { queue: Arc::new(owner), admitted: Arc::new(Semaphore::new(permits + queue)) })
    }

    /// Hashes a password, in PHC form.
    ///
    /// # Errors
    /// [`HasherError`].
    pub async fn hash(&self, password: SecretString) -> Result<String, HasherError> {
        self.run(move |memory| memory.hash(password.expose_secret().as_bytes())).await
    }

    /// Whether the password matches. With `hash` none it takes as long and says no.
    ///
    /// # Errors
    /// [`HasherError`].
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, HasherError> {
        self.run(move |memory| {
            let text = hash.as_deref().unwrap_or(DUMMY_HASH);
            if is_foreign(text) {
                return Ok(verify_foreign(password.expose_secret(), text));
            }
            let matches = memory.verify(password.expose_secret().as_bytes(), text)?;
            Ok(matches && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> Result<T, HasherError> + Send + 'static,
    ) -> Result<T, HasherError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_full: tokio::sync::TryAcquireError| HasherError::Overloaded)?;
        let (sender, answer) = oneshot::channel();
        self.queue.0.push(Box::new(move |memory| {
            // The place goes with the work: a caller who leaves does not make room that is not there.
            let admitted: OwnedSemaphorePermit = admitted;
            let answer = work(memory);
            // First the place: who has its answer and asks again is not to be refused for its own work.
            drop(admitted);
            // Nobody may wait for the answer any more.
            let _ = sender.send(answer);
        }));
        answer.await.map_err(|_panicked: oneshot::error::RecvError| HasherError::Failed)?
    }
}

/// What waits for a hashing thread; the semaphore before it bounds its length.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// The next job, `None` when the queue was closed. Gives up the memory if there is none for a while.
    fn pop(&self, memory: &mut Memory) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = if memory.is_held() {
                let (next, timeout) =
                    self.changed.wait_timeout(state, KEEP_MEMORY).unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    memory.give_back();
                }
                next
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}

/// Closes the queue when the last [`Hasher`] is gone.
struct QueueOwner(Arc<Queue>);

impl std::fmt::Debug for QueueOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueueOwner")
    }
}

impl Drop for QueueOwner {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// One hashing thread.
fn work(queue: &Queue) {
    #[cfg(target_os = "linux")]
    yield_to_requests();
    let mut memory = Memory::default();
    while let Some(job) = queue.pop(&mut memory) {
        // A panic is the caller's `Failed`; the thread goes on.
        if catch_unwind(AssertUnwindSafe(|| job(&mut memory))).is_err() {
            tracing::error!("hashing a password panicked");
        }
    }
}

/// On Linux this names the calling thread alone; elsewhere it would slow the whole process.
#[cfg(target_os = "linux")]
fn yield_to_requests() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a hashing thread keeps the priority of the others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hasher = Hasher::start(1, 8).expect("threads");
        let hash = hasher.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify("correct horse".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify("wrong horse".into(), Some(hash)).await, Ok(false));
    }

    #[tokio::test]
    async fn hashes_of_other_parameters_are_read_and_memory_is_used_again() {
        use argon2::password_hash::PasswordHasher;
        let small = argon2::Params::new(64, 3, 2, None).expect("parameters");
        let other = argon2::Argon2::new(argon2::Algorithm::Argon2i, argon2::Version::V0x13, small);
        let foreign = other.hash_password(b"correct horse").expect("hashed").to_string();
        let hasher = Hasher::start(1, 8).expect("threads");
        let own = hasher.hash("correct horse".into()).await.expect("hashed");
        for hash in [&foreign, &own, &foreign] {
            assert_eq!(hasher.verify("correct horse".into(), Some(hash.clone())).await, Ok(true));
            assert_eq!(hasher.verify("wrong horse".into(), Some(hash.clone())).await, Ok(false));
        }
        assert_eq!(hasher.verify("x".into(), Some("no hash".to_owned())).await, Ok(false));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = Hasher::start(1, 8).expect("threads");
        assert_eq!(hasher.verify("x".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hasher = Hasher::start(1, 1).expect("threads");
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let mut held = Box::pin(hasher.run(move |_memory| Ok(gate.recv().is_ok())));
        let mut waiting = Box::pin(hasher.verify("x".into(), None));
        assert!(futures_util::poll!(held.as_mut()).is_pending());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        for _ in 0..3 {
            assert_eq!(hasher.verify("x".into(), None).await, Err(HasherError::Overloaded));
        }
        open.send(()).expect("the thread waits");
        assert_eq!((held.await, waiting.await), (Ok(true), Ok(false)));
    }

    #[tokio::test]
    async fn who_has_an_answer_is_not_refused_for_its_own_work() {
        let hasher = Hasher::start(1, 0).expect("threads");
        for n in 0..2_000 {
            assert_eq!(hasher.run(move |_memory| Ok(n)).await, Ok(n));
        }
    }
}
