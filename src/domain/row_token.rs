//! Tokens that stand for one row: invitations, password resets, e-mail verifications, sign-ins that wait for a second factor,
//! tickets of streams.
//!
//! base64url(version ‖ purpose ‖ row id ‖ HMAC). The token can be made again from the row's id, so neither the row nor the mail
//! outbox holds anything that would let its reader use it, and a forgery dies without a query. Whether the row was used, or is
//! too old, is the row's business.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::envelope::SecretKey;
use super::ids::TenantId;

const VERSION: u8 = 1;
const BODY_BYTES: usize = 2 + 16;
const MAC_BYTES: usize = 32;

/// What a token is for. A token of one purpose is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTokenPurpose {
    /// Accepts an invitation.
    Invitation,
    /// Sets a new password.
    PasswordReset,
    /// Proves that mail to an address is read.
    EmailVerification,
    /// Continues a sign-in whose password was right.
    MfaChallenge,
    /// Opens a stream of usage, once.
    StreamTicket,
    /// Comes back from an identity provider: `state`.
    SsoState,
    /// Leaves for an identity provider, on behalf of a signed-in user.
    SsoTicket,
}

impl RowTokenPurpose {
    fn byte(self) -> u8 {
        match self {
            Self::Invitation => 1,
            Self::PasswordReset => 2,
            Self::EmailVerification => 3,
            Self::MfaChallenge => 4,
            Self::StreamTicket => 5,
            Self::SsoState => 6,
            Self::SsoTicket => 7,
        }
    }
}

/// Not a token of this tenant and purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this tenant and purpose")]
pub struct RowTokenError;

/// The token of a row.
#[must_use]
pub fn encode(purpose: RowTokenPurpose, row: Uuid, tenant: TenantId, key: &SecretKey) -> String {
    let mut bytes = vec![VERSION, purpose.byte()];
    bytes.extend_from_slice(row.as_bytes());
    let tag = tag(tenant, key, &bytes);
    bytes.extend_from_slice(tag.as_ref());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The row that a token stands for. The comparison takes the same time wherever it fails.
///
/// # Errors
/// [`RowTokenError`], which does not say why.
pub fn decode(text: &str, purpose: RowTokenPurpose, tenant: TenantId, key: &SecretKey) -> Result<Uuid, RowTokenError> {
    if text.len() > 128 {
        return Err(RowTokenError);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_encoding: base64::DecodeError| RowTokenError)?;
    let (body, mac) = bytes.split_at_checked(BODY_BYTES).ok_or(RowTokenError)?;
    if mac.len() != MAC_BYTES {
        return Err(RowTokenError);
    }
    aws_lc_rs::constant_time::verify_slices_are_equal(tag(tenant, key, body).as_ref(), mac)
        .map_err(|_differs: aws_lc_rs::error::Unspecified| RowTokenError)?;
    match body {
        [VERSION, own, row @ ..] if *own == purpose.byte() => {
            Uuid::from_slice(row).map_err(|_length: uuid::Error| RowTokenError)
        }
        _ => Err(RowTokenError),
    }
}

/// A secret of a row that need not be stored: 43 characters of base64url, different for each `label`. Whoever knows the row's token
/// cannot work it out.
#[must_use]
pub fn derived_secret(label: &str, row: Uuid, tenant: TenantId, key: &SecretKey) -> String {
    // Begins unlike any token's body, whose first byte is the version.
    let body = [&[0xff], label.as_bytes(), &[0], row.as_bytes().as_slice()].concat();
    URL_SAFE_NO_PAD.encode(tag(tenant, key, &body))
}

fn tag(tenant: TenantId, key: &SecretKey, body: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    hmac::sign(&key, &[tenant.uuid().as_bytes().as_slice(), body].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    const ROW: Uuid = Uuid::from_u128(42);

    fn tenant(n: u128) -> TenantId {
        Uuid::from_u128(n).into()
    }

    #[test]
    fn a_token_reads_back_for_its_tenant_key_and_purpose_only() {
        let key = Zeroizing::new([1; 32]);
        let text = encode(RowTokenPurpose::Invitation, ROW, tenant(1), &key);
        assert_eq!(decode(&text, RowTokenPurpose::Invitation, tenant(1), &key), Ok(ROW));
        assert!(decode(&text, RowTokenPurpose::PasswordReset, tenant(1), &key).is_err());
        assert!(decode(&text, RowTokenPurpose::Invitation, tenant(2), &key).is_err());
        assert!(decode(&text, RowTokenPurpose::Invitation, tenant(1), &Zeroizing::new([2; 32])).is_err());
        assert!(decode("", RowTokenPurpose::Invitation, tenant(1), &key).is_err());
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_a_forgery(index in 0usize..50, flip in 1u8..=255) {
            let key = Zeroizing::new([1; 32]);
            let text = encode(RowTokenPurpose::MfaChallenge, ROW, tenant(1), &key);
            let mut bytes = URL_SAFE_NO_PAD.decode(text).expect("base64");
            bytes[index] ^= flip;
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(decode(&forged, RowTokenPurpose::MfaChallenge, tenant(1), &key).is_err());
        }
    }
}
