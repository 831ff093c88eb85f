//! Connections to identity providers: `auth.sso_connections` and, for OpenID Connect, `auth.oidc_connections`. `app_rw` never reads the
//! envelopes of client secrets. What is SAML's own is in [`saml_connections`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::saml_connections;
use super::totp_factors::SealedSecret;
use super::tx::TenantTx;
use crate::domain::identity::Role;
use crate::domain::ids::ConnectionId;
use crate::domain::saml::SamlSettings;
use crate::domain::sso::{ConnectionKind, MAX_CONNECTIONS, RolePolicy, SubjectFrom};

/// A connection, without its secrets.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Id.
    pub id: ConnectionId,
    /// Name, unique in the tenant.
    pub name: String,
    /// Whether people may sign in by it.
    pub is_enabled: bool,
    /// Whether it makes users of people whom the tenant does not know.
    pub jit: bool,
    /// Whether it sets the role at each sign-in.
    pub sync_roles: bool,
    /// What role it gives.
    pub roles: RolePolicy,
    /// Whether second factors that the provider has seen count.
    pub trusts_mfa: bool,
    /// The provider.
    pub protocol: Protocol,
    /// Goes up with every change.
    pub revision: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a connection speaks, and to whom.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// OpenID Connect.
    Oidc(OidcSettings),
    /// SAML 2.0.
    Saml(Box<SamlSettings>),
}

impl Connection {
    /// What it speaks.
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        match &self.protocol {
            Protocol::Oidc(_) => ConnectionKind::Oidc,
            Protocol::Saml(_) => ConnectionKind::Saml,
        }
    }

    /// What the provider calls itself: its issuer, or its entity id.
    #[must_use]
    pub fn provider(&self) -> &str {
        match &self.protocol {
            Protocol::Oidc(oidc) => &oidc.issuer,
            Protocol::Saml(saml) => &saml.idp_entity_id,
        }
    }

    /// What is OpenID Connect's own of it, if it is one.
    #[must_use]
    pub fn oidc(&self) -> Option<&OidcSettings> {
        match &self.protocol {
            Protocol::Oidc(oidc) => Some(oidc),
            Protocol::Saml(_) => None,
        }
    }

    /// What is SAML's own of it, if it is one.
    #[must_use]
    pub fn saml(&self) -> Option<&SamlSettings> {
        match &self.protocol {
            Protocol::Oidc(_) => None,
            Protocol::Saml(saml) => Some(saml),
        }
    }
}

/// What is OpenID Connect's own of a connection.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Issuer, to the letter.
    pub issuer: String,
    /// The platform's id as a client.
    pub client_id: String,
    /// Whether there is a client secret.
    pub has_secret: bool,
    /// Scopes besides `openid`.
    pub scopes: Vec<String>,
    /// What names a person for good.
    pub subject_from: SubjectFrom,
    /// Values of `acr` that mean two factors.
    pub mfa_acr_values: Vec<String>,
    /// Where the provider sends browsers after a sign-out.
    pub post_logout_url: Option<String>,
}

struct ConnectionRow {
    id: Uuid,
    name: String,
    is_enabled: bool,
    jit: bool,
    sync_roles: bool,
    default_role: String,
    role_claim: Option<String>,
    role_map: serde_json::Value,
    trusts_mfa: bool,
    issuer: Option<String>,
    client_id: Option<String>,
    key_version: Option<i32>,
    scopes: Option<Vec<String>>,
    subject_from: Option<String>,
    mfa_acr_values: Option<Vec<String>>,
    post_logout_url: Option<String>,
    revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl ConnectionRow {
    /// With what `auth.saml_connections` has of it.
    fn with(self, saml: Option<SamlSettings>) -> Result<Connection, DbError> {
        let rules = serde_json::from_value(self.role_map)
            .map_err(|_shape: serde_json::Error| DbError::Corrupt("sso_connections.role_map"))?;
        let default = Role::parse(&self.default_role).ok_or(DbError::Corrupt("sso_connections.default_role"))?;
        let protocol = match (saml, self.issuer, self.client_id) {
            (Some(saml), None, None) => Protocol::Saml(Box::new(saml)),
            (None, Some(issuer), Some(client_id)) => {
                let subject_from = self.subject_from.as_deref().and_then(SubjectFrom::parse);
                Protocol::Oidc(OidcSettings {
                    issuer,
                    client_id,
                    has_secret: self.key_version.is_some(),
                    scopes: self.scopes.unwrap_or_default(),
                    subject_from: subject_from.ok_or(DbError::Corrupt("oidc_connections.subject_from"))?,
                    mfa_acr_values: self.mfa_acr_values.unwrap_or_default(),
                    post_logout_url: self.post_logout_url,
                })
            }
            _ => return Err(DbError::Corrupt("sso_connections.kind")),
        };
        Ok(Connection {
            id: self.id.into(),
            name: self.name,
            is_enabled: self.is_enabled,
            jit: self.jit,
            sync_roles: self.sync_roles,
            roles: RolePolicy { claim: self.role_claim, rules, default },
            trusts_mfa: self.trusts_mfa,
            protocol,
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// The tenant's connections, by name.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Connection>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        ConnectionRow,
        r#"SELECT c.id, c.name, c.is_enabled, c.jit, c.sync_roles, c.default_role, c.role_claim, c.role_map, c.trusts_mfa,
                o.issuer AS "issuer?", o.client_id AS "client_id?", o.key_version, o.scopes AS "scopes?",
                o.subject_from AS "subject_from?", o.mfa_acr_values AS "mfa_acr_values?", o.post_logout_url,
                c.revision, c.created_at, c.updated_at
         FROM auth.sso_connections c
         LEFT JOIN auth.oidc_connections o ON o.tenant_id = c.tenant_id AND o.connection_id = c.id
         WHERE c.tenant_id = $1 ORDER BY c.name LIMIT $2"#,
        tenant,
        MAX_CONNECTIONS
    )
    .fetch_all(tx.connection()?)
    .await?;
    let has_saml = rows.iter().any(|row| row.issuer.is_none());
    let mut saml = if has_saml { saml_connections::list(tx).await? } else { BTreeMap::new() };
    rows.into_iter()
        .map(|row| {
            let own = saml.remove(&row.id);
            row.with(own)
        })
        .collect()
}

/// The connection with this id.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: ConnectionId) -> Result<Option<Connection>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        ConnectionRow,
        r#"SELECT c.id, c.name, c.is_enabled, c.jit, c.sync_roles, c.default_role, c.role_claim, c.role_map, c.trusts_mfa,
                o.issuer AS "issuer?", o.client_id AS "client_id?", o.key_version, o.scopes AS "scopes?",
                o.subject_from AS "subject_from?", o.mfa_acr_values AS "mfa_acr_values?", o.post_logout_url,
                c.revision, c.created_at, c.updated_at
         FROM auth.sso_connections c
         LEFT JOIN auth.oidc_connections o ON o.tenant_id = c.tenant_id AND o.connection_id = c.id
         WHERE c.tenant_id = $1 AND c.id = $2"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let saml = if row.issuer.is_none() { saml_connections::find(tx, id).await? } else { None };
    row.with(saml).map(Some)
}

/// Locks the tenant's connections against changes by others until the commit: of any two changes one sees the other.
///
/// # Errors
/// [`DbError`].
pub async fn lock_all(tx: &mut TenantTx) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    Ok(())
}

/// Inserts a connection, with `secret` if it is of OpenID Connect and has one. A taken name violates `sso_connections_name_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &Connection, secret: Option<&SealedSecret>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sso_connections (tenant_id, id, kind, name, is_enabled, jit, sync_roles, default_role, role_claim,
                                           role_map, trusts_mfa)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant,
        new.id.uuid(),
        new.kind().as_str(),
        new.name,
        new.is_enabled,
        new.jit,
        new.sync_roles,
        new.roles.default.as_str(),
        new.roles.claim.as_deref(),
        serde_json::json!(new.roles.rules),
        new.trusts_mfa
    )
    .execute(tx.connection()?)
    .await?;
    match &new.protocol {
        Protocol::Oidc(oidc) => insert_oidc(tx, new.id, oidc, secret).await,
        Protocol::Saml(saml) => saml_connections::insert(tx, new.id, saml).await,
    }
}

async fn insert_oidc(
    tx: &mut TenantTx,
    id: ConnectionId,
    oidc: &OidcSettings,
    secret: Option<&SealedSecret>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.oidc_connections (tenant_id, connection_id, issuer, client_id, client_secret_enc, key_version, scopes,
                                            subject_from, mfa_acr_values, post_logout_url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant,
        id.uuid(),
        oidc.issuer,
        oidc.client_id,
        secret.map(|secret| secret.sealed.as_slice()),
        secret.map(|secret| secret.key_version),
        &oidc.scopes,
        oidc.subject_from.as_str(),
        &oidc.mfa_acr_values,
        oidc.post_logout_url.as_deref()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes what may change of a connection: everything but its kind, its issuer and what names people. The secret stays unless there is
/// another one.
///
/// # Errors
/// [`DbError`].
pub async fn update(tx: &mut TenantTx, new: &Connection, secret: Option<&SealedSecret>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.sso_connections SET name = $3, is_enabled = $4, jit = $5, sync_roles = $6, default_role = $7,
                role_claim = $8, role_map = $9, trusts_mfa = $10, revision = revision + 1, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        new.id.uuid(),
        new.name,
        new.is_enabled,
        new.jit,
        new.sync_roles,
        new.roles.default.as_str(),
        new.roles.claim.as_deref(),
        serde_json::json!(new.roles.rules),
        new.trusts_mfa
    )
    .execute(tx.connection()?)
    .await?;
    match &new.protocol {
        Protocol::Oidc(oidc) => update_oidc(tx, new.id, oidc, secret).await,
        Protocol::Saml(saml) => saml_connections::update(tx, new.id, saml).await,
    }
}

async fn update_oidc(
    tx: &mut TenantTx,
    id: ConnectionId,
    oidc: &OidcSettings,
    secret: Option<&SealedSecret>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.oidc_connections SET client_id = $3, scopes = $4, mfa_acr_values = $5, post_logout_url = $6
         WHERE tenant_id = $1 AND connection_id = $2",
        tenant,
        id.uuid(),
        oidc.client_id,
        &oidc.scopes,
        &oidc.mfa_acr_values,
        oidc.post_logout_url.as_deref()
    )
    .execute(tx.connection()?)
    .await?;
    if let Some(secret) = secret {
        sqlx::query!(
            "UPDATE auth.oidc_connections SET client_secret_enc = $3, key_version = $4
             WHERE tenant_id = $1 AND connection_id = $2",
            tenant,
            id.uuid(),
            &secret.sealed,
            secret.key_version
        )
        .execute(tx.connection()?)
        .await?;
    }
    Ok(())
}

/// Deletes a connection with everything that hangs on it; false if there is none.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, id: ConnectionId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!("DELETE FROM auth.sso_connections WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(result.rows_affected() == 1)
}

/// The envelope of a client secret; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn find_sealed(tx: &mut TenantTx, id: ConnectionId) -> Result<Option<SealedSecret>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SealedSecret,
        r#"SELECT client_secret_enc AS "sealed!", key_version AS "key_version!" FROM auth.oidc_connections
           WHERE tenant_id = $1 AND connection_id = $2 AND client_secret_enc IS NOT NULL"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}
