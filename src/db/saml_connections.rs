//! What is SAML's own of a connection: `auth.saml_connections`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::ConnectionId;
use crate::domain::saml::SamlSettings;
use crate::domain::sso::MAX_CONNECTIONS;

struct SamlRow {
    connection_id: Uuid,
    idp_entity_id: String,
    sso_redirect_url: Option<String>,
    sso_post_url: Option<String>,
    wants_signed_requests: bool,
    certificates: Vec<String>,
    metadata_url: Option<String>,
    metadata_read_at: Option<DateTime<Utc>>,
    metadata_tried_at: Option<DateTime<Utc>>,
    metadata_error: Option<String>,
    idp_initiated: bool,
    want_encrypted: bool,
    subject_attribute: Option<String>,
    email_attribute: Option<String>,
    name_attribute: Option<String>,
    mfa_contexts: Vec<String>,
    logout_url: Option<String>,
}

impl From<SamlRow> for SamlSettings {
    fn from(row: SamlRow) -> Self {
        Self {
            idp_entity_id: row.idp_entity_id,
            sso_redirect_url: row.sso_redirect_url,
            sso_post_url: row.sso_post_url,
            wants_signed_requests: row.wants_signed_requests,
            certificates: row.certificates,
            metadata_url: row.metadata_url,
            metadata_read_at: row.metadata_read_at,
            metadata_tried_at: row.metadata_tried_at,
            metadata_error: row.metadata_error,
            idp_initiated: row.idp_initiated,
            want_encrypted: row.want_encrypted,
            subject_attribute: row.subject_attribute,
            email_attribute: row.email_attribute,
            name_attribute: row.name_attribute,
            mfa_contexts: row.mfa_contexts,
            logout_url: row.logout_url,
        }
    }
}

/// What is SAML's own of the tenant's connections, by connection.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<BTreeMap<Uuid, SamlSettings>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        SamlRow,
        "SELECT connection_id, idp_entity_id, sso_redirect_url, sso_post_url, wants_signed_requests, certificates, metadata_url,
                metadata_read_at, metadata_tried_at, metadata_error, idp_initiated, want_encrypted, subject_attribute,
                email_attribute, name_attribute, mfa_contexts, logout_url
         FROM auth.saml_connections WHERE tenant_id = $1 LIMIT $2",
        tenant,
        MAX_CONNECTIONS
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(|row| (row.connection_id, row.into())).collect())
}

/// What is SAML's own of a connection.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: ConnectionId) -> Result<Option<SamlSettings>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        SamlRow,
        "SELECT connection_id, idp_entity_id, sso_redirect_url, sso_post_url, wants_signed_requests, certificates, metadata_url,
                metadata_read_at, metadata_tried_at, metadata_error, idp_initiated, want_encrypted, subject_attribute,
                email_attribute, name_attribute, mfa_contexts, logout_url
         FROM auth.saml_connections WHERE tenant_id = $1 AND connection_id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(row.map(SamlSettings::from))
}

pub(super) async fn insert(tx: &mut TenantTx, id: ConnectionId, new: &SamlSettings) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.saml_connections (tenant_id, connection_id, idp_entity_id, sso_redirect_url, sso_post_url,
             wants_signed_requests, certificates, metadata_url, metadata_read_at, metadata_tried_at, metadata_error, idp_initiated,
             want_encrypted, subject_attribute, email_attribute, name_attribute, mfa_contexts, logout_url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        tenant,
        id.uuid(),
        new.idp_entity_id,
        new.sso_redirect_url.as_deref(),
        new.sso_post_url.as_deref(),
        new.wants_signed_requests,
        &new.certificates,
        new.metadata_url.as_deref(),
        new.metadata_read_at,
        new.metadata_tried_at,
        new.metadata_error.as_deref(),
        new.idp_initiated,
        new.want_encrypted,
        new.subject_attribute.as_deref(),
        new.email_attribute.as_deref(),
        new.name_attribute.as_deref(),
        &new.mfa_contexts,
        new.logout_url.as_deref()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes what may change: everything but who the provider is and what names its people.
pub(super) async fn update(tx: &mut TenantTx, id: ConnectionId, new: &SamlSettings) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.saml_connections
         SET sso_redirect_url = $3, sso_post_url = $4, wants_signed_requests = $5, certificates = $6, metadata_url = $7,
             metadata_read_at = $8, metadata_tried_at = $9, metadata_error = $10, idp_initiated = $11, want_encrypted = $12,
             email_attribute = $13, name_attribute = $14, mfa_contexts = $15, logout_url = $16
         WHERE tenant_id = $1 AND connection_id = $2",
        tenant,
        id.uuid(),
        new.sso_redirect_url.as_deref(),
        new.sso_post_url.as_deref(),
        new.wants_signed_requests,
        &new.certificates,
        new.metadata_url.as_deref(),
        new.metadata_read_at,
        new.metadata_tried_at,
        new.metadata_error.as_deref(),
        new.idp_initiated,
        new.want_encrypted,
        new.email_attribute.as_deref(),
        new.name_attribute.as_deref(),
        &new.mfa_contexts,
        new.logout_url.as_deref()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes how a try to read the metadata again ended. Not a change of the connection.
///
/// # Errors
/// [`DbError`].
pub async fn note_metadata(tx: &mut TenantTx, id: ConnectionId, error: Option<&str>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.saml_connections
         SET metadata_tried_at = clock_timestamp(), metadata_error = $3,
             metadata_read_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() ELSE metadata_read_at END
         WHERE tenant_id = $1 AND connection_id = $2",
        tenant,
        id.uuid(),
        error
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Connections whose metadata was not tried for so many seconds, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn list_due(tx: &mut TenantTx, seconds: i64) -> Result<Vec<ConnectionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT connection_id FROM auth.saml_connections
         WHERE tenant_id = $1 AND metadata_url IS NOT NULL
           AND (metadata_tried_at IS NULL OR metadata_tried_at < clock_timestamp() - make_interval(secs => $2::bigint))
         ORDER BY metadata_tried_at NULLS FIRST LIMIT $3",
        tenant,
        seconds,
        MAX_CONNECTIONS
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(ConnectionId::from).collect())
}
