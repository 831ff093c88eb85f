//! Users that a tenant's identity provider keeps: `auth.scim_users`, beside `auth.users`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::identity::EmailAddress;
use crate::domain::ids::UserId;
use crate::domain::scim::fold;
use crate::domain::scim::user::{ScimUser, Wish};

/// What the database can tell of a question; the rest is asked of each user that it finds.
#[derive(Debug, Clone, Default)]
pub struct Narrow {
    /// Only users with these ids.
    pub ids: Option<Vec<Uuid>>,
    /// Only the user with this name, as it is compared.
    pub user_name: Option<String>,
    /// Only users whom the provider calls so.
    pub external_id: Option<String>,
    /// Only users in whose attributes this text is, in lower case.
    pub needle: Option<String>,
}

struct UserRow {
    user_id: Uuid,
    user_name: String,
    external_id: Option<String>,
    attributes: Value,
    is_active: bool,
    is_wanted_active: bool,
    groups: Value,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<UserRow> for ScimUser {
    type Error = DbError;

    fn try_from(row: UserRow) -> Result<Self, DbError> {
        let UserRow { user_id, user_name, external_id, attributes, is_active, is_wanted_active, groups, .. } = row;
        let Value::Object(attributes) = attributes else { return Err(DbError::Corrupt("scim_users.attributes")) };
        let groups: Vec<(Uuid, String)> = serde_json::from_value(groups)
            .map_err(|_shape: serde_json::Error| DbError::Corrupt("names of a user's groups"))?;
        Ok(Self {
            id: user_id.into(),
            user_name,
            external_id,
            attributes,
            is_active,
            is_wanted_active,
            groups: groups.into_iter().map(|(id, name)| (id.into(), name)).collect(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The user with this id, if the provider keeps them.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: UserId) -> Result<Option<ScimUser>, DbError> {
    let narrow = Narrow { ids: Some(vec![id.uuid()]), ..Narrow::default() };
    Ok(list(tx, &narrow, Uuid::nil(), 0, 1).await?.pop())
}

/// Up to `n` users behind an id, in the order of their ids, without the first `skip` of them.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    tx: &mut TenantTx,
    narrow: &Narrow,
    after: Uuid,
    skip: i64,
    n: i64,
) -> Result<Vec<ScimUser>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        UserRow,
        r#"SELECT s.user_id, s.user_name, s.external_id, s.attributes, u.state = 'active' AS "is_active!",
                  u.scim_deactivated_at IS NULL AS "is_wanted_active!", s.version, s.created_at, s.updated_at,
                  coalesce((SELECT jsonb_agg(jsonb_build_array(g.id, g.display_name) ORDER BY g.id)
                            FROM auth.scim_group_members m
                            JOIN auth.scim_groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
                            WHERE m.tenant_id = $1 AND m.user_id = s.user_id), '[]') AS "groups!"
           FROM auth.scim_users s JOIN auth.users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
           WHERE s.tenant_id = $1 AND u.state <> 'deleted' AND s.user_id > $2
                 AND ($3::uuid[] IS NULL OR s.user_id = ANY($3)) AND ($4::text IS NULL OR s.user_name_norm = $4)
                 AND ($5::text IS NULL OR s.external_id = $5)
                 AND ($6::text IS NULL OR strpos(lower(s.attributes::text), $6) > 0)
           ORDER BY s.user_id OFFSET $7 LIMIT $8"#,
        tenant,
        after,
        narrow.ids.as_deref(),
        narrow.user_name,
        narrow.external_id,
        narrow.needle,
        skip,
        n
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(ScimUser::try_from)
    .collect()
}

/// How many users the provider keeps.
///
/// # Errors
/// [`DbError`].
pub async fn count(tx: &mut TenantTx) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    let n = sqlx::query_scalar!("SELECT count(*) FROM auth.scim_users WHERE tenant_id = $1", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    Ok(n.unwrap_or(0))
}

/// Has the provider keep a user from now on. A taken name violates `scim_users_user_name_key`, and a user that it keeps already
/// `scim_users_pkey`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, id: UserId, wish: &Wish) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.scim_users (tenant_id, user_id, user_name, user_name_norm, external_id, attributes)
         VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        id.uuid(),
        wish.user_name,
        fold(&wish.user_name),
        wish.external_id,
        Value::Object(wish.attributes.clone())
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes what the provider says of a user. A taken name violates `scim_users_user_name_key`.
///
/// # Errors
/// [`DbError`].
pub async fn update(tx: &mut TenantTx, id: UserId, wish: &Wish) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.scim_users SET user_name = $3, user_name_norm = $4, external_id = $5, attributes = $6,
                version = version + 1, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND user_id = $2",
        tenant,
        id.uuid(),
        wish.user_name,
        fold(&wish.user_name),
        wish.external_id,
        Value::Object(wish.attributes.clone())
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Sets the address that a user signs in with, which nobody has shown to be theirs, and the name that is shown; `None` stays. A taken
/// address violates `users_email_key`.
///
/// # Errors
/// [`DbError`].
pub async fn set_identity(
    tx: &mut TenantTx,
    id: UserId,
    email: Option<&EmailAddress>,
    name: Option<&str>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.users SET email = coalesce($3, email), email_norm = coalesce($4, email_norm),
                email_verified_at = CASE WHEN $4 IS NULL OR $4 = email_norm THEN email_verified_at END,
                name = coalesce($5, name), updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        tenant,
        id.uuid(),
        email.map(EmailAddress::as_str),
        email.map(EmailAddress::norm),
        name
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Switches a user off, with the mark that nobody but SCIM takes away. Whether an admin had done so before is kept.
///
/// # Errors
/// [`DbError`].
pub async fn deactivate(tx: &mut TenantTx, id: UserId, was_suspended: bool) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.users SET state = 'suspended', scim_deactivated_at = clock_timestamp(), updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "UPDATE auth.scim_users SET was_suspended = $3, version = version + 1, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND user_id = $2",
        tenant,
        id.uuid(),
        was_suspended
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Takes the mark away. Whom an admin had suspended before stays suspended.
///
/// # Errors
/// [`DbError`].
pub async fn reactivate(tx: &mut TenantTx, id: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.users u SET state = CASE WHEN s.was_suspended THEN 'suspended' ELSE 'active' END,
                scim_deactivated_at = NULL, updated_at = clock_timestamp()
         FROM auth.scim_users s
         WHERE u.tenant_id = $1 AND u.id = $2 AND u.state <> 'deleted' AND s.tenant_id = $1 AND s.user_id = $2",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
