//! Onboarding: a tenant, its owner, its keys and the audit row in one transaction.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::accounts;
use super::secrets::{KeysError, make_tenant_keys};
use super::subscriptions;
use crate::clients::kms::MasterKey;
use crate::clock;
use crate::config::Settings;
use crate::db::signing_keys::NewSigningKey;
use crate::db::tenants::NewTenant;
use crate::db::users::NewUser;
use crate::db::{Db, DbError, TenantTx, audit, data_keys, signing_keys, tenants, users};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::{TenantId, UserId};
use crate::domain::tenant::{Slug, TenantName};

/// A tenant was not onboarded.
#[derive(Debug, thiserror::Error)]
pub enum OnboardingError {
    /// Somebody has the subdomain already.
    #[error("the subdomain is taken")]
    SubdomainTaken,
    /// Keys could not be made.
    #[error("the tenant's keys could not be made")]
    Keys(#[from] KeysError),
    /// The database did not do it.
    #[error("the database did not answer")]
    Db(#[source] DbError),
}

impl From<DbError> for OnboardingError {
    fn from(error: DbError) -> Self {
        if error.constraint() == Some("directory_slug_key") { Self::SubdomainTaken } else { Self::Db(error) }
    }
}

/// Who asks for a tenant, and what it shall be.
#[derive(Debug)]
pub struct Onboard {
    /// Subdomain.
    pub slug: Slug,
    /// Display name.
    pub name: TenantName,
    /// Region.
    pub region: String,
    /// Plan.
    pub plan: String,
    /// Its first user; none = a tenant without users (the platform's own).
    pub admin: Option<FirstUser>,
    /// Who asks.
    pub actor: AuditActor,
    /// From where.
    pub source: AuditSource,
}

/// The first user of a tenant.
#[derive(Debug)]
pub struct FirstUser {
    /// Address.
    pub email: EmailAddress,
    /// Display name.
    pub name: Option<String>,
    /// argon2id hash in PHC form.
    pub password_hash: String,
    /// Whether mail to the address was shown to be read.
    pub is_verified: bool,
    /// Role: `owner`, or `operator` in the platform's own tenant.
    pub role: Role,
}

/// What onboarding made.
#[derive(Debug)]
pub struct Onboarded {
    /// The tenant.
    pub tenant: TenantId,
    /// Its first user.
    pub admin: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Makes a tenant.
///
/// # Errors
/// [`OnboardingError`]; nothing was made then, unless the connection was lost while committing.
pub async fn onboard(
    settings: &Settings,
    db: &Db,
    master: &Arc<MasterKey>,
    wish: Onboard,
) -> Result<Onboarded, OnboardingError> {
    let Onboard { slug, name, region, plan, admin, actor, source } = wish;
    let tenant: TenantId = clock::new_id();
    let keys = make_tenant_keys(master, tenant, settings.auth.signing_algorithm.into())?;
    let mut tx = TenantTx::begin(db, tenant).await?;
    let new = NewTenant { slug: &slug, name: &name, region: &region, plan: &plan };
    let created_at = tenants::insert(&mut tx, &new).await?;
    subscriptions::begin(&mut tx, settings, &plan, created_at).await?;
    data_keys::insert(&mut tx, keys.data_key_version, &keys.wrapped_data_key, master.fingerprint()).await?;
    let signing_key = NewSigningKey {
        kid: &keys.signing.kid,
        algorithm: keys.signing.algorithm,
        public_jwk: &keys.signing.public_jwk,
        private_key_enc: &keys.signing.private_key_enc,
    };
    signing_keys::insert_active(&mut tx, &signing_key).await?;
    let admin = match admin {
        None => None,
        Some(user) => {
            let id = insert_user(&mut tx, &user).await?;
            if !user.is_verified {
                accounts::send_verification(&mut tx, settings, id, user.email.as_str()).await?;
            }
            Some(id)
        }
    };
    let event = AuditEvent {
        actor,
        action: "tenant.onboard",
        target_kind: "tenant",
        target_id: Some(tenant.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({ "subdomain": slug, "region": region, "plan": plan, "admin_id": admin }),
    };
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(Onboarded { tenant, admin, created_at })
}

/// Inserts a user with a password.
///
/// # Errors
/// [`DbError`].
pub async fn insert_user(tx: &mut TenantTx, user: &FirstUser) -> Result<UserId, DbError> {
    let FirstUser { email, name, password_hash, role, is_verified } = user;
    let id: UserId = clock::new_id();
    let new = NewUser {
        id,
        email,
        name: name.as_deref(),
        role: *role,
        password_hash: Some(password_hash),
        is_verified: *is_verified,
    };
    users::insert(tx, &new).await?;
    Ok(id)
}
