//! What requests read of a tenant.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::actors::secrets::TenantKeys;
use crate::config::{PlanSettings, Settings};
use crate::domain::api_key::{ApiKey, ApiKeyHash};
use crate::domain::ids::SessionId;
use crate::domain::plan::Plan;
use crate::domain::rate_limit::RatePolicy;
use crate::domain::tenant::{Slug, Tenant};
use crate::domain::token::{self, AccessClaims, TokenError};

/// A tenant's keys that were not revoked, by the hash of their texts.
pub type ApiKeys = HashMap<ApiKeyHash, Arc<ApiKey>>;

/// An immutable picture of one tenant, replaced whole by its supervisor.
#[derive(Debug, Clone)]
pub struct TenantView {
    /// The tenant.
    pub tenant: Tenant,
    /// What its plan allows.
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
}

impl TenantView {
    /// The picture of a tenant under the present settings.
    #[must_use]
    pub fn new(
        settings: &Settings,
        tenant: Tenant,
        keys: TenantKeys,
        revoked_sessions: Arc<HashMap<SessionId, i64>>,
        api_keys: Arc<ApiKeys>,
    ) -> Self {
        let plan = plan_of(settings, &tenant.plan);
        let per_minute = tenant.config.limits.requests_per_minute.unwrap_or(plan.requests_per_minute);
        let issuer = canonical_url(settings, &tenant.slug);
        let upgrade_url = match settings.gateway.upgrade_url.as_str() {
            path if path.starts_with('/') => format!("{issuer}{path}"),
            url => url.to_owned(),
        };
        let jwks: Vec<_> = keys.verifying.iter().map(token::VerifyingKey::jwk).collect();
        Self {
            rate: RatePolicy::per_minute(per_minute.min(plan.requests_per_minute)),
            issuer,
            upgrade_url,
            jwks: Bytes::from(json!({ "keys": jwks }).to_string()),
            plan,
            tenant,
            keys,
            revoked_sessions,
            api_keys,
        }
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

/// The figures of a plan; an unknown plan has the platform's limit and no module.
#[must_use]
pub fn plan_of(settings: &Settings, name: &str) -> Plan {
    let configured = settings.plans.get(name);
    let limits_of = |plan: &PlanSettings| {
        let version: Arc<str> = format!("{name}@{}", plan.version).into();
        plan.meters.iter().map(|(meter, limits)| (meter.clone(), Arc::new(limits.resolve(&version)))).collect()
    };
    Plan {
        name: name.to_owned(),
        requests_per_minute: configured
            .and_then(|plan| plan.requests_per_minute)
            .unwrap_or(settings.limits.tenant_per_minute),
        events_per_minute: configured
            .and_then(|plan| plan.events_per_minute)
            .unwrap_or(settings.metering.events_per_minute),
        modules: configured.map(|plan| plan.modules.clone()).unwrap_or_default(),
        meters: configured.map(limits_of).unwrap_or_default(),
    }
}

/// A tenant's own URL, without a trailing slash.
#[must_use]
pub fn canonical_url(settings: &Settings, slug: &Slug) -> String {
    let scheme = &settings.gateway.public_scheme;
    let base = &settings.gateway.base_domain;
    let port = match (settings.gateway.public_port, scheme.as_str()) {
        (0, "http") => settings.server.listen.port(),
        (port, _) => port,
    };
    match (port, scheme.as_str()) {
        (0, _) | (80, "http") | (443, "https") => format!("{scheme}://{slug}.{base}"),
        _ => format!("{scheme}://{slug}.{base}:{port}"),
    }
}
