//! Groups, their members, and the roles that follow.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::Ended;
use super::{Desk, Found, IfMatch, ScimFailure, transact};
use crate::clock;
use crate::db::scim_members::{self, Candidate, GroupChange, LockedGroup};
use crate::db::{TenantTx, audit, scim_groups};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{ScimGroupId, UserId};
use crate::domain::scim::error::ScimType;
use crate::domain::scim::group::{self, MemberChanges, MemberDelta, ScimGroup, Wish};
use crate::domain::scim::role::{GroupRole, Held, of_groups};
use crate::domain::scim::{MAX_GROUPS, MAX_MEMBERS, ResourceKind, ScimError, input, patch};

/// Most members that one row of the audit log names.
const MEMBERS_IN_ROW: usize = 500;

impl Desk {
    pub(super) fn group_found(&self, group: &ScimGroup, is_new: bool) -> Found {
        Found {
            kind: ResourceKind::Group,
            resource: group.resource(&self.base),
            location: group.location(&self.base),
            version: group.version,
            is_new,
        }
    }
}

/// Makes a group.
///
/// # Errors
/// `invalidValue` or `uniqueness`.
pub async fn create_group(desk: &Desk, body: &Value) -> Result<Found, ScimFailure> {
    let mut tree = input::resource(ResourceKind::Group, body)?;
    let changes = MemberChanges::of_resource(&mut tree)?;
    let wish = Wish::read(tree)?;
    let id: ScimGroupId = clock::new_id();
    transact(desk, async |tx| {
        if !scim_groups::insert(tx, id, &wish).await? {
            return Err(ScimError::bad(ScimType::TooMany, format!("there are {MAX_GROUPS} groups")).into());
        }
        let locked = scim_members::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        write(tx, desk, &locked, Write { wish: &wish, changes: &changes, role: None, action: "scim.group.create" })
            .await?;
        let made = scim_groups::find(tx, id, true).await?.ok_or_else(ScimError::not_found)?;
        Ok((desk.group_found(&made, true), Ended::default()))
    })
    .await
}

/// Puts what a provider says of a group in the place of what it said before. The role that it gives is not the provider's to say.
///
/// # Errors
/// 404, 412, `invalidValue` or `uniqueness`.
pub async fn replace_group(
    desk: &Desk,
    id: ScimGroupId,
    if_match: &IfMatch,
    body: &Value,
) -> Result<Found, ScimFailure> {
    let mut tree = input::resource(ResourceKind::Group, body)?;
    let changes = MemberChanges::of_resource(&mut tree)?;
    let wish = Wish::read(tree)?;
    transact(desk, async |tx| {
        let locked = scim_members::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        if_match.check(locked.group.version)?;
        let role = locked.role;
        let ended =
            write(tx, desk, &locked, Write { wish: &wish, changes: &changes, role, action: "scim.group.update" })
                .await?;
        let after = scim_groups::find(tx, id, true).await?.ok_or_else(ScimError::not_found)?;
        Ok((desk.group_found(&after, false), ended))
    })
    .await
}

/// Applies the operations of a PATCH: all, or none. Returns the group's new version; the group itself may be large, and is not read.
///
/// # Errors
/// As [`replace_group`], and what is wrong with an operation.
pub async fn patch_group(desk: &Desk, id: ScimGroupId, if_match: &IfMatch, body: &Value) -> Result<i64, ScimFailure> {
    let operations = patch::parse(ResourceKind::Group, body)?;
    transact(desk, async |tx| {
        let locked = scim_members::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        if_match.check(locked.group.version)?;
        let mut tree = locked.group.settable();
        let changes = group::apply(&mut tree, operations)?;
        let wish = Wish::read(tree)?;
        let role = locked.role;
        let (ended, version) = write_versioned(
            tx,
            desk,
            &locked,
            Write { wish: &wish, changes: &changes, role, action: "scim.group.update" },
        )
        .await?;
        Ok((version, ended))
    })
    .await
}

/// Deletes a group: its members lose the role that it gave.
///
/// # Errors
/// 404 or 412.
pub async fn delete_group(desk: &Desk, id: ScimGroupId, if_match: &IfMatch) -> Result<(), ScimFailure> {
    transact(desk, async |tx| {
        let locked = scim_members::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        if_match.check(locked.group.version)?;
        let wish =
            Wish { display_name: locked.group.display_name.clone(), external_id: locked.group.external_id.clone() };
        let changes = MemberChanges::nobody();
        let write_all = Write { wish: &wish, changes: &changes, role: locked.role, action: "scim.group.delete" };
        let ended = write(tx, desk, &locked, write_all).await?;
        scim_groups::delete(tx, id).await?;
        Ok(((), ended))
    })
    .await
}

/// Has an admin say which role a group gives; none = no role.
///
/// # Errors
/// 404.
pub async fn map_role(desk: &Desk, id: ScimGroupId, role: Option<GroupRole>) -> Result<LockedGroup, ScimFailure> {
    transact(desk, async |tx| {
        let locked = scim_members::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        let wish =
            Wish { display_name: locked.group.display_name.clone(), external_id: locked.group.external_id.clone() };
        let changes = MemberChanges::default();
        let ended =
            write(tx, desk, &locked, Write { wish: &wish, changes: &changes, role, action: "scim.group.map" }).await?;
        Ok((LockedGroup { role, ..locked }, ended))
    })
    .await
}

/// What is to be written of a group.
struct Write<'a> {
    wish: &'a Wish,
    changes: &'a MemberChanges,
    role: Option<GroupRole>,
    action: &'static str,
}

async fn write(tx: &mut TenantTx, desk: &Desk, locked: &LockedGroup, write: Write<'_>) -> Result<Ended, ScimFailure> {
    Ok(write_versioned(tx, desk, locked, write).await?.0)
}

async fn write_versioned(
    tx: &mut TenantTx,
    desk: &Desk,
    locked: &LockedGroup,
    write: Write<'_>,
) -> Result<(Ended, i64), ScimFailure> {
    let Write { wish, changes, role, action } = write;
    let id = locked.group.id;
    let is_mapped_anew = role != locked.role;
    let candidates = if changes.is_empty() && !is_mapped_anew {
        Vec::new()
    } else {
        scim_members::lock_users(tx, id, &changes.named(), changes.needs_all() || is_mapped_anew).await?
    };
    check_known(&changes.wanted(), &candidates)?;
    let before: BTreeSet<UserId> = candidates.iter().filter(|user| user.is_member).map(|user| user.id).collect();
    let delta = if changes.is_empty() { MemberDelta::default() } else { changes.delta(&before) };
    let n_members = usize::try_from(locked.n_members).unwrap_or(usize::MAX) + delta.added.len();
    if n_members.saturating_sub(delta.removed.len()) > MAX_MEMBERS {
        return Err(ScimError::bad(ScimType::TooMany, format!("a group has at most {MAX_MEMBERS} members")).into());
    }
    let roles = new_roles(&candidates, &delta, role, is_mapped_anew);
    let is_same = locked.group.display_name == wish.display_name && locked.group.external_id == wish.external_id;
    if is_same && delta == MemberDelta::default() && !is_mapped_anew && action == "scim.group.update" {
        return Ok((Ended::default(), locked.group.version));
    }
    let held: Vec<(UserId, Held)> = roles.iter().map(|(user, held)| (user.id, *held)).collect();
    let moved: Vec<UserId> =
        roles.iter().filter(|(user, held)| held.role != user.held.role).map(|(user, _)| user.id).collect();
    let change = GroupChange { wish, role, delta: &delta, held: &held, moved: &moved };
    let (version, _changed_at) = scim_members::write(tx, id, &change).await?;
    let ended = if moved.is_empty() {
        Ended::default()
    } else {
        Ended::sessions(desk.context.sessions.revoke_of_users(tx, &moved, "role_of_groups").await?)
    };
    let mut events: Vec<AuditEvent> = in_parts(&delta)
        .into_iter()
        .map(|(added, removed)| {
            let detail = json!({
                "display_name": wish.display_name, "external_id": wish.external_id, "role": role,
                "role_before": locked.role, "added": added, "removed": removed,
            });
            desk.changer.event(action, ("scim_group", id.to_string()), detail)
        })
        .collect();
    events.extend(roles.iter().filter(|(user, held)| held.role != user.held.role).map(|(user, held)| {
        let detail = json!({ "role": held.role, "role_before": user.held.role, "group": id });
        desk.changer.event("scim.user.role", ("user", user.id.to_string()), detail)
    }));
    audit::insert_all(tx, &events).await?;
    Ok((ended, version))
}

/// Who came and who went, in parts that a row of the audit log can hold; one part at least.
fn in_parts(delta: &MemberDelta) -> Vec<(Vec<UserId>, Vec<UserId>)> {
    let ids = |ids: &BTreeSet<UserId>| ids.iter().copied().collect::<Vec<_>>();
    let (added, removed) = (ids(&delta.added), ids(&delta.removed));
    if added.len() + removed.len() <= MEMBERS_IN_ROW {
        return vec![(added, removed)];
    }
    let came = added.chunks(MEMBERS_IN_ROW).map(|part| (part.to_vec(), Vec::new()));
    let went = removed.chunks(MEMBERS_IN_ROW).map(|part| (Vec::new(), part.to_vec()));
    came.chain(went).collect()
}

/// Whoever is to be in a group must be a user that the provider keeps.
fn check_known(wanted: &BTreeSet<UserId>, candidates: &[Candidate]) -> Result<(), ScimError> {
    let known: BTreeSet<UserId> = candidates.iter().map(|user| user.id).collect();
    match wanted.difference(&known).next() {
        None => Ok(()),
        Some(id) => Err(ScimError::bad(ScimType::InvalidValue, format!("there is no user {id}"))),
    }
}

/// Who comes or goes, or is in a group that gives another role now, and what their roles are.
fn new_roles<'a>(
    candidates: &'a [Candidate],
    delta: &MemberDelta,
    role: Option<GroupRole>,
    is_mapped_anew: bool,
) -> Vec<(&'a Candidate, Held)> {
    let is_touched = |user: &&Candidate| {
        delta.added.contains(&user.id) || delta.removed.contains(&user.id) || (is_mapped_anew && user.is_member)
    };
    let held = |user: &'a Candidate| {
        let is_member = delta.added.contains(&user.id) || (user.is_member && !delta.removed.contains(&user.id));
        let own = role.filter(|_| is_member);
        (user, of_groups(user.held, user.other_roles.iter().copied().chain(own)))
    };
    candidates.iter().filter(is_touched).map(held).collect()
}
