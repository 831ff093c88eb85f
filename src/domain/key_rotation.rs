//! The life of a tenant's signing keys: pending (published, so that verifiers know it before it signs) → active (signs) →
//! retiring (verifies what it signed) → removed.

use chrono::{DateTime, TimeDelta, Utc};

use super::token::LEEWAY_S;

/// For so many seconds a client may keep a tenant's JWKS.
pub const JWKS_MAX_AGE_S: i64 = 300;

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// Verifies only.
    Retiring,
}

impl KeyState {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    /// The state that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retiring].into_iter().find(|state| state.as_str() == text)
    }
}

/// A key, as far as its rotation is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTimes {
    /// Id of the key.
    pub kid: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made and published.
    pub created_at: DateTime<Utc>,
    /// When it began to sign.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it ceased to.
    pub retired_at: Option<DateTime<Utc>>,
}

/// How long a key is in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// Published so long before it signs; longer than [`JWKS_MAX_AGE_S`].
    pub prepublish: TimeDelta,
    /// Signs so long, give or take a tenth that differs from key to key.
    pub active: TimeDelta,
    /// Verifies so long after it ceased to sign.
    pub retiring: TimeDelta,
}

impl RotationPolicy {
    /// The policy under these settings. A key retires for the life of an access token, the leeway of clocks, and the time that
    /// a verifier, or a node that lags, may stay with what it knew.
    #[must_use]
    pub fn new(rotation_days: u32, prepublish_s: u64, access_token_ttl_s: u64) -> Self {
        let seconds = |s: u64| TimeDelta::seconds(i64::try_from(s).unwrap_or(i64::MAX / 1_000).min(i64::MAX / 1_000));
        Self {
            prepublish: seconds(prepublish_s),
            active: TimeDelta::days(i64::from(rotation_days)),
            retiring: seconds(access_token_ttl_s) + TimeDelta::seconds(LEEWAY_S + JWKS_MAX_AGE_S),
        }
    }

    /// How long this key signs. Derived from its id, so that every node comes to the same and tenants that were onboarded on
    /// one day do not rotate on one day.
    fn active_life(&self, kid: &str) -> TimeDelta {
        let number = kid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            // FNV-1a: it must be the same in every release, which the standard library's hasher does not promise.
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let per_mille = i32::try_from(number % 201).unwrap_or(100) - 100;
        self.active + self.active * per_mille / 1_000
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationStep {
    /// Make a key and publish it.
    Publish,
    /// Have this pending key sign; the one that does now retires.
    Activate {
        /// Id of the key.
        kid: String,
    },
    /// Forget this key.
    Remove {
        /// Id of the key.
        kid: String,
    },
}

/// What is due now, in the order in which it is to be done. Having done it, ask again with the keys as they are then for
/// [`next_due`].
#[must_use]
pub fn due(keys: &[KeyTimes], policy: &RotationPolicy, now: DateTime<Utc>) -> Vec<RotationStep> {
    schedule(keys, policy, now).into_iter().filter(|(at, _)| *at <= now).map(|(_, step)| step).collect()
}

/// When something is due next. There always is something: the active key grows old.
#[must_use]
pub fn next_due(keys: &[KeyTimes], policy: &RotationPolicy, now: DateTime<Utc>) -> DateTime<Utc> {
    schedule(keys, policy, now).into_iter().map(|(at, _)| at).min().unwrap_or(now)
}

fn schedule(keys: &[KeyTimes], policy: &RotationPolicy, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, RotationStep)> {
    let in_state = |state: KeyState| keys.iter().filter(move |key| key.state == state);
    // Without an active key everything waits for one.
    let ends_at = in_state(KeyState::Active)
        .map(|key| key.activated_at.unwrap_or(key.created_at) + policy.active_life(&key.kid))
        .max()
        .unwrap_or(now);
    let has_active = in_state(KeyState::Active).next().is_some();
    let mut steps: Vec<_> = in_state(KeyState::Retiring)
        .map(|key| {
            let at = key.retired_at.unwrap_or(key.created_at) + policy.retiring;
            (at, RotationStep::Remove { kid: key.kid.clone() })
        })
        .collect();
    steps.push(match in_state(KeyState::Pending).min_by_key(|key| key.created_at) {
        Some(key) => {
            let known_at = if has_active { key.created_at + policy.prepublish } else { now };
            (known_at.max(ends_at), RotationStep::Activate { kid: key.kid.clone() })
        }
        None => (ends_at - policy.prepublish, RotationStep::Publish),
    });
    steps
}

#[cfg(test)]
#[path = "key_rotation_tests.rs"]
mod tests;
