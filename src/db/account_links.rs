//! Links that were mailed to users: `auth.account_links`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::UserId;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPurpose {
    /// To set a new password.
    PasswordReset,
    /// To prove an address.
    EmailVerification,
}

impl LinkPurpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailVerification => "email_verification",
        }
    }
}

/// A link to be.
#[derive(Debug)]
pub struct NewLink<'a> {
    /// Id of the row that the token stands for.
    pub id: Uuid,
    /// Whose.
    pub user: UserId,
    /// What for.
    pub purpose: LinkPurpose,
    /// Where it is sent.
    pub email: &'a str,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A link that works.
#[derive(Debug, Clone)]
pub struct Link {
    /// Whose.
    pub user_id: Uuid,
    /// Where it was sent.
    pub email: String,
}

/// Inserts a link.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewLink<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.account_links (tenant_id, id, user_id, purpose, email, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        new.id,
        new.user.uuid(),
        new.purpose.as_str(),
        new.email,
        new.expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The link, if it works.
///
/// # Errors
/// [`DbError`].
pub async fn find_open(tx: &mut TenantTx, purpose: LinkPurpose, id: Uuid) -> Result<Option<Link>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Link,
        "SELECT user_id, email FROM auth.account_links
         WHERE tenant_id = $1 AND id = $2 AND purpose = $3 AND used_at IS NULL AND expires_at > clock_timestamp()",
        tenant,
        id,
        purpose.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Uses a link up; of any number of callers one gets it.
///
/// # Errors
/// [`DbError`].
pub async fn spend(tx: &mut TenantTx, purpose: LinkPurpose, id: Uuid) -> Result<Option<Link>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Link,
        "UPDATE auth.account_links SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND purpose = $3 AND used_at IS NULL AND expires_at > clock_timestamp()
         RETURNING user_id, email",
        tenant,
        id,
        purpose.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Makes the user's links of a purpose worthless.
///
/// # Errors
/// [`DbError`].
pub async fn spend_all(tx: &mut TenantTx, user: UserId, purpose: LinkPurpose) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.account_links SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3 AND used_at IS NULL",
        tenant,
        user.uuid(),
        purpose.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Makes all of the user's links worthless: whoever had a hand in the account may have asked for any of them.
///
/// # Errors
/// [`DbError`].
pub async fn spend_of_every_purpose(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    spend_all(tx, user, LinkPurpose::PasswordReset).await?;
    spend_all(tx, user, LinkPurpose::EmailVerification).await
}

/// How many links of a purpose the user was sent within the last hour. Those of over a month ago are forgotten on the way.
///
/// # Errors
/// [`DbError`].
pub async fn count_last_hour(tx: &mut TenantTx, user: UserId, purpose: LinkPurpose) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.account_links WHERE tenant_id = $1 AND user_id = $2 AND created_at < clock_timestamp() - interval '30 days'",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM auth.account_links
           WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3 AND created_at > clock_timestamp() - interval '1 hour'"#,
        tenant,
        user.uuid(),
        purpose.as_str()
    )
    .fetch_one(tx.connection()?)
    .await?)
}
