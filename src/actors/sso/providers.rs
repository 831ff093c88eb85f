//! What is remembered of providers, so that not each sign-in asks for their documents again.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::clients::oidc::{self, Discovery, KeySet, OidcError};
use crate::clients::outbound::TenantOutbound;
use crate::clock;

/// Documents are read again after so many seconds.
const FRESH_S: i64 = 3_600;
/// While a provider does not answer, documents of up to this age are used, in seconds.
const STALE_S: i64 = 86_400;
/// Providers that are remembered.
const CAPACITY: usize = 5_000;

/// A provider, as its documents say.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) discovery: Discovery,
    pub(super) keys: KeySet,
    /// When the documents were read, in seconds since 1970.
    read_at_s: i64,
    /// When the keys were last read because of a key that nobody knew.
    refetched_at_s: i64,
}

/// Providers, by issuer. What an issuer publishes is the same for all tenants, and comes from the issuer alone.
#[derive(Debug)]
pub(super) struct Providers {
    known: Cache<String, Arc<Provider>>,
    cooldown_s: i64,
}

impl Providers {
    pub(super) fn new(cooldown_s: u64) -> Self {
        let cooldown_s = i64::try_from(cooldown_s).unwrap_or(i64::MAX / 2);
        Self { known: Cache::new(CAPACITY), cooldown_s }
    }

    /// A provider, as lately read or from its documents now, which `outbound` asks for.
    pub(super) async fn get(&self, outbound: &TenantOutbound, issuer: &str) -> Result<Arc<Provider>, OidcError> {
        let (known, now_s) = (self.known.get(issuer), clock::now_s());
        let age_s = known.as_ref().map_or(i64::MAX, |provider| now_s.saturating_sub(provider.read_at_s));
        match known {
            Some(provider) if age_s < FRESH_S => Ok(provider),
            known => match (self.read(outbound, issuer, now_s).await, known) {
                (Err(error), Some(provider)) if age_s < STALE_S => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        issuer,
                        "an identity provider's documents are old"
                    );
                    Ok(provider)
                }
                (read, _) => read,
            },
        }
    }

    /// The provider with its keys read again, for an ID token that is signed with another one; none if they were read for such a reason
    /// just now. Whoever makes up key ids cannot have the provider asked each time.
    pub(super) async fn refetch_keys(
        &self,
        outbound: &TenantOutbound,
        issuer: &str,
    ) -> Result<Option<Arc<Provider>>, OidcError> {
        let Some(known) = self.known.get(issuer) else { return Ok(None) };
        let now_s = clock::now_s();
        if now_s.saturating_sub(known.refetched_at_s) < self.cooldown_s {
            return Ok(None);
        }
        // Noted before the provider is asked: others who come meanwhile do not ask too.
        let (discovery, read_at_s) = (known.discovery.clone(), known.read_at_s);
        let keys = known.keys.clone();
        self.remember(issuer, Provider { discovery: discovery.clone(), keys, read_at_s, refetched_at_s: now_s });
        let keys = oidc::fetch_keys(outbound, &discovery).await?;
        Ok(Some(self.remember(issuer, Provider { discovery, keys, read_at_s, refetched_at_s: now_s })))
    }

    /// Forgets what is known, so that the next look is a new one.
    pub(super) fn forget(&self, issuer: &str) {
        self.known.remove(issuer);
    }

    async fn read(&self, outbound: &TenantOutbound, issuer: &str, now_s: i64) -> Result<Arc<Provider>, OidcError> {
        let discovery = oidc::discover(outbound, issuer).await?;
        let keys = oidc::fetch_keys(outbound, &discovery).await?;
        Ok(self.remember(issuer, Provider { discovery, keys, read_at_s: now_s, refetched_at_s: 0 }))
    }

    fn remember(&self, issuer: &str, provider: Provider) -> Arc<Provider> {
        let provider = Arc::new(provider);
        self.known.insert(issuer.to_owned(), Arc::clone(&provider));
        provider
    }
}
