//! Building a tenant's view from the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::ask::{ActorRef, AskError};
use crate::actors::secrets::{KeysError, SecretsActor, UnlockTenant};
use crate::actors::sessions::{SessionStore, SessionStoreError};
use crate::clock;
use crate::config::Settings;
use crate::db::{Db, DbError, TenantTx, api_keys, custom_hosts, scim_tokens, subscriptions, tenants, usage_counters};
use crate::domain::api_key::{ApiKey, ApiKeyHash};
use crate::domain::ids::{SessionId, TenantId};
use crate::domain::quota::Quotas;
use crate::domain::scim::token::ScimToken;
use crate::domain::subscription::Subscription;
use crate::domain::tenant::Tenant;

use super::view::{TenantView, held_subscription};

/// Longest wait for the secrets actor.
const UNLOCK_DEADLINE: Duration = Duration::from_secs(5);

/// A tenant cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not in the database (any more).
    #[error("there is no such tenant")]
    Gone,
    /// The database did not answer.
    #[error("the tenant could not be read")]
    Db(#[from] DbError),
    /// Its ended sessions could not be read.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// Its keys could not be opened.
    #[error("the tenant's keys could not be opened")]
    Keys(#[from] AskError<KeysError>),
}

/// API keys and tokens of the identity provider, by the hash of their texts.
type Credentials = (Vec<(ApiKeyHash, ApiKey)>, Vec<(ApiKeyHash, ScimToken)>);

/// What was read of a tenant.
#[derive(Debug)]
pub struct Loaded {
    /// Its view.
    pub view: TenantView,
    /// What it has used in the present period.
    pub quotas: Quotas,
}

/// What it takes to load a tenant.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub db: Db,
    /// Where sessions live.
    pub sessions: Arc<dyn SessionStore>,
    /// Opens keys.
    pub secrets: ActorRef<SecretsActor>,
}

impl Loader {
    /// Reads everything that a tenant's view and quotas show.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(&self, id: TenantId) -> Result<Loaded, LoadError> {
        let mut tx = TenantTx::begin_read(&self.db, id).await?;
        let tenant = tenants::find(&mut tx).await?.ok_or(LoadError::Gone);
        let subscription = subscriptions::find(&mut tx).await;
        let revoked = self.sessions.list_revoked_within(&mut tx, self.token_life_s()).await;
        let api_keys = api_keys::list_live(&mut tx).await;
        let scim_tokens = scim_tokens::list_live(&mut tx).await;
        let hosts = custom_hosts::list_verified(&mut tx).await;
        let quotas = usage_counters::list_current(&mut tx, clock::now()).await;
        tx.finish();
        Ok(Loaded {
            view: self.view(tenant?, subscription?, revoked?, (api_keys?, scim_tokens?)).await?.with_hosts(hosts?),
            quotas: quotas?,
        })
    }

    /// Reads everything but the ended sessions, for a supervisor that was told of each since the tenant was loaded: its view
    /// follows the database even while the sessions' own store is away.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) async fn reload(&self, id: TenantId) -> Result<Loaded, LoadError> {
        let mut tx = TenantTx::begin_read(&self.db, id).await?;
        let tenant = tenants::find(&mut tx).await?.ok_or(LoadError::Gone);
        let subscription = subscriptions::find(&mut tx).await;
        let api_keys = api_keys::list_live(&mut tx).await;
        let scim_tokens = scim_tokens::list_live(&mut tx).await;
        let hosts = custom_hosts::list_verified(&mut tx).await;
        let quotas = usage_counters::list_current(&mut tx, clock::now()).await;
        tx.finish();
        Ok(Loaded {
            view: self.view(tenant?, subscription?, Vec::new(), (api_keys?, scim_tokens?)).await?.with_hosts(hosts?),
            quotas: quotas?,
        })
    }

    async fn view(
        &self,
        tenant: Tenant,
        stored: Option<Subscription>,
        revoked: Vec<SessionId>,
        credentials: Credentials,
    ) -> Result<TenantView, LoadError> {
        let keys = self.secrets.ask(UnlockTenant { tenant: tenant.id }, UNLOCK_DEADLINE).await?;
        let until = clock::now_s() + self.token_life_s();
        let revoked: HashMap<SessionId, i64> = revoked.into_iter().map(|session| (session, until)).collect();
        let (api_keys, scim_tokens) = credentials;
        let api_keys = api_keys.into_iter().map(|(hash, key)| (hash, Arc::new(key))).collect();
        let subscription = held_subscription(&self.settings, stored, &tenant.plan, tenant.created_at);
        let view = TenantView::new(&self.settings, tenant, subscription, keys, Arc::new(revoked), Arc::new(api_keys));
        Ok(view.with_scim_tokens(scim_tokens.into_iter().collect()))
    }

    /// For so long after a session's end a token of its may be alive: its life, and the leeway of clocks.
    #[must_use]
    pub fn token_life_s(&self) -> i64 {
        i64::try_from(self.settings.auth.access_token_ttl_s).unwrap_or(i64::MAX / 2) + 60
    }
}
