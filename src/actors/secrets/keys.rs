//! Making and opening a tenant's keys.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::clients::kms::{MasterKey, random};
use crate::db::DbError;
use crate::db::data_keys::DataKeyRow;
use crate::db::signing_keys::SigningKeyRow;
use crate::domain::envelope::{self, KEY_BYTES, SALT_BYTES, SecretKey, SecretPlace};
use crate::domain::ids::TenantId;
use crate::domain::tenant_secret::TenantSecrets;
use crate::domain::token::{KeyAlgorithm, SigningKey, VerifyingKey};

/// A tenant's keys cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database did not answer.
    #[error("the keys could not be read")]
    Db(#[from] DbError),
    /// An envelope did not open: another master key, or tampering.
    #[error("a key's envelope does not open")]
    Envelope(#[from] envelope::EnvelopeError),
    /// The tenant has no such key.
    #[error("the tenant has no {0}")]
    Missing(&'static str),
    /// Key generation failed.
    #[error("a key could not be made")]
    Generation,
}

/// A tenant's keys, ready for use.
#[derive(Clone)]
pub struct TenantKeys {
    /// Signs access tokens and contexts.
    pub signing: SigningKey,
    /// Verify access tokens: active, pending and retiring keys.
    pub verifying: Vec<VerifyingKey>,
    /// Authenticates refresh tokens.
    pub refresh: SecretKey,
    /// Authenticates tokens that stand for a row: invitations, resets, half-done sign-ins.
    pub rows: SecretKey,
    /// Authenticates checkpoints of the audit log. It comes from the tenant's first data key, so that old checkpoints can be
    /// checked when there is a newer one.
    pub audit: SecretKey,
    /// What the tenant gave the platform to use on its behalf.
    pub secrets: Arc<TenantSecrets>,
}

impl std::fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantKeys").field("signing", &self.signing).finish_non_exhaustive()
    }
}

impl TenantKeys {
    pub(super) fn open(
        master: &MasterKey,
        tenant: TenantId,
        data_keys: &[DataKeyRow],
        signing_keys: &[SigningKeyRow],
        secrets: TenantSecrets,
    ) -> Result<Self, KeysError> {
        let (data_key, version) = unwrap_newest(master, tenant, data_keys)?;
        let oldest = data_keys.first().ok_or(KeysError::Missing("data key"))?;
        let wrapped = oldest.wrapped.as_deref().ok_or(KeysError::Missing("first data key"))?;
        let first_data_key = master.unwrap_key(tenant, oldest.version, wrapped)?;
        let active =
            signing_keys.iter().find(|key| key.state == "active").ok_or(KeysError::Missing("active signing key"))?;
        let pkcs8 = envelope::open(&data_key, &place(tenant, &active.kid, version), &active.private_key_enc)?;
        let signing = SigningKey::from_pkcs8(&active.kid, algorithm(active)?, &pkcs8);
        let verifying = signing_keys
            .iter()
            .map(|key| {
                VerifyingKey::from_jwk(&key.kid, algorithm(key)?, key.public_jwk.clone())
                    .map_err(|_jwk: crate::domain::token::TokenError| KeysError::Missing("usable public key"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            signing,
            verifying,
            refresh: refresh_key(&data_key)?,
            rows: envelope::derive_key(&data_key, b"", "row token mac")?,
            audit: envelope::derive_key(&first_data_key, b"", "audit checkpoint mac")?,
            secrets: Arc::new(secrets),
        })
    }
}

/// A new tenant's keys, as they are stored.
#[derive(Debug)]
pub struct NewTenantKeys {
    /// Version of the data key.
    pub data_key_version: i32,
    /// Data key, wrapped.
    pub wrapped_data_key: Vec<u8>,
    /// Its first signing key.
    pub signing: NewTenantSigningKey,
}

/// A new signing key, as it is stored.
#[derive(Debug)]
pub struct NewTenantSigningKey {
    /// Its id.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// Its public half.
    pub public_jwk: Value,
    /// Its private half, enveloped.
    pub private_key_enc: Vec<u8>,
}

/// Makes a data key and a signing key for a new tenant. Takes well below a millisecond.
///
/// # Errors
/// [`KeysError::Generation`] or [`KeysError::Envelope`].
pub fn make_tenant_keys(
    master: &MasterKey,
    tenant: TenantId,
    algorithm: KeyAlgorithm,
) -> Result<NewTenantKeys, KeysError> {
    let version = 1;
    let data_key: SecretKey = Zeroizing::new(fresh::<KEY_BYTES>()?);
    Ok(NewTenantKeys {
        data_key_version: version,
        wrapped_data_key: master.wrap(tenant, version, &data_key)?,
        signing: seal_signing_key(tenant, &data_key, version, algorithm)?,
    })
}

/// Makes a further signing key under the tenant's newest data key.
pub(super) fn make_signing_key(
    master: &MasterKey,
    tenant: TenantId,
    data_keys: &[DataKeyRow],
    algorithm: KeyAlgorithm,
) -> Result<NewTenantSigningKey, KeysError> {
    let (data_key, version) = unwrap_newest(master, tenant, data_keys)?;
    seal_signing_key(tenant, &data_key, version, algorithm)
}

fn unwrap_newest(
    master: &MasterKey,
    tenant: TenantId,
    data_keys: &[DataKeyRow],
) -> Result<(SecretKey, i32), KeysError> {
    let newest = data_keys.last().ok_or(KeysError::Missing("data key"))?;
    let wrapped = newest.wrapped.as_deref().ok_or(KeysError::Missing("data key"))?;
    Ok((master.unwrap_key(tenant, newest.version, wrapped)?, newest.version))
}

fn seal_signing_key(
    tenant: TenantId,
    data_key: &SecretKey,
    version: i32,
    algorithm: KeyAlgorithm,
) -> Result<NewTenantSigningKey, KeysError> {
    let kid = hex::encode(fresh::<8>()?);
    let (pkcs8, public_jwk) = generate(algorithm)?;
    let salt = fresh::<SALT_BYTES>()?;
    let private_key_enc = envelope::seal(data_key, salt, &place(tenant, &kid, version), &pkcs8)?;
    Ok(NewTenantSigningKey { kid, algorithm, public_jwk, private_key_enc })
}

fn generate(algorithm: KeyAlgorithm) -> Result<(Zeroizing<Vec<u8>>, Value), KeysError> {
    let failed = |_cause: aws_lc_rs::error::Unspecified| KeysError::Generation;
    match algorithm {
        KeyAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            // Uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1 §2.3.3).
            let (x, y) = pair
                .public_key()
                .as_ref()
                .get(1..)
                .and_then(|point| point.split_at_checked(32))
                .ok_or(KeysError::Generation)?;
            let jwk =
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
            let der = pair.to_pkcs8v1().map_err(failed)?;
            Ok((Zeroizing::new(der.as_ref().to_vec()), jwk))
        }
        KeyAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            let der = pair.to_pkcs8v1().map_err(failed)?;
            Ok((Zeroizing::new(der.as_ref().to_vec()), json!({"kty": "OKP", "crv": "Ed25519", "x": x})))
        }
    }
}

fn refresh_key(data_key: &SecretKey) -> Result<SecretKey, KeysError> {
    Ok(envelope::derive_key(data_key, b"", "refresh token mac")?)
}

fn place(tenant: TenantId, kid: &str, key_version: i32) -> SecretPlace<'_> {
    SecretPlace {
        tenant,
        purpose: "signing-key",
        table: "auth.signing_keys",
        column: "private_key_enc",
        row: kid,
        key_version,
    }
}

fn algorithm(row: &SigningKeyRow) -> Result<KeyAlgorithm, KeysError> {
    KeyAlgorithm::parse(&row.algorithm).ok_or(KeysError::Missing("known algorithm"))
}

fn fresh<const N: usize>() -> Result<[u8; N], KeysError> {
    random::<N>().map_err(|_random: crate::clients::kms::MasterKeyError| KeysError::Generation)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::token;

    fn round_trip(algorithm: KeyAlgorithm) -> Result<(), KeysError> {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::load(dir.path(), None).expect("a key");
        let tenant: TenantId = Uuid::from_u128(1).into();
        let new = make_tenant_keys(&master, tenant, algorithm)?;
        let data_keys = [DataKeyRow { version: 1, wrapped: Some(new.wrapped_data_key) }];
        let signing_keys = [SigningKeyRow {
            kid: new.signing.kid,
            algorithm: algorithm.as_str().to_owned(),
            state: "active".to_owned(),
            public_jwk: new.signing.public_jwk,
            private_key_enc: new.signing.private_key_enc,
        }];
        let other_tenant = Uuid::from_u128(2).into();
        assert!(TenantKeys::open(&master, other_tenant, &data_keys, &signing_keys, TenantSecrets::default()).is_err());
        let keys = TenantKeys::open(&master, tenant, &data_keys, &signing_keys, TenantSecrets::default())?;
        let claims = token::AccessClaims {
            iss: "i".into(),
            aud: "a".into(),
            sub: Uuid::from_u128(3).into(),
            tid: tenant,
            sid: Uuid::from_u128(4).into(),
            jti: Uuid::from_u128(5),
            iat: 0,
            nbf: 0,
            exp: 100,
            auth_time: 0,
            acr: "aal1".into(),
            amr: vec![],
            roles: vec![],
            epoch: 1,
        };
        let text = token::sign_access(&keys.signing, &claims).expect("signed");
        let expected = token::Expected { issuer: "i", audience: "a", tenant, now_s: 1 };
        assert_eq!(token::verify_access(&keys.verifying, &text, &expected), Ok(claims));
        Ok(())
    }

    #[test]
    fn made_keys_open_for_their_tenant_and_sign() {
        round_trip(KeyAlgorithm::Es256).expect("ES256");
        round_trip(KeyAlgorithm::EdDsa).expect("EdDSA");
    }
}
