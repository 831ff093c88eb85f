//! Password hashing with a bound on how much of it happens at once, on threads of its own.
//!
//! argon2id with 19 MiB, two passes, one lane (OWASP's first choice) keeps a core busy for some 15 ms; more of them at once than
//! cores only makes each slower, and each needs its memory. So: as many threads as permits, a short queue, then 503. On Linux the
//! threads are scheduled as idle (`SCHED_IDLE`, sched(7)): a thread that serves a request takes their core at once, so a storm
//! of sign-ins has the time that requests leave over, and on a machine without any, sign-ins wait until the queue refuses them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

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

type Job = Box<dyn FnOnce() + Send>;

/// Hashes passwords beside the request threads. Cheap to clone; the threads end with the last clone.
#[derive(Debug, Clone)]
pub struct Hasher {
    jobs: SyncSender<Job>,
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
        let (jobs, waiting) = sync_channel(permits + queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..permits {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new().name(format!("hasher-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs, admitted: Arc::new(Semaphore::new(permits + queue)) })
    }

    /// Hashes a password, in PHC form.
    ///
    /// # Errors
    /// [`HasherError`].
    pub async fn hash(&self, password: SecretString) -> Result<String, HasherError> {
        self.run(move || {
            let hash = hasher()?.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|_hash: argon2::password_hash::Error| HasherError::Failed)
        })
        .await
    }

    /// Whether the password matches. With `hash` none it takes as long and says no.
    ///
    /// # Errors
    /// [`HasherError`].
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, HasherError> {
        self.run(move || {
            let text = hash.as_deref().unwrap_or(DUMMY_HASH);
            if is_foreign(text) {
                return Ok(verify_foreign(password.expose_secret(), text));
            }
            let parsed = argon2::PasswordHash::new(text)
                .map_err(|_phc: argon2::password_hash::phc::Error| HasherError::Failed)?;
            let matches = hasher()?.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
            Ok(matches && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HasherError> + Send + 'static,
    ) -> Result<T, HasherError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_full: tokio::sync::TryAcquireError| HasherError::Overloaded)?;
        let (sender, answer) = oneshot::channel();
        let job = move || {
            // The place goes with the work: a caller who leaves does not make room that is not there.
            let _admitted: OwnedSemaphorePermit = admitted;
            // Nobody may wait for the answer any more.
            let _ = sender.send(work());
        };
        // As many places as the semaphore has, so it never waits.
        self.jobs
            .try_send(Box::new(job))
            .map_err(|_full: std::sync::mpsc::TrySendError<Job>| HasherError::Overloaded)?;
        answer.await.map_err(|_panicked: oneshot::error::RecvError| HasherError::Failed)?
    }
}

/// One hashing thread.
fn work(waiting: &Mutex<Receiver<Job>>) {
    #[cfg(target_os = "linux")]
    yield_to_requests();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic is the caller's `Failed`; the thread goes on.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("hashing a password panicked");
        }
    }
}

#[cfg(target_os = "linux")]
fn yield_to_requests() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::warn!(%error, "a hashing thread keeps the priority of the others");
    }
}

fn hasher() -> Result<Argon2<'static>, HasherError> {
    let params = Params::new(19_456, 2, 1, None).map_err(|_params: argon2::Error| HasherError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
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
    async fn nobody_has_no_password() {
        let hasher = Hasher::start(1, 8).expect("threads");
        assert_eq!(hasher.verify("x".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hasher = Hasher::start(1, 1).expect("threads");
        let calls = (0..5).map(|_| hasher.verify("x".into(), None));
        let answers = futures_util::future::join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| **answer == Err(HasherError::Overloaded)).count(), 3);
    }
}
