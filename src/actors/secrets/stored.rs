//! Sealing and opening the secrets of rows, each bound to its place.

use zeroize::Zeroizing;

use super::SecretsContext;
use super::keys::KeysError;
use super::messages::{OpenSecret, SealSecret, StoredSecret};
use crate::clients::kms::{MasterKey, random};
use crate::db::totp_factors::{self, SealedSecret};
use crate::db::{TenantTx, data_keys};
use crate::domain::envelope::{self, SALT_BYTES, SecretKey, SecretPlace};
use crate::domain::ids::TenantId;

/// Seals under the newest data key.
pub(super) async fn seal(context: &SecretsContext, message: SealSecret) -> Result<SealedSecret, KeysError> {
    let SealSecret { tenant, secret, plaintext } = message;
    let mut tx = TenantTx::begin_secrets(&context.db, tenant).await?;
    let (key_version, key) = data_key(&mut tx, &context.master, None).await?;
    tx.finish();
    let salt = random::<SALT_BYTES>().map_err(|_random: crate::clients::kms::MasterKeyError| KeysError::Generation)?;
    let row = row_of(secret);
    let sealed = envelope::seal(&key, salt, &place(tenant, secret, &row, key_version), &plaintext)?;
    Ok(SealedSecret { sealed, key_version })
}

/// Opens with the data key that sealed it.
pub(super) async fn open(context: &SecretsContext, message: OpenSecret) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let OpenSecret { tenant, secret } = message;
    let mut tx = TenantTx::begin_secrets(&context.db, tenant).await?;
    let stored = match secret {
        StoredSecret::Totp(factor) => totp_factors::find_secret(&mut tx, factor).await?,
    };
    let SealedSecret { sealed, key_version } = stored.ok_or(KeysError::Missing("such secret"))?;
    let (key_version, key) = data_key(&mut tx, &context.master, Some(key_version)).await?;
    tx.finish();
    let row = row_of(secret);
    Ok(envelope::open(&key, &place(tenant, secret, &row, key_version), &sealed)?)
}

/// The data key of a version, or the newest one.
async fn data_key(tx: &mut TenantTx, master: &MasterKey, version: Option<i32>) -> Result<(i32, SecretKey), KeysError> {
    let keys = data_keys::list(tx).await?;
    let key = match version {
        Some(version) => keys.iter().find(|key| key.version == version),
        None => keys.last(),
    };
    let key = key.ok_or(KeysError::Missing("data key"))?;
    let wrapped = key.wrapped.as_deref().ok_or(KeysError::Missing("data key"))?;
    Ok((key.version, master.unwrap_key(tx.tenant(), key.version, wrapped)?))
}

fn row_of(secret: StoredSecret) -> String {
    match secret {
        StoredSecret::Totp(factor) => factor.to_string(),
    }
}

fn place(tenant: TenantId, secret: StoredSecret, row: &str, key_version: i32) -> SecretPlace<'_> {
    match secret {
        StoredSecret::Totp(_) => {
            SecretPlace { tenant, purpose: "totp", table: "auth.totp_factors", column: "secret_enc", row, key_version }
        }
    }
}
