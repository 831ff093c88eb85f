//! The platform's own keys in a connection: made, published beside the old one, switched to.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::{SECRETS_DEADLINE, SsoDesk, SsoError, connections, event};
use super::blocking;
use crate::actors::accounts::Asker;
use crate::actors::secrets::{SealSecret, StoredSecret};
use crate::actors::tenant::TenantHandle;
use crate::clients::saml::SpKey;
use crate::clock;
use crate::db::saml_keys::{SamlKey, SamlKeyState};
use crate::db::totp_factors::SealedSecret;
use crate::db::{TenantTx, audit, saml_keys, sso_connections};
use crate::domain::ids::{ConnectionId, SamlKeyId};

/// What the certificates of our keys say that they are of. Providers look at the key alone.
const COMMON_NAME: &str = "businessos";

/// A key that is not stored yet.
pub(in crate::actors::sso) struct MadeKey {
    key: SamlKey,
    sealed: SealedSecret,
}

/// Makes a key. Takes some tenths of a second of a processor.
pub(in crate::actors::sso) async fn make_key(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    connection: ConnectionId,
    state: SamlKeyState,
) -> Result<MadeKey, SsoError> {
    let now: DateTime<Utc> = clock::now();
    let SpKey { private_key_pem, certificate_pem } = blocking(move || SpKey::generate(COMMON_NAME, now)).await??;
    let id: SamlKeyId = clock::new_id();
    let plaintext = Zeroizing::new(private_key_pem.expose_secret().as_bytes().to_vec());
    let message = SealSecret { tenant: tenant.id(), secret: StoredSecret::SamlKey(id), plaintext };
    let sealed = desk.auth.secrets.ask(message, SECRETS_DEADLINE).await?;
    Ok(MadeKey { key: SamlKey { id, connection, state, certificate_pem, created_at: now }, sealed })
}

/// Stores the first key of a connection that is made.
pub(in crate::actors::sso) async fn insert_first(tx: &mut TenantTx, made: &MadeKey) -> Result<(), SsoError> {
    Ok(saml_keys::insert(tx, &made.key, &made.sealed).await?)
}

/// Begins a rotation: makes a key that is published and decrypts, and does not sign yet. One that was only kept for decrypting goes.
///
/// # Errors
/// [`SsoError::UnknownConnection`], [`SsoError::NotSaml`], [`SsoError::KeyWaits`], [`SsoError::OwnersOnly`], or the database's.
pub async fn add_key(desk: &SsoDesk, tenant: &TenantHandle, asker: Asker, id: ConnectionId) -> Result<(), SsoError> {
    // Looked at before, because a key costs something to make, and again when it is locked.
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant.id()).await?;
    let found = sso_connections::find(&mut tx, id).await;
    tx.finish();
    found?.ok_or(SsoError::UnknownConnection)?.saml().ok_or(SsoError::NotSaml)?;
    let made = make_key(desk, tenant, id, SamlKeyState::Next).await?;
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    let keys = lock(&mut tx, &asker, id).await?;
    if keys.iter().any(|key| key.state == SamlKeyState::Next) {
        return Err(SsoError::KeyWaits(true));
    }
    for old in keys.iter().filter(|key| key.state == SamlKeyState::Retiring) {
        saml_keys::delete(&mut tx, old.id).await?;
    }
    saml_keys::insert(&mut tx, &made.key, &made.sealed).await?;
    record(&mut tx, asker, "sso_connection.key_add", id, made.key.id).await?;
    Ok(tx.commit().await?)
}

/// Ends a rotation: the waiting key signs from now on, and the one before still decrypts.
///
/// # Errors
/// As [`add_key`].
pub async fn activate_key(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    asker: Asker,
    id: ConnectionId,
) -> Result<(), SsoError> {
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    let keys = lock(&mut tx, &asker, id).await?;
    let next = keys.iter().find(|key| key.state == SamlKeyState::Next).ok_or(SsoError::KeyWaits(false))?;
    for old in keys.iter().filter(|key| key.state == SamlKeyState::Active) {
        saml_keys::set_state(&mut tx, old.id, SamlKeyState::Retiring).await?;
    }
    saml_keys::set_state(&mut tx, next.id, SamlKeyState::Active).await?;
    record(&mut tx, asker, "sso_connection.key_activate", id, next.id).await?;
    Ok(tx.commit().await?)
}

/// The keys of a connection, which nobody else changes until the commit.
async fn lock(tx: &mut TenantTx, asker: &Asker, id: ConnectionId) -> Result<Vec<SamlKey>, SsoError> {
    sso_connections::lock_all(tx).await?;
    let connection = sso_connections::find(tx, id).await?.ok_or(SsoError::UnknownConnection)?;
    connections::check_owner(asker, &connection)?;
    connection.saml().ok_or(SsoError::NotSaml)?;
    Ok(saml_keys::list_of(tx, id).await?)
}

async fn record(
    tx: &mut TenantTx,
    asker: Asker,
    action: &'static str,
    id: ConnectionId,
    key: SamlKeyId,
) -> Result<(), SsoError> {
    let target = ("sso_connection", id.to_string());
    audit::insert(tx, &event(asker.actor, action, target, asker.source, json!({ "key": key }))).await?;
    Ok(())
}
