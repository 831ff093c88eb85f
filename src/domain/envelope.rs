//! The secret envelope: AES-256-GCM under a key of its own for each record.
//!
//! Record key and nonce = HKDF-SHA256(data key, random salt), so a data key may seal any number of records. The
//! associated data names tenant, purpose, table, column, row and key version with their lengths: a ciphertext moved to
//! another tenant, row or column does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::ids::TenantId;

/// Bytes of a data key or master key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the random salt that each record needs.
pub const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// First byte of every envelope.
const FORMAT: u8 = 1;

/// A 256-bit key, wiped from memory when dropped.
pub type SecretKey = Zeroizing<[u8; KEY_BYTES]>;

/// The envelope did not open: wrong key, wrong place, or tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret envelope does not open")]
pub struct EnvelopeError;

/// Where a secret belongs.
#[derive(Debug, Clone, Copy)]
pub struct SecretPlace<'a> {
    /// Owner.
    pub tenant: TenantId,
    /// What the secret is for.
    pub purpose: &'a str,
    /// Table it is stored in.
    pub table: &'a str,
    /// Column it is stored in.
    pub column: &'a str,
    /// Primary key of its row, without the tenant.
    pub row: &'a str,
    /// Version of the data key.
    pub key_version: i32,
}

impl SecretPlace<'_> {
    fn aad(&self) -> Vec<u8> {
        let version = self.key_version.to_be_bytes();
        let tenant = self.tenant.uuid();
        let mut aad = vec![FORMAT];
        let parts: [&[u8]; 6] = [
            tenant.as_bytes(),
            self.purpose.as_bytes(),
            self.table.as_bytes(),
            self.column.as_bytes(),
            self.row.as_bytes(),
            &version,
        ];
        for part in parts {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

/// Seals `plaintext` for `place`. `salt` must be fresh random bytes for each record.
///
/// # Errors
/// [`EnvelopeError`] if the cipher refuses (it does not, for inputs below 64 GiB).
pub fn seal(
    key: &SecretKey,
    salt: [u8; SALT_BYTES],
    place: &SecretPlace<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let (record_key, nonce) = derive(key, &salt)?;
    let mut sealed = Vec::with_capacity(1 + SALT_BYTES + plaintext.len() + 16);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&salt);
    let mut body = plaintext.to_vec();
    record_key
        .seal_in_place_append_tag(nonce, Aad::from(place.aad()), &mut body)
        .map_err(|_cipher: aws_lc_rs::error::Unspecified| EnvelopeError)?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`EnvelopeError`], which does not say why.
pub fn open(key: &SecretKey, place: &SecretPlace<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (format, rest) = sealed.split_first().ok_or(EnvelopeError)?;
    let (salt, body) = rest.split_first_chunk::<SALT_BYTES>().ok_or(EnvelopeError)?;
    if *format != FORMAT {
        return Err(EnvelopeError);
    }
    let (record_key, nonce) = derive(key, salt)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = record_key
        .open_in_place(nonce, Aad::from(place.aad()), &mut body)
        .map_err(|_cipher: aws_lc_rs::error::Unspecified| EnvelopeError)?
        .len();
    body.truncate(length);
    Ok(body)
}

/// A key derived from `key` for another use than envelopes, such as signing refresh tokens.
///
/// # Errors
/// [`EnvelopeError`] if the derivation refuses (it does not, for this length).
pub fn derive_key(key: &SecretKey, context: &[u8], label: &str) -> Result<SecretKey, EnvelopeError> {
    let mut derived = Zeroizing::new([0u8; KEY_BYTES]);
    expand(key, context, label.as_bytes(), derived.as_mut_slice())?;
    Ok(derived)
}

fn derive(key: &SecretKey, salt: &[u8; SALT_BYTES]) -> Result<(LessSafeKey, Nonce), EnvelopeError> {
    let mut bytes = Zeroizing::new([0u8; KEY_BYTES + NONCE_BYTES]);
    expand(key, salt, b"businessos record key", bytes.as_mut_slice())?;
    let (key_bytes, nonce_bytes) = bytes.split_first_chunk::<KEY_BYTES>().ok_or(EnvelopeError)?;
    let unbound =
        UnboundKey::new(&AES_256_GCM, key_bytes).map_err(|_length: aws_lc_rs::error::Unspecified| EnvelopeError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce_bytes)
        .map_err(|_length: aws_lc_rs::error::Unspecified| EnvelopeError)?;
    Ok((LessSafeKey::new(unbound), nonce))
}

fn expand(key: &SecretKey, salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), EnvelopeError> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    Salt::new(HKDF_SHA256, salt)
        .extract(key.as_slice())
        .expand(&[info], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_length: aws_lc_rs::error::Unspecified| EnvelopeError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn place() -> SecretPlace<'static> {
        SecretPlace {
            tenant: Uuid::from_u128(1).into(),
            purpose: "signing-key",
            table: "auth.signing_keys",
            column: "private_key_enc",
            row: "kid-1",
            key_version: 1,
        }
    }

    #[test]
    fn a_sealed_secret_opens_in_its_place_only() {
        let key = Zeroizing::new([7u8; KEY_BYTES]);
        let sealed = seal(&key, [9; SALT_BYTES], &place(), b"secret").expect("sealed");
        assert_eq!(open(&key, &place(), &sealed).expect("opens").as_slice(), b"secret");
        let moved = [
            SecretPlace { tenant: Uuid::from_u128(2).into(), ..place() },
            SecretPlace { purpose: "other", ..place() },
            SecretPlace { table: "other", ..place() },
            SecretPlace { column: "other", ..place() },
            SecretPlace { row: "kid-2", ..place() },
            SecretPlace { key_version: 2, ..place() },
            // The same bytes, cut elsewhere: lengths are part of the associated data.
            SecretPlace { purpose: "signing-keya", table: "uth.signing_keys", ..place() },
        ];
        for other in moved {
            assert_eq!(open(&key, &other, &sealed).map(|_| ()), Err(EnvelopeError), "{other:?}");
        }
        assert!(open(&Zeroizing::new([8u8; KEY_BYTES]), &place(), &sealed).is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(byte in 0usize..39, bit in 0u8..8) {
            let key = Zeroizing::new([7u8; KEY_BYTES]);
            let mut sealed = seal(&key, [9; SALT_BYTES], &place(), b"secret").expect("sealed");
            sealed[byte] ^= 1 << bit;
            prop_assert!(open(&key, &place(), &sealed).is_err());
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(open(&Zeroizing::new([7u8; KEY_BYTES]), &place(), &bytes).is_err());
        }
    }
}
