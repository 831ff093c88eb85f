//! API keys: `bos_<env>_<key id>_<secret>_<checksum>`.
//!
//! The prefix lets scanners of source code find a leaked key, the key id says which one it is, and the checksum tells a typo
//! from a wrong key without asking anybody. Id, secret and checksum are base 62 in fixed widths. Only the SHA-256 of the whole
//! text is stored: the secret has 256 random bits, so there is nothing to guess that a slow hash would protect.

use std::fmt;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::ids::{ApiKeyId, UserId};
use super::scope::Scope;

/// What every key begins with.
pub const PREFIX: &str = "bos_";
/// Random bytes of a key's secret.
pub const SECRET_BYTES: usize = 32;
/// Keys of a tenant that may be good at the same time: all of them are kept in its view.
pub const MAX_LIVE_KEYS: usize = 100;
/// Scopes of one key.
pub const MAX_SCOPES: usize = 50;
/// Longest name of an environment.
const MAX_ENVIRONMENT: usize = 16;
/// Base 62 digits of 128 bits, and of 32.
const WIDE: usize = 22;
const NARROW: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a key's whole text.
pub type ApiKeyHash = [u8; 32];

/// Not a key that was ever given out: cut short, mistyped, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: its checksum does not fit")]
pub struct MalformedApiKey;

/// A key as a tenant's view has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// Who made it.
    pub created_by: UserId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Refused from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Whether the key has not run out at `now_s` (seconds since 1970).
    #[must_use]
    pub fn is_valid_at(&self, now_s: i64) -> bool {
        self.expires_at.is_none_or(|at| now_s < at.timestamp())
    }
}

/// Whether a text is a name of an environment: 1 to 16 of a-z and 0-9.
#[must_use]
pub fn is_environment(text: &str) -> bool {
    (1..=MAX_ENVIRONMENT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The text of a key.
#[must_use]
pub fn compose(environment: &str, id: ApiKeyId, secret: &Zeroizing<[u8; SECRET_BYTES]>) -> SecretString {
    let (high, low) = Uuid::from_slice(secret.get(..16).unwrap_or_default())
        .and_then(|high| Ok((high, Uuid::from_slice(secret.get(16..).unwrap_or_default())?)))
        .unwrap_or_default();
    let mut text = Zeroizing::new(format!("{PREFIX}{environment}_"));
    encode(&mut text, id.uuid().as_u128(), WIDE);
    text.push('_');
    encode(&mut text, high.as_u128(), WIDE);
    encode(&mut text, low.as_u128(), WIDE);
    let checksum = crc32(text.as_bytes());
    text.push('_');
    encode(&mut text, u128::from(checksum), NARROW);
    SecretString::from(text.as_str())
}

/// Whether a credential means to be an API key.
#[must_use]
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Reads the id of a key, if its form and checksum are right. Whether anybody gave it out is another question.
///
/// # Errors
/// [`MalformedApiKey`].
pub fn parse(text: &str) -> Result<ApiKeyId, MalformedApiKey> {
    let rest = text.strip_prefix(PREFIX).ok_or(MalformedApiKey)?;
    let mut parts = rest.split('_');
    let mut next = || parts.next().ok_or(MalformedApiKey);
    let (environment, id, secret, checksum) = (next()?, next()?, next()?, next()?);
    let body = text.len().checked_sub(NARROW + 1).and_then(|end| text.get(..end)).ok_or(MalformedApiKey)?;
    let is_sound = parts.next().is_none()
        && is_environment(environment)
        && secret.len() == 2 * WIDE
        && secret.bytes().all(|b| b.is_ascii_alphanumeric())
        && decode(checksum, NARROW) == Some(u128::from(crc32(body.as_bytes())));
    let id = decode(id, WIDE).filter(|_| is_sound).ok_or(MalformedApiKey)?;
    Ok(Uuid::from_u128(id).into())
}

/// SHA-256, as it is stored.
#[must_use]
pub fn hash(text: &str) -> ApiKeyHash {
    let mut hash = ApiKeyHash::default();
    for (slot, byte) in hash.iter_mut().zip(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()) {
        *slot = *byte;
    }
    hash
}

fn encode(out: &mut String, mut number: u128, width: usize) {
    let mut digits = [b'0'; WIDE];
    for slot in digits.iter_mut().take(width).rev() {
        let digit = usize::try_from(number % 62).unwrap_or(0);
        *slot = DIGITS.get(digit).copied().unwrap_or(b'0');
        number /= 62;
    }
    out.extend(digits.iter().take(width).map(|digit| char::from(*digit)));
}

fn decode(text: &str, width: usize) -> Option<u128> {
    if text.len() != width {
        return None;
    }
    text.bytes().try_fold(0_u128, |number, byte| {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        number.checked_mul(62)?.checked_add(u128::try_from(digit).ok()?)
    })
}

/// CRC-32 as in Ethernet and zip (reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// A key's name: 1 to 200 characters, trimmed, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyName(String);

/// Not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 200 characters without control characters")]
pub struct MalformedName;

impl ApiKeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`MalformedName`].
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let text = text.trim();
        let is_name = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_name { Ok(Self(text.to_owned())) } else { Err(MalformedName) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn key(id: u128, secret: [u8; 32]) -> String {
        compose("live", Uuid::from_u128(id).into(), &Zeroizing::new(secret)).expose_secret().to_owned()
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_key_has_its_form() {
        let text = key(1, [0; 32]);
        assert!(text.starts_with("bos_live_0000000000000000000001_00000000"), "{text}");
        assert_eq!(text.len(), 9 + 22 + 1 + 44 + 1 + 6);
        assert_eq!(parse(&text), Ok(Uuid::from_u128(1).into()));
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let good = key(7, [9; 32]);
        let other_environment = good.replace("_live_", "_test_");
        for bad in ["", "bos_", "bos_live_1_2_3", &good[..good.len() - 1], &format!("{good}_"), &format!("{good}0")] {
            assert_eq!(parse(bad), Err(MalformedApiKey), "{bad}");
        }
        assert_eq!(parse(&other_environment), Err(MalformedApiKey));
        assert_eq!(parse("bos_ä_é"), Err(MalformedApiKey));
    }

    #[test]
    fn a_key_runs_out_at_its_second() {
        let at = DateTime::from_timestamp(100, 0);
        let key = ApiKey {
            id: Uuid::from_u128(1).into(),
            created_by: Uuid::from_u128(2).into(),
            scopes: vec![],
            expires_at: at,
        };
        assert!(key.is_valid_at(99) && !key.is_valid_at(100));
        assert!(ApiKey { expires_at: None, ..key }.is_valid_at(i64::MAX));
    }

    proptest! {
        #[test]
        fn every_key_reads_back_and_no_typo_does(id: u128, secret: [u8; 32], at in 4_usize..80, to in "[0-9A-Za-z]") {
            let text = key(id, secret);
            prop_assert_eq!(parse(&text), Ok(Uuid::from_u128(id).into()));
            let mut typo = text.clone();
            typo.replace_range(at..=at, &to);
            prop_assert!(typo == text || parse(&typo).is_err(), "{}", typo);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,120}") {
            let _ = parse(&text);
            let _ = parse(&format!("bos_live_{text}"));
        }
    }
}
