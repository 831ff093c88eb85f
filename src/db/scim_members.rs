//! Memberships and what follows from them: `auth.scim_group_members`. Three statements whatever the number of members: lock the groups
//! that matter, look at the users, write.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::identity::Role;
use crate::domain::ids::{ScimGroupId, UserId};
use crate::domain::scim::fold;
use crate::domain::scim::group::{MemberDelta, ScimGroup, Wish};
use crate::domain::scim::role::{GroupRole, Held};

/// A group that nobody else changes until the transaction ends.
#[derive(Debug, Clone)]
pub struct LockedGroup {
    /// The group, without its members.
    pub group: ScimGroup,
    /// Role of its members.
    pub role: Option<GroupRole>,
    /// Members.
    pub n_members: i64,
}

/// Locks a group, and with it every group that gives a role, in the order of their ids: whoever changes who has a role waits for
/// whoever else does, and sees what they did.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx, id: ScimGroupId) -> Result<Option<LockedGroup>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT g.id, g.display_name, g.external_id, g.role, g.version, g.created_at, g.updated_at,
                  CASE WHEN g.id = $2 THEN (SELECT count(*) FROM auth.scim_group_members m
                                            WHERE m.tenant_id = $1 AND m.group_id = $2) END AS n_members
           FROM auth.scim_groups g WHERE g.tenant_id = $1 AND (g.id = $2 OR g.role IS NOT NULL) ORDER BY g.id FOR UPDATE"#,
        tenant,
        id.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().find(|row| row.id == id.uuid()).map(|row| LockedGroup {
        group: ScimGroup {
            id,
            display_name: row.display_name,
            external_id: row.external_id,
            members: None,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        },
        role: row.role.as_deref().and_then(GroupRole::parse),
        n_members: row.n_members.unwrap_or(0),
    }))
}

/// A user who is named, or in the group.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Id.
    pub id: UserId,
    /// Whether they are in the group.
    pub is_member: bool,
    /// Their role, and where it is from.
    pub held: Held,
    /// Roles that other groups give them.
    pub other_roles: Vec<GroupRole>,
}

/// Locks those of these users whom the provider keeps, and, if `all`, the group's members, and returns them. Owners come first, as they
/// do where users are changed (`user_admin::lock_able`).
///
/// # Errors
/// [`DbError`].
pub async fn lock_users(
    tx: &mut TenantTx,
    group: ScimGroupId,
    named: &BTreeSet<UserId>,
    all: bool,
) -> Result<Vec<Candidate>, DbError> {
    let tenant = tx.tenant().uuid();
    let named: Vec<Uuid> = named.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"SELECT u.id, u.role, s.has_group_role,
                  EXISTS (SELECT FROM auth.scim_group_members m
                          WHERE m.tenant_id = $1 AND m.group_id = $2 AND m.user_id = u.id) AS "is_member!",
                  ARRAY(SELECT g.role FROM auth.scim_group_members m
                        JOIN auth.scim_groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
                        WHERE m.tenant_id = $1 AND m.user_id = u.id AND m.group_id <> $2 AND g.role IS NOT NULL) AS "others!"
           FROM auth.users u JOIN auth.scim_users s ON s.tenant_id = u.tenant_id AND s.user_id = u.id
           WHERE u.tenant_id = $1 AND u.state <> 'deleted'
                 AND (u.id = ANY($3) OR ($4 AND u.id IN (SELECT m.user_id FROM auth.scim_group_members m
                                                         WHERE m.tenant_id = $1 AND m.group_id = $2)))
           ORDER BY u.role IN ('owner', 'operator') DESC, u.id FOR NO KEY UPDATE OF u"#,
        tenant,
        group.uuid(),
        &named,
        all
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let role = Role::parse(&row.role).ok_or(DbError::Corrupt("users.role"))?;
            Ok(Candidate {
                id: row.id.into(),
                is_member: row.is_member,
                held: Held { role, is_from_groups: row.has_group_role },
                other_roles: row.others.iter().filter_map(|role| GroupRole::parse(role)).collect(),
            })
        })
        .collect()
}

/// What is written of a group in one go.
#[derive(Debug)]
pub struct GroupChange<'a> {
    /// Name and id of the provider's.
    pub wish: &'a Wish,
    /// Role of its members.
    pub role: Option<GroupRole>,
    /// Who comes and goes.
    pub delta: &'a MemberDelta,
    /// Where the roles of those who come and go, and of others, come from now.
    pub held: &'a [(UserId, Held)],
    /// Whose role is another one now: a part of `held`.
    pub moved: &'a [UserId],
}

/// Writes a change: the group, its members, their roles, and new versions of all. Whose role is another one now leaves no open
/// invitation behind. Returns the group's version. A taken name violates `scim_groups_display_name_key`.
///
/// # Errors
/// [`DbError`].
pub async fn write(
    tx: &mut TenantTx,
    id: ScimGroupId,
    change: &GroupChange<'_>,
) -> Result<(i64, DateTime<Utc>), DbError> {
    let tenant = tx.tenant().uuid();
    let uuids = |ids: &BTreeSet<UserId>| ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>();
    let held_ids: Vec<Uuid> = change.held.iter().map(|(id, _)| id.uuid()).collect();
    let held_roles: Vec<String> = change.held.iter().map(|(_, held)| held.role.as_str().to_owned()).collect();
    let held_flags: Vec<bool> = change.held.iter().map(|(_, held)| held.is_from_groups).collect();
    let moved: Vec<Uuid> = change.moved.iter().map(|id| id.uuid()).collect();
    let row = sqlx::query!(
        r#"WITH gone AS (
               DELETE FROM auth.scim_group_members WHERE tenant_id = $1 AND group_id = $2 AND user_id = ANY($3)
           ), come AS (
               INSERT INTO auth.scim_group_members (tenant_id, group_id, user_id)
               SELECT $1, $2, id FROM unnest($4::uuid[]) AS id ON CONFLICT DO NOTHING
           ), kept AS (
               UPDATE auth.scim_users s SET has_group_role = h.is_from_groups, version = version + 1,
                      updated_at = clock_timestamp()
               FROM unnest($5::uuid[], $6::boolean[]) AS h (id, is_from_groups)
               WHERE s.tenant_id = $1 AND s.user_id = h.id
           ), moved AS (
               UPDATE auth.users u SET role = h.role, updated_at = clock_timestamp()
               FROM unnest($5::uuid[], $7::text[]) AS h (id, role)
               WHERE u.tenant_id = $1 AND u.id = h.id AND u.id = ANY($8)
           ), uninvited AS (
               UPDATE auth.invitations SET revoked_at = clock_timestamp()
               WHERE tenant_id = $1 AND invited_by = ANY($8) AND accepted_at IS NULL AND revoked_at IS NULL
           )
           UPDATE auth.scim_groups SET display_name = $9, display_name_norm = $10, external_id = $11, role = $12,
                  version = version + 1, updated_at = clock_timestamp()
           WHERE tenant_id = $1 AND id = $2 RETURNING version, updated_at"#,
        tenant,
        id.uuid(),
        &uuids(&change.delta.removed),
        &uuids(&change.delta.added),
        &held_ids,
        &held_flags,
        &held_roles,
        &moved,
        change.wish.display_name,
        fold(&change.wish.display_name),
        change.wish.external_id,
        change.role.map(|role| role.role().as_str())
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok((row.version, row.updated_at))
}
