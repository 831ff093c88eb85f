//! Making, changing and deleting users for a provider.

use serde_json::{Value, json};

use super::access::{self, Ended};
use super::{Desk, Found, IfMatch, ScimFailure, transact};
use crate::actors::auth::break_glass;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::users::{self, NewUser, User};
use crate::db::{TenantTx, account_links, audit, scim_groups, scim_users, standing, user_admin, user_removal};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::UserId;
use crate::domain::scim::error::ScimType;
use crate::domain::scim::user::{ScimUser, Wish};
use crate::domain::scim::{ResourceKind, ScimError, fold, input, patch};
use crate::domain::user_admin::check_touch;

fn guarded(view: &TenantView) -> Role {
    break_glass::role_of(view)
}

fn target(id: UserId) -> (&'static str, String) {
    ("user", id.to_string())
}

impl Desk {
    /// An admin's token leaves owners alone, as admins do.
    fn check_touch(&self, theirs: Role) -> Result<(), ScimError> {
        check_touch(self.changer.rank, theirs).map_err(|_rank: crate::domain::user_admin::UserAdminError| {
            ScimError::guarded("owners are changed only with a token that an owner made")
        })
    }

    pub(super) fn user_found(&self, user: &ScimUser, is_new: bool) -> Found {
        Found {
            kind: ResourceKind::User,
            resource: user.resource(&self.base),
            location: user.location(&self.base),
            version: user.version,
            is_new,
        }
    }
}

/// Makes a user, or takes over one who has the address and whom no provider keeps yet.
///
/// # Errors
/// `invalidValue`, `uniqueness`, or 403 for an owner whom the token may not touch.
pub async fn create_user(desk: &Desk, body: &Value) -> Result<Found, ScimFailure> {
    let wish = Wish::read(input::resource(ResourceKind::User, body)?)?;
    let email = wish.email.as_ref().ok_or_else(|| {
        ScimError::bad(ScimType::InvalidValue, "an e-mail address is needed: in emails, or as the userName")
    })?;
    transact(desk, async |tx| {
        let able = user_admin::lock_able(tx, guarded(&desk.tenant.view())).await?;
        let (id, action) = match users::find_by_email(tx, email).await? {
            None => (insert(tx, &wish, email).await?, "scim.user.create"),
            Some(user) => {
                let user = user_admin::lock(tx, user.id).await?.ok_or_else(ScimError::not_found)?;
                if scim_users::find(tx, user.id).await?.is_some() {
                    return Err(ScimError::taken("another user has this e-mail address").into());
                }
                desk.check_touch(user.role)?;
                (user.id, "scim.user.adopt")
            }
        };
        scim_users::insert(tx, id, &wish).await?;
        scim_users::set_identity(tx, id, None, wish.name.as_deref()).await?;
        let user = users::find(tx, id).await?.ok_or_else(ScimError::not_found)?;
        let detail = json!({ "user_name": wish.user_name, "external_id": wish.external_id, "active": wish.is_active });
        audit::insert(tx, &desk.changer.event(action, target(id), detail)).await?;
        let names = names_of(&user, &[&wish]);
        let ended = if wish.is_active {
            standing::forget_departure(tx, &names).await?;
            Ended::default()
        } else {
            standing::record_departure(tx, &names).await?;
            switch_off(tx, desk, &user, &able).await?
        };
        let made = scim_users::find(tx, id).await?.ok_or_else(ScimError::not_found)?;
        Ok((desk.user_found(&made, true), ended))
    })
    .await
}

async fn insert(tx: &mut TenantTx, wish: &Wish, email: &EmailAddress) -> Result<UserId, ScimFailure> {
    let id: UserId = clock::new_id();
    let name = wish.name.as_deref();
    // Nobody has a password for it, and nobody has shown to read the address's mail: the user signs in through the provider, or
    // asks for a password by mail.
    let new = NewUser { id, email, name, role: Role::Member, password_hash: None, is_verified: false };
    users::insert(tx, &new).await?;
    Ok(id)
}

/// Puts what a provider says of a user in the place of what it said before.
///
/// # Errors
/// 404, 412, `invalidValue`, `uniqueness` or `mutability`.
pub async fn replace_user(desk: &Desk, id: UserId, if_match: &IfMatch, body: &Value) -> Result<Found, ScimFailure> {
    let wish = Wish::read(input::resource(ResourceKind::User, body)?)?;
    change(desk, id, if_match, |_before| Ok(wish)).await
}

/// Applies the operations of a PATCH: all, or none.
///
/// # Errors
/// As [`replace_user`], and what is wrong with an operation.
pub async fn patch_user(desk: &Desk, id: UserId, if_match: &IfMatch, body: &Value) -> Result<Found, ScimFailure> {
    let operations = patch::parse(ResourceKind::User, body)?;
    change(desk, id, if_match, |before| {
        let mut tree = before.settable();
        for operation in operations {
            patch::apply(ResourceKind::User, &mut tree, operation)?;
        }
        // Taken away, it says nothing: that switches nobody on.
        tree.entry("active").or_insert_with(|| json!(before.is_wanted_active));
        Wish::read(tree)
    })
    .await
}

async fn change(
    desk: &Desk,
    id: UserId,
    if_match: &IfMatch,
    wish: impl FnOnce(&ScimUser) -> Result<Wish, ScimError>,
) -> Result<Found, ScimFailure> {
    transact(desk, async |tx| {
        let able = user_admin::lock_able(tx, guarded(&desk.tenant.view())).await?;
        let user = user_admin::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        let before = scim_users::find(tx, id).await?.ok_or_else(ScimError::not_found)?;
        if_match.check(before.version)?;
        let (was, wish) = (Wish::read(before.settable())?, wish(&before)?);
        let names = names_of(&user, &[&was, &wish]);
        if !wish.is_active {
            // Also if nothing changes: the address that somebody signs in with may have become another since they were switched off.
            standing::record_departure(tx, &names).await?;
        }
        if wish == was {
            return Ok((desk.user_found(&before, false), Ended::default()));
        }
        desk.check_touch(user.role)?;
        set_identity(tx, desk, &user, &was, &wish).await?;
        scim_users::update(tx, id, &wish).await?;
        let detail =
            json!({ "user_name": wish.user_name, "external_id": wish.external_id, "changed": changed(&was, &wish) });
        audit::insert(tx, &desk.changer.event("scim.user.update", target(id), detail)).await?;
        let ended = match (was.is_active, wish.is_active) {
            (true, false) => switch_off(tx, desk, &user, &able).await?,
            (false, true) => {
                scim_users::reactivate(tx, id).await?;
                standing::forget_departure(tx, &names).await?;
                audit::insert(tx, &desk.changer.event("scim.user.activate", target(id), json!({}))).await?;
                Ended::default()
            }
            (true, true) | (false, false) => Ended::default(),
        };
        let after = scim_users::find(tx, id).await?.ok_or_else(ScimError::not_found)?;
        Ok((desk.user_found(&after, false), ended))
    })
    .await
}

/// Every name by which somebody is, or was a moment ago, known: the address that they sign in with, which they may have changed
/// themselves, and what the provider calls them. Any of them may be what single sign-on says they are.
fn names_of(user: &User, wishes: &[&Wish]) -> Vec<String> {
    let of_wish = |wish: &&Wish| {
        let email = wish.email.as_ref().map(|email| email.norm().to_owned());
        [Some(fold(&wish.user_name)), email]
    };
    let mut names: Vec<String> = wishes.iter().flat_map(of_wish).flatten().collect();
    names.push(fold(&user.email));
    names
}

/// Names of the attributes that differ, for the audit log: not their values, which are personal.
fn changed(was: &Wish, wish: &Wish) -> Vec<String> {
    let mut names: Vec<String> = was
        .attributes
        .keys()
        .chain(wish.attributes.keys())
        .filter(|name| was.attributes.get(*name) != wish.attributes.get(*name))
        .cloned()
        .collect();
    let fixed = [
        ("userName", was.user_name != wish.user_name),
        ("externalId", was.external_id != wish.external_id),
        ("active", was.is_active != wish.is_active),
    ];
    names.extend(fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()));
    names.sort_unstable();
    names.dedup();
    names
}

/// Has address and name follow, where the provider changes what it says of them. What a user has changed of their own stays until then.
async fn set_identity(tx: &mut TenantTx, desk: &Desk, user: &User, was: &Wish, wish: &Wish) -> Result<(), ScimFailure> {
    let norm = |email: &Option<EmailAddress>| email.as_ref().map(|email| email.norm().to_owned());
    let email = wish.email.as_ref().filter(|email| norm(&was.email).as_deref() != Some(email.norm()));
    let email = email.filter(|email| fold(&user.email) != email.norm());
    if email.is_some() && user.role == guarded(&desk.tenant.view()) {
        // Whoever has the address can ask for a new password: no list of a provider's moves an owner's.
        return Err(ScimError::guarded("an owner's e-mail address is changed by the owner alone").into());
    }
    let name = wish.name.as_deref().filter(|_| was.name != wish.name);
    if email.is_none() && name.is_none() {
        return Ok(());
    }
    scim_users::set_identity(tx, user.id, email, name).await?;
    if email.is_some() {
        // Links that were sent to the old address die with it.
        account_links::spend_of_every_purpose(tx, user.id).await?;
    }
    Ok(())
}

/// The owner who gets in when the provider is away is not the provider's to remove.
async fn check_break_glass(tx: &mut TenantTx, desk: &Desk, id: UserId) -> Result<(), ScimFailure> {
    if break_glass::is_last(tx, guarded(&desk.tenant.view()), id).await? {
        let why =
            "everybody else signs in by the provider alone: give another owner a password and a second factor first";
        return Err(ScimError::guarded(why).into());
    }
    Ok(())
}

/// Switches a user off, who is locked. There is always an owner who can sign in.
async fn switch_off(tx: &mut TenantTx, desk: &Desk, user: &User, able: &[UserId]) -> Result<Ended, ScimFailure> {
    if able == [user.id] {
        return Err(ScimError::guarded("the last owner stays: make somebody else an owner first").into());
    }
    check_break_glass(tx, desk, user.id).await?;
    // Before the address is out of reach of the invitations that were sent to it.
    let ended = access::end(tx, desk, user.id, "scim_deactivated").await?;
    scim_users::deactivate(tx, user.id, user.is_suspended).await?;
    audit::insert(tx, &desk.changer.event("scim.user.deactivate", target(user.id), ended.detail())).await?;
    Ok(ended)
}

/// Deletes a user: ends their access and empties their row. Nobody is made anew under their address by signing in, until the provider
/// brings them back.
///
/// # Errors
/// 404, 412 or `mutability`.
pub async fn delete_user(desk: &Desk, id: UserId, if_match: &IfMatch) -> Result<(), ScimFailure> {
    transact(desk, async |tx| {
        // Groups are locked before users, everywhere.
        scim_groups::touch_of_user(tx, id).await?;
        let able = user_admin::lock_able(tx, guarded(&desk.tenant.view())).await?;
        let user = user_admin::lock(tx, id).await?.ok_or_else(ScimError::not_found)?;
        let before = scim_users::find(tx, id).await?.ok_or_else(ScimError::not_found)?;
        if_match.check(before.version)?;
        desk.check_touch(user.role)?;
        if able == [id] {
            return Err(ScimError::guarded("the last owner stays: make somebody else an owner first").into());
        }
        check_break_glass(tx, desk, id).await?;
        let ended = access::end(tx, desk, id, "scim_deleted").await?;
        standing::record_departure(tx, &names_of(&user, &[&Wish::read(before.settable())?])).await?;
        user_removal::delete(tx, id).await?;
        audit::insert(tx, &desk.changer.event("scim.user.delete", target(id), ended.detail())).await?;
        Ok(((), ended))
    })
    .await
}
