//! Refresh tokens: base64url(version ‖ session id ‖ counter ‖ HMAC).
//!
//! The MAC lets a forgery die without a query, and the counter lets one row stand for the whole family: no table of tokens
//! grows. The same session and counter always give the same token, so a retried rotation gets the same answer again.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::envelope::SecretKey;
use super::ids::{SessionId, TenantId};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 16 + 8;
const MAC_BYTES: usize = 16;

/// Not a refresh token of this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token of this tenant")]
pub struct RefreshTokenError;

/// What a refresh token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its number in the family, from 1.
    pub counter: i64,
}

impl RefreshToken {
    /// The token as text.
    #[must_use]
    pub fn encode(self, tenant: TenantId, key: &SecretKey) -> String {
        let body = self.body();
        let tag = hmac::sign(&hmac_key(key), &signed_bytes(tenant, &body));
        let mut bytes = body.to_vec();
        bytes.extend(tag.as_ref().iter().take(MAC_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads and authenticates a token. The comparison takes the same time wherever it fails.
    ///
    /// # Errors
    /// [`RefreshTokenError`], which does not say why.
    pub fn decode(text: &str, tenant: TenantId, key: &SecretKey) -> Result<Self, RefreshTokenError> {
        if text.len() > 128 {
            return Err(RefreshTokenError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_encoding: base64::DecodeError| RefreshTokenError)?;
        let (body, mac) = bytes.split_first_chunk::<BODY_BYTES>().ok_or(RefreshTokenError)?;
        let expected = hmac::sign(&hmac_key(key), &signed_bytes(tenant, body));
        let expected = expected.as_ref().get(..MAC_BYTES).ok_or(RefreshTokenError)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(expected, mac)
            .map_err(|_differs: aws_lc_rs::error::Unspecified| RefreshTokenError)?;
        let (version, rest) = body.split_first().ok_or(RefreshTokenError)?;
        let (session, counter) = rest.split_first_chunk::<16>().ok_or(RefreshTokenError)?;
        let counter = counter.first_chunk::<8>().ok_or(RefreshTokenError)?;
        if *version != VERSION {
            return Err(RefreshTokenError);
        }
        Ok(Self { session: Uuid::from_bytes(*session).into(), counter: i64::from_be_bytes(*counter) })
    }

    fn body(self) -> [u8; BODY_BYTES] {
        let mut body = [0u8; BODY_BYTES];
        let session = self.session.uuid();
        let counter = self.counter.to_be_bytes();
        let bytes = std::iter::once(&VERSION).chain(session.as_bytes()).chain(&counter);
        for (slot, byte) in body.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        body
    }
}

fn hmac_key(key: &SecretKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())
}

fn signed_bytes(tenant: TenantId, body: &[u8; BODY_BYTES]) -> Vec<u8> {
    [tenant.uuid().as_bytes().as_slice(), body].concat()
}

/// What a refresh with a token of this counter means, given the family's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshDecision {
    /// The current token: rotate.
    Rotate,
    /// The one before, within the grace: answer with the current token again.
    Repeat,
    /// An older one, or the one before after the grace: somebody else has used it, so the family ends.
    Reuse,
    /// A number that was never given out.
    Unknown,
}

/// Decides about a presented `counter`. `since_rotation_ms` is the time since the family's last rotation.
#[must_use]
pub fn decide(counter: i64, current: i64, since_rotation_ms: i64, grace_ms: i64) -> RefreshDecision {
    match current - counter {
        0 => RefreshDecision::Rotate,
        1 if since_rotation_ms <= grace_ms => RefreshDecision::Repeat,
        behind if behind > 0 => RefreshDecision::Reuse,
        _ => RefreshDecision::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    fn token() -> RefreshToken {
        RefreshToken { session: Uuid::from_u128(42).into(), counter: 7 }
    }

    #[test]
    fn a_token_reads_back_for_its_tenant_only() {
        let (tenant, key) = (TenantId::from(Uuid::from_u128(1)), Zeroizing::new([1; 32]));
        let text = token().encode(tenant, &key);
        assert_eq!(RefreshToken::decode(&text, tenant, &key), Ok(token()));
        assert!(RefreshToken::decode(&text, Uuid::from_u128(2).into(), &key).is_err());
        assert!(RefreshToken::decode(&text, tenant, &Zeroizing::new([2; 32])).is_err());
    }

    #[test]
    fn only_the_current_token_and_the_last_within_the_grace_are_good() {
        assert_eq!(decide(7, 7, 999_999, 10_000), RefreshDecision::Rotate);
        assert_eq!(decide(6, 7, 10_000, 10_000), RefreshDecision::Repeat);
        assert_eq!(decide(6, 7, 10_001, 10_000), RefreshDecision::Reuse);
        assert_eq!(decide(5, 7, 0, 10_000), RefreshDecision::Reuse);
        assert_eq!(decide(8, 7, 0, 10_000), RefreshDecision::Unknown);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_a_forgery(index in 0usize..41, flip in 1u8..=255) {
            let (tenant, key) = (TenantId::from(Uuid::from_u128(1)), Zeroizing::new([1; 32]));
            let mut bytes = URL_SAFE_NO_PAD.decode(token().encode(tenant, &key)).expect("base64");
            bytes[index] ^= flip;
            prop_assert!(RefreshToken::decode(&URL_SAFE_NO_PAD.encode(bytes), tenant, &key).is_err());
        }
    }
}
