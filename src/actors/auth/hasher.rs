//! Password hashing with a bound on how much of it happens at once.
//!
//! argon2id with 19 MiB, two passes, one lane (OWASP's first choice) keeps a core busy for some 15 ms; more of them at once than
//! cores only makes each slower, and each needs its memory. So: as many permits as cores, a short queue, then 503.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

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

/// Hashes passwords beside the request threads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hasher {
    /// Those who hash.
    working: Arc<Semaphore>,
    /// Those who hash or wait.
    admitted: Arc<Semaphore>,
}

impl Hasher {
    /// Lets `permits` hash at once and `queue` more wait.
    #[must_use]
    pub fn new(permits: usize, queue: usize) -> Self {
        Self { working: Arc::new(Semaphore::new(permits)), admitted: Arc::new(Semaphore::new(permits + queue)) }
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
        let working = Arc::clone(&self.working).acquire_owned().await;
        let working = working.map_err(|_closed: tokio::sync::AcquireError| HasherError::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            // The permits go with the work: a caller who leaves does not make room that is not there.
            let _permits = (admitted, working);
            work()
        });
        done.await.map_err(|_thread: tokio::task::JoinError| HasherError::Failed)?
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
        let hasher = Hasher::new(1, 8);
        let hash = hasher.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify("correct horse".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify("wrong horse".into(), Some(hash)).await, Ok(false));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = Hasher::new(1, 8);
        assert_eq!(hasher.verify("x".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hasher = Hasher::new(1, 1);
        let calls = (0..5).map(|_| hasher.verify("x".into(), None));
        let answers = futures_util::future::join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| **answer == Err(HasherError::Overloaded)).count(), 3);
    }
}
