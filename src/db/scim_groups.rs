//! Groups that a tenant's identity provider keeps: `auth.scim_groups`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{ScimGroupId, UserId};
use crate::domain::scim::group::{ScimGroup, Wish};
use crate::domain::scim::role::GroupRole;
use crate::domain::scim::{MAX_GROUPS, MAX_MEMBERS, fold};

/// Members that are read at once: those of the largest group, and room for more.
const MAX_MEMBERS_READ: usize = 2 * MAX_MEMBERS;

/// What the database can tell of a question; the rest is asked of each group that it finds.
#[derive(Debug, Clone, Default)]
pub struct Narrow {
    /// Only groups with these ids.
    pub ids: Option<Vec<Uuid>>,
    /// Only the group with this name, as it is compared.
    pub display_name: Option<String>,
    /// Only groups that the provider calls so.
    pub external_id: Option<String>,
    /// Only groups with this member.
    pub member: Option<Uuid>,
}

struct GroupRow {
    id: Uuid,
    display_name: String,
    external_id: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<GroupRow> for ScimGroup {
    fn from(row: GroupRow) -> Self {
        let GroupRow { id, display_name, external_id, version, created_at, updated_at } = row;
        Self { id: id.into(), display_name, external_id, members: None, version, created_at, updated_at }
    }
}

/// The group with this id; its members only if they are wanted.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: ScimGroupId, with_members: bool) -> Result<Option<ScimGroup>, DbError> {
    let narrow = Narrow { ids: Some(vec![id.uuid()]), ..Narrow::default() };
    let mut found = list(tx, &narrow, Uuid::nil(), 0, 1).await?;
    if with_members {
        fill_members(tx, &mut found).await?;
    }
    Ok(found.pop())
}

/// Up to `n` groups behind an id, in the order of their ids, without the first `skip` of them, and without their members.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    tx: &mut TenantTx,
    narrow: &Narrow,
    after: Uuid,
    skip: i64,
    n: i64,
) -> Result<Vec<ScimGroup>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        GroupRow,
        r#"SELECT g.id, g.display_name, g.external_id, g.version, g.created_at, g.updated_at
           FROM auth.scim_groups g
           WHERE g.tenant_id = $1 AND g.id > $2 AND ($3::uuid[] IS NULL OR g.id = ANY($3))
                 AND ($4::text IS NULL OR g.display_name_norm = $4) AND ($5::text IS NULL OR g.external_id = $5)
                 AND ($6::uuid IS NULL OR EXISTS (SELECT FROM auth.scim_group_members m
                                                  WHERE m.tenant_id = $1 AND m.group_id = g.id AND m.user_id = $6))
           ORDER BY g.id OFFSET $7 LIMIT $8"#,
        tenant,
        after,
        narrow.ids.as_deref(),
        narrow.display_name,
        narrow.external_id,
        narrow.member,
        skip,
        n
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(ScimGroup::from).collect())
}

/// Fills in the members of groups. Those whose members would be too many for one answer are left
/// out, from the end; the first one never is.
///
/// # Errors
/// [`DbError`].
pub async fn fill_members(tx: &mut TenantTx, groups: &mut Vec<ScimGroup>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = groups.iter().map(|group| group.id.uuid()).collect();
    let rows = sqlx::query!(
        "SELECT group_id, user_id FROM auth.scim_group_members WHERE tenant_id = $1 AND group_id = ANY($2)
         ORDER BY array_position($2, group_id), user_id LIMIT $3",
        tenant,
        &ids,
        i64::try_from(MAX_MEMBERS_READ).unwrap_or(i64::MAX)
    )
    .fetch_all(tx.connection()?)
    .await?;
    if rows.len() == MAX_MEMBERS_READ
        && let Some(last) = rows.last()
    {
        // The last one's members may go on.
        let cut = groups.iter().position(|group| group.id.uuid() == last.group_id).unwrap_or(0);
        groups.truncate(cut.max(1));
    }
    let mut members: BTreeMap<Uuid, Vec<UserId>> = BTreeMap::new();
    for row in rows {
        members.entry(row.group_id).or_default().push(row.user_id.into());
    }
    for group in groups {
        group.members = Some(members.remove(&group.id.uuid()).unwrap_or_default());
    }
    Ok(())
}

/// How many groups there are.
///
/// # Errors
/// [`DbError`].
pub async fn count(tx: &mut TenantTx) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    let n = sqlx::query_scalar!("SELECT count(*) FROM auth.scim_groups WHERE tenant_id = $1", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    Ok(n.unwrap_or(0))
}

/// Adds a group; false if the tenant has as many as it may. A taken name violates `scim_groups_display_name_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, id: ScimGroupId, wish: &Wish) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "INSERT INTO auth.scim_groups (tenant_id, id, display_name, display_name_norm, external_id)
         SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM auth.scim_groups WHERE tenant_id = $1) < $6",
        tenant,
        id.uuid(),
        wish.display_name,
        fold(&wish.display_name),
        wish.external_id,
        MAX_GROUPS
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Deletes a group and its memberships.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, id: ScimGroupId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.scim_groups WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Counts a new version of every group that a user is in, because they are leaving it. Locks the groups: to be called before the user
/// is locked, as everywhere.
///
/// # Errors
/// [`DbError`].
pub async fn touch_of_user(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.scim_groups SET version = version + 1, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id IN (
             SELECT g.id FROM auth.scim_groups g
             WHERE g.tenant_id = $1 AND EXISTS (SELECT FROM auth.scim_group_members m
                                                WHERE m.tenant_id = $1 AND m.group_id = g.id AND m.user_id = $2)
             ORDER BY g.id FOR UPDATE)",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// A group as a tenant's admins see it.
#[derive(Debug, Clone)]
pub struct MappedGroup {
    /// Id.
    pub id: ScimGroupId,
    /// Name.
    pub display_name: String,
    /// Role of its members.
    pub role: Option<GroupRole>,
    /// Members.
    pub n_members: i64,
}

/// Up to `n` groups behind an id, with the roles that they give.
///
/// # Errors
/// [`DbError`].
pub async fn list_mapped(tx: &mut TenantTx, after: ScimGroupId, n: i64) -> Result<Vec<MappedGroup>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT g.id, g.display_name, g.role,
                  (SELECT count(*) FROM auth.scim_group_members m WHERE m.tenant_id = $1 AND m.group_id = g.id) AS "n!"
           FROM auth.scim_groups g WHERE g.tenant_id = $1 AND g.id > $2 ORDER BY g.id LIMIT $3"#,
        tenant,
        after.uuid(),
        n
    )
    .fetch_all(tx.connection()?)
    .await?;
    let mapped = rows.into_iter().map(|row| MappedGroup {
        id: row.id.into(),
        display_name: row.display_name,
        role: row.role.as_deref().and_then(GroupRole::parse),
        n_members: row.n,
    });
    Ok(mapped.collect())
}
