//! Tenants' public keys, fetched from the platform and remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use quick_cache::sync::Cache;
use reqwest::redirect::Policy;
use tokio::sync::{Mutex, RwLock};
use uuid::Uuid;

/// So many tenants' keys are remembered; those not seen for long make room.
const MAX_TENANTS: usize = 1_000;
/// Keys are fetched anew after this time, so that a withdrawn key is not believed for longer.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Made-up key ids make one call in this time, for each tenant. A new key of a tenant works after it at the latest.
const COOLDOWN: Duration = Duration::from_secs(5);
/// Longest wait for the platform's answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A public key and the one algorithm that it is for.
pub struct Key {
    /// How the key signs.
    pub algorithm: Algorithm,
    /// The key itself.
    pub decoding: DecodingKey,
}

/// There is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The tenant has no such key, or there is no such tenant.
    Unknown,
    /// The platform did not answer.
    PlatformDown,
}

/// The keys of all tenants.
pub struct KeyStore {
    http: reqwest::Client,
    url: String,
    tenants: Cache<Uuid, Arc<Slot>>,
}

/// One tenant's place. Whoever holds `fetching` asks the platform; others of the tenant wait for that answer, but
/// requests with a known key pass by.
#[derive(Default)]
struct Slot {
    known: RwLock<Known>,
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Arc<Key>>,
    /// When `keys` were the truth.
    fetched: Option<Instant>,
    /// When the platform was last asked, with or without success.
    tried: Option<Instant>,
}

impl KeyStore {
    /// A store that asks the platform at this base URL.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn new(platform_url: &str) -> reqwest::Result<Self> {
        // No proxy and no redirect: who answers this decides whose signatures are believed.
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
        Ok(Self {
            http: http.build()?,
            url: format!("{}/.well-known/jwks.json", platform_url.trim_end_matches('/')),
            tenants: Cache::new(MAX_TENANTS),
        })
    }

    /// A tenant's key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn find(&self, tenant: Uuid, kid: &str) -> Result<Arc<Key>, KeyError> {
        let slot = self.slot(tenant);
        if let Some(settled) = slot.known.read().await.settle(kid) {
            return settled;
        }
        let _one_at_a_time = slot.fetching.lock().await;
        if let Some(settled) = slot.known.read().await.settle(kid) {
            return settled;
        }
        let answer = self.fetch(tenant).await;
        // Noted after the answer: a caller that leaves in the middle lets the next one ask.
        let mut known = slot.known.write().await;
        known.tried = Some(Instant::now());
        match answer {
            Ok(keys) => {
                known.keys = keys;
                known.fetched = known.tried;
            }
            // What is known stays, for as long as it may.
            Err(error) => tracing::warn!(%tenant, %error, "the platform gave no keys"),
        }
        known.find(kid)
    }

    fn slot(&self, tenant: Uuid) -> Arc<Slot> {
        let Ok(slot) = self.tenants.get_or_insert_with(&tenant, || Ok::<_, std::convert::Infallible>(Arc::default()));
        slot
    }

    async fn fetch(&self, tenant: Uuid) -> reqwest::Result<HashMap<String, Arc<Key>>> {
        #[derive(serde::Deserialize)]
        struct JwkSet {
            keys: Vec<serde_json::Value>,
        }
        let answer = self.http.get(&self.url).header("X-Tenant", tenant.to_string()).send().await?;
        if answer.status().is_client_error() {
            return Ok(HashMap::new());
        }
        let set: JwkSet = answer.error_for_status()?.json().await?;
        // Key by key: one of a kind that this service does not know takes nothing from the others.
        let jwks = set.keys.into_iter().filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
        Ok(jwks.filter_map(|jwk| Some((jwk.common.key_id.clone()?, Arc::new(Key::of(&jwk)?)))).collect())
    }
}

impl Known {
    /// The answer, unless the platform is to be asked first.
    fn settle(&self, kid: &str) -> Option<Result<Arc<Key>, KeyError>> {
        let found = self.find(kid);
        let cooling = self.tried.is_some_and(|tried| tried.elapsed() < COOLDOWN);
        (found.is_ok() || cooling).then_some(found)
    }

    fn find(&self, kid: &str) -> Result<Arc<Key>, KeyError> {
        if self.fetched.is_none_or(|fetched| fetched.elapsed() >= MAX_AGE) {
            return Err(KeyError::PlatformDown);
        }
        self.keys.get(kid).cloned().ok_or(KeyError::Unknown)
    }
}

impl Key {
    /// Takes the two kinds of key that tenants sign with, ES256 (RFC 7518) and Ed25519 (RFC 8037), and no other.
    pub fn of(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        let is_for_it = jwk.common.key_algorithm.is_none_or(|named| named == algorithm.into());
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        is_for_it.then_some(Self { algorithm, decoding })
    }
}
