//! What requests read of a tenant.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::actors::secrets::TenantKeys;
use crate::config::Settings;
use crate::domain::api_key::{ApiKey, ApiKeyHash};
use crate::domain::catalogue::PlanFigures;
use crate::domain::ids::SessionId;
use crate::domain::plan::{Plan, PlanDefaults};
use crate::domain::rate_limit::RatePolicy;
use crate::domain::scim::token::ScimToken;
use crate::domain::subscription::Subscription;
use crate::domain::tenant::{Slug, Tenant};
use crate::domain::token::{self, AccessClaims, TokenError};

/// A tenant's keys that were not revoked, by the hash of their texts.
pub type ApiKeys = HashMap<ApiKeyHash, Arc<ApiKey>>;

/// Tokens of a tenant's identity provider that were not revoked, by the hash of their texts: a handful.
pub type ScimTokens = HashMap<ApiKeyHash, ScimToken>;

/// An immutable picture of one tenant, replaced whole by its supervisor.
#[derive(Debug, Clone)]
pub struct TenantView {
    /// The tenant.
    pub tenant: Tenant,
    /// What it has agreed to pay for.
    pub subscription: Arc<Subscription>,
    /// What its subscription's version of its plan allows.
    pub plan: Plan,
    /// Its request limit: the plan's, or its own lower one.
    pub rate: RatePolicy,
    /// Its own URL: issuer of its tokens.
    pub issuer: String,
    /// Page that sells upgrades, as a whole URL, which mails and streams need.
    pub upgrade_url: String,
    /// Its keys.
    pub keys: TenantKeys,
    /// Its JWKS document (RFC 7517 §5).
    pub jwks: Bytes,
    /// Sessions that ended while tokens of theirs may be alive → when the last of those expires, in seconds since 1970.
    pub revoked_sessions: Arc<HashMap<SessionId, i64>>,
    /// Its API keys.
    pub api_keys: Arc<ApiKeys>,
    /// Tokens of its identity provider.
    pub scim_tokens: ScimTokens,
    /// Hosts of its own that it has proved, in order: a handful.
    pub hosts: Vec<String>,
}

impl TenantView {
    /// The picture of a tenant under the present settings.
    #[must_use]
    pub fn new(
        settings: &Settings,
        tenant: Tenant,
        subscription: Subscription,
        keys: TenantKeys,
        revoked_sessions: Arc<HashMap<SessionId, i64>>,
        api_keys: Arc<ApiKeys>,
    ) -> Self {
        let plan = plan_of(settings, &subscription);
        let per_minute = tenant.config.limits.requests_per_minute.unwrap_or(plan.requests_per_minute);
        let issuer = canonical_url(settings, &tenant.slug);
        let upgrade_url = upgrade_url(settings, &tenant.slug);
        let jwks: Vec<_> = keys.verifying.iter().map(token::VerifyingKey::jwk).collect();
        Self {
            rate: RatePolicy::per_minute(per_minute.min(plan.requests_per_minute)),
            issuer,
            upgrade_url,
            jwks: Bytes::from(json!({ "keys": jwks }).to_string()),
            plan,
            subscription: Arc::new(subscription),
            tenant,
            keys,
            revoked_sessions,
            api_keys,
            scim_tokens: ScimTokens::new(),
            hosts: Vec::new(),
        }
    }

    /// The same with the tokens of the tenant's identity provider.
    #[must_use]
    pub fn with_scim_tokens(self, scim_tokens: ScimTokens) -> Self {
        Self { scim_tokens, ..self }
    }

    /// The same with the hosts that the tenant has proved.
    #[must_use]
    pub fn with_hosts(self, mut hosts: Vec<String>) -> Self {
        hosts.sort_unstable();
        Self { hosts, ..self }
    }

    /// URLs of every host at which the tenant is reached: its subdomain, those that it has proved, and those that the operator's
    /// configuration gives it.
    pub fn origins<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = String> + 'a {
        let slug = self.tenant.slug.as_str();
        let given = settings.gateway.hosts.iter().filter(move |(_, of)| *of == slug).map(|(host, _)| host);
        let others = self.hosts.iter().chain(given).map(move |host| url_of_host(settings, host));
        std::iter::once(self.issuer.clone()).chain(others)
    }

    /// Whether the tenant has proved this host.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.binary_search_by(|known| known.as_str().cmp(host)).is_ok()
    }

    /// Whether a token that was once verified is still good: not expired, its key still known, its session not ended, the
    /// tenant's epoch not moved on.
    ///
    /// # Errors
    /// [`TokenError::Expired`] or [`TokenError::Revoked`].
    pub fn check_alive(&self, claims: &AccessClaims, now_s: i64) -> Result<(), TokenError> {
        token::check_expiry(claims, now_s)?;
        if claims.epoch < self.tenant.epoch || self.revoked_sessions.contains_key(&claims.sid) {
            return Err(TokenError::Revoked);
        }
        Ok(())
    }
}

/// What a subscription allows: the figures of its version of its plan, and the modules beside it. What they leave open is the
/// platform's figure.
#[must_use]
pub fn plan_of(settings: &Settings, subscription: &Subscription) -> Plan {
    let Subscription { terms, figures, .. } = subscription;
    let defaults = PlanDefaults {
        requests_per_minute: settings.limits.tenant_per_minute,
        events_per_minute: settings.metering.events_per_minute,
    };
    let further = terms.add_ons.iter().map(|add_on| add_on.name.as_str());
    Plan::resolve(&terms.plan, terms.version, figures, further, defaults)
}

/// The subscription of a tenant on this plan: the stored one, or what follows from the plan as it is configured now. A process of an
/// earlier release writes the plan's name only; then the stored one is for another plan, and only what is not about plans stands. A
/// plan that nobody knows has no module and the platform's limits.
#[must_use]
pub fn held_subscription(
    settings: &Settings,
    stored: Option<Subscription>,
    plan: &str,
    since: DateTime<Utc>,
) -> Subscription {
    if let Some(stored) = &stored
        && stored.terms.plan == plan
    {
        return stored.clone();
    }
    let configured = settings.plans.get(plan);
    let version = configured.map_or(0, |plan| plan.version);
    let figures = configured.map_or_else(PlanFigures::default, |plan| plan.figures(&settings.billing.currency));
    let implied = Subscription::implied(plan, version, figures, since);
    match stored {
        None => implied,
        Some(stored) => Subscription { terms: implied.terms, figures: implied.figures, scheduled: None, ..stored },
    }
}

/// The page that sells upgrades to a tenant, as a whole URL.
#[must_use]
pub fn upgrade_url(settings: &Settings, slug: &Slug) -> String {
    match settings.gateway.upgrade_url.as_str() {
        path if path.starts_with('/') => format!("{}{path}", canonical_url(settings, slug)),
        url => url.to_owned(),
    }
}

/// A tenant's own URL, without a trailing slash.
#[must_use]
pub fn canonical_url(settings: &Settings, slug: &Slug) -> String {
    url_of_host(settings, &canonical_host(settings, slug))
}

/// The host that is a tenant's for ever: its subdomain.
#[must_use]
pub fn canonical_host(settings: &Settings, slug: &Slug) -> String {
    format!("{slug}.{}", settings.gateway.base_domain)
}

/// URL at which clients reach a host, without a trailing slash.
#[must_use]
pub fn url_of_host(settings: &Settings, host: &str) -> String {
    let scheme = &settings.gateway.public_scheme;
    let port = match (settings.gateway.public_port, scheme.as_str()) {
        (0, "http") => settings.server.listen.port(),
        (port, _) => port,
    };
    match (port, scheme.as_str()) {
        (0, _) | (80, "http") | (443, "https") => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}
