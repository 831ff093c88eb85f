//! Sealing and opening the secrets of rows, each bound to its place.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::SecretsContext;
use super::keys::KeysError;
use super::messages::{OpenSecret, SealSecret, StoredSecret};
use crate::clients::kms::{MasterKey, random};
use crate::db::data_keys::DataKeyRow;
use crate::db::totp_factors::{self, SealedSecret};
use crate::db::{Db, TenantTx, data_keys, saml_keys, sso_connections, tenant_secrets};
use crate::domain::envelope::{self, SALT_BYTES, SecretKey, SecretPlace};
use crate::domain::ids::TenantId;
use crate::domain::tenant_secret::{SecretName, TenantSecrets};

/// Seals under the newest data key.
///
/// # Errors
/// [`KeysError`].
pub async fn seal_secret(db: &Db, master: &MasterKey, message: SealSecret) -> Result<SealedSecret, KeysError> {
    let SealSecret { tenant, secret, plaintext } = message;
    let mut tx = TenantTx::begin_secrets(db, tenant).await?;
    let (key_version, key) = data_key(&mut tx, master, None).await?;
    tx.finish();
    let salt = random::<SALT_BYTES>().map_err(|_random: crate::clients::kms::MasterKeyError| KeysError::Generation)?;
    let row = row_of(&secret);
    let sealed = envelope::seal(&key, salt, &place(tenant, &secret, &row, key_version), &plaintext)?;
    Ok(SealedSecret { sealed, key_version })
}

/// Opens with the data key that sealed it.
pub(super) async fn open(context: &SecretsContext, message: OpenSecret) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let OpenSecret { tenant, secret } = message;
    let mut tx = TenantTx::begin_secrets(&context.db, tenant).await?;
    let stored = match &secret {
        StoredSecret::Totp(factor) => totp_factors::find_secret(&mut tx, *factor).await?,
        StoredSecret::SsoClient(connection) => sso_connections::find_sealed(&mut tx, *connection).await?,
        StoredSecret::SamlKey(key) => saml_keys::find_sealed(&mut tx, *key).await?,
        StoredSecret::OfTenant(name) => tenant_secrets::find_sealed(&mut tx, name).await?,
    };
    let SealedSecret { sealed, key_version } = stored.ok_or(KeysError::Missing("such secret"))?;
    let (key_version, key) = data_key(&mut tx, &context.master, Some(key_version)).await?;
    tx.finish();
    let row = row_of(&secret);
    Ok(envelope::open(&key, &place(tenant, &secret, &row, key_version), &sealed)?)
}

/// Opens all that the tenant gave the platform. One that does not open is left out and complained of: it must not keep the tenant's
/// users out.
pub(super) async fn open_of_tenant(
    tx: &mut TenantTx,
    master: &MasterKey,
    data_keys: &[DataKeyRow],
) -> Result<TenantSecrets, KeysError> {
    let tenant = tx.tenant();
    let mut opened = Vec::new();
    for (name, sealed) in tenant_secrets::list_sealed(tx).await? {
        let text = open_one(tenant, master, data_keys, &name, &sealed);
        match text {
            Ok(text) => opened.push((name, text)),
            Err(error) => {
                tracing::error!(tenant.id = %tenant, secret = %name, %error, "a secret of the tenant cannot be opened");
            }
        }
    }
    Ok(opened.into_iter().collect())
}

fn open_one(
    tenant: TenantId,
    master: &MasterKey,
    data_keys: &[DataKeyRow],
    name: &SecretName,
    stored: &SealedSecret,
) -> Result<SecretString, KeysError> {
    let data_key = data_keys.iter().find(|key| key.version == stored.key_version);
    let wrapped = data_key.and_then(|key| key.wrapped.as_deref()).ok_or(KeysError::Missing("data key"))?;
    let key = master.unwrap_key(tenant, stored.key_version, wrapped)?;
    let secret = StoredSecret::OfTenant(name.clone());
    let opened = envelope::open(&key, &place(tenant, &secret, name.as_str(), stored.key_version), &stored.sealed)?;
    let text =
        std::str::from_utf8(&opened).map_err(|_text: std::str::Utf8Error| KeysError::Missing("readable secret"))?;
    Ok(SecretString::from(text))
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

fn row_of(secret: &StoredSecret) -> String {
    match secret {
        StoredSecret::Totp(factor) => factor.to_string(),
        StoredSecret::SsoClient(connection) => connection.to_string(),
        StoredSecret::SamlKey(key) => key.to_string(),
        StoredSecret::OfTenant(name) => name.to_string(),
    }
}

fn place<'a>(tenant: TenantId, secret: &StoredSecret, row: &'a str, key_version: i32) -> SecretPlace<'a> {
    let (purpose, table, column) = match secret {
        StoredSecret::Totp(_) => ("totp", "auth.totp_factors", "secret_enc"),
        StoredSecret::SsoClient(_) => ("sso-client", "auth.oidc_connections", "client_secret_enc"),
        StoredSecret::SamlKey(_) => ("saml-key", "auth.saml_keys", "private_key_enc"),
        StoredSecret::OfTenant(_) => ("tenant-secret", "platform.tenant_secrets", "secret_enc"),
    };
    SecretPlace { tenant, purpose, table, column, row, key_version }
}
