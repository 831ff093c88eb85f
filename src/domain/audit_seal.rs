//! How the audit log is sealed: what a leaf of a tenant's tree is made of, and what a checkpoint says.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::envelope::SecretKey;
use super::ids::TenantId;
use super::merkle::{self, Hash};

/// Begins every leaf, so that its form can change one day.
const VERSION: &str = "businessos audit row v1";

/// A row of the log as texts, in the order in which they are hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditLeaf {
    /// `tenant_id`, `id`; `at` in microseconds since 1970; `xid`; `actor_kind`, `actor_id`, `action`, `target_kind`,
    /// `target_id`, `outcome`, `code`, `source_ip`, `user_agent`, `request_id`; `detail` as PostgreSQL writes a jsonb.
    pub fields: [Option<String>; 15],
}

impl AuditLeaf {
    /// Hash of the leaf: each text behind its length in bytes (four bytes, the most significant first), and 0xFFFFFFFF for what
    /// is null. The version is the first text.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut bytes = Vec::with_capacity(512);
        for text in std::iter::once(Some(VERSION)).chain(self.fields.iter().map(Option::as_deref)) {
            match text {
                Some(text) => {
                    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                None => bytes.extend_from_slice(&u32::MAX.to_be_bytes()),
            }
        }
        merkle::leaf(&bytes)
    }
}

/// What a checkpoint says, signed by the tenant's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointClaims {
    /// The tenant.
    pub tid: TenantId,
    /// Leaves of the tree.
    pub size: i64,
    /// Its root, in hexadecimal.
    pub root: String,
    /// SHA-256 of the checkpoint before, as signed, in hexadecimal; none for the first.
    pub prev: Option<String>,
    /// The latest time of any row in the tree, in microseconds since 1970.
    pub newest: i64,
    /// When it was signed, in seconds since 1970.
    pub iat: i64,
}

/// Ties a signed checkpoint and its public key to the tenant's data key.
#[must_use]
pub fn mac(key: &SecretKey, jws: &str, jwk: &Value) -> Hash {
    // Sorted: the database keeps the members of an object in an order of its own.
    let members: BTreeMap<&str, String> =
        jwk.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    // Neither a JWS nor a JSON text has a line end, so where each part ends is no question.
    let mut text = jws.to_owned();
    for (name, value) in members {
        text.push('\n');
        text.push_str(name);
        text.push('\n');
        text.push_str(&value);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    let mut hash = Hash::default();
    let tag = hmac::sign(&key, text.as_bytes());
    for (slot, byte) in hash.iter_mut().zip(tag.as_ref()) {
        *slot = *byte;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_move_from_one_field_to_the_next() {
        let leaf = |a: Option<&str>, b: Option<&str>| {
            let mut leaf = AuditLeaf::default();
            leaf.fields[0] = a.map(str::to_owned);
            leaf.fields[1] = b.map(str::to_owned);
            leaf.hash()
        };
        let different = [
            leaf(Some("ab"), Some("c")),
            leaf(Some("a"), Some("bc")),
            leaf(Some("abc"), Some("")),
            leaf(Some("abc"), None),
            leaf(None, Some("abc")),
        ];
        for (i, one) in different.iter().enumerate() {
            assert!(different[i + 1..].iter().all(|other| other != one), "{i}");
        }
    }
}
