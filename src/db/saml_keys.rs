//! The platform's own keys, a pair for each SAML connection: `auth.saml_keys`. `app_rw` never reads the envelopes.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::totp_factors::SealedSecret;
use super::tx::TenantTx;
use crate::domain::ids::{ConnectionId, SamlKeyId};

/// What a key is for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SamlKeyState {
    /// Signs.
    Active,
    /// Is published, and signs once it is switched to.
    Next,
    /// Signs no more, and still decrypts.
    Retiring,
}

impl SamlKeyState {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Next => "next",
            Self::Retiring => "retiring",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Next, Self::Retiring].into_iter().find(|state| state.as_str() == text)
    }
}

/// A key, without its private half.
#[derive(Debug, Clone)]
pub struct SamlKey {
    /// Id.
    pub id: SamlKeyId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// What it is for.
    pub state: SamlKeyState,
    /// Certificate that tells it to the provider.
    pub certificate_pem: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

struct KeyRow {
    id: Uuid,
    connection_id: Uuid,
    state: String,
    certificate_pem: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<KeyRow> for SamlKey {
    type Error = DbError;

    fn try_from(row: KeyRow) -> Result<Self, DbError> {
        let KeyRow { id, connection_id, state, certificate_pem, created_at } = row;
        let state = SamlKeyState::parse(&state).ok_or(DbError::Corrupt("saml_keys.state"))?;
        Ok(Self { id: id.into(), connection: connection_id.into(), state, certificate_pem, created_at })
    }
}

/// The keys of the tenant's connections.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<SamlKey>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        KeyRow,
        "SELECT id, connection_id, state, certificate_pem, created_at FROM auth.saml_keys WHERE tenant_id = $1
         ORDER BY created_at, id",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter().map(SamlKey::try_from).collect()
}

/// The keys of a connection: the one that signs first.
///
/// # Errors
/// [`DbError`].
pub async fn list_of(tx: &mut TenantTx, connection: ConnectionId) -> Result<Vec<SamlKey>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        KeyRow,
        "SELECT id, connection_id, state, certificate_pem, created_at FROM auth.saml_keys
         WHERE tenant_id = $1 AND connection_id = $2",
        tenant,
        connection.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    let mut keys = rows.into_iter().map(SamlKey::try_from).collect::<Result<Vec<_>, _>>()?;
    keys.sort_by_key(|key| key.state);
    Ok(keys)
}

/// Inserts a key. A connection has one of each state: `saml_keys_state_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &SamlKey, secret: &SealedSecret) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.saml_keys (tenant_id, id, connection_id, state, certificate_pem, private_key_enc, key_version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        new.id.uuid(),
        new.connection.uuid(),
        new.state.as_str(),
        new.certificate_pem,
        secret.sealed,
        secret.key_version,
        new.created_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Gives a key another state.
///
/// # Errors
/// [`DbError`].
pub async fn set_state(tx: &mut TenantTx, id: SamlKeyId, state: SamlKeyState) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.saml_keys SET state = $3 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        state.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Deletes a key.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, id: SamlKeyId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.saml_keys WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// The envelope of a private key; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn find_sealed(tx: &mut TenantTx, id: SamlKeyId) -> Result<Option<SealedSecret>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SealedSecret,
        "SELECT private_key_enc AS sealed, key_version FROM auth.saml_keys WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}
