//! Who gets in when a tenant lets everybody sign in by its provider, and the provider is away.

use crate::actors::tenant::TenantView;
use crate::db::{DbError, TenantTx, factors, tenants, user_admin};
use crate::domain::identity::Role;
use crate::domain::ids::UserId;
use crate::domain::tenant::PLATFORM_SLUG;
use crate::domain::user_admin::guarded_role;

/// The role whose holders get in, in a tenant.
pub(in crate::actors) fn role_of(view: &TenantView) -> Role {
    guarded_role(view.tenant.slug.as_str() == PLATFORM_SLUG)
}

/// Whether a user is the last who gets in: the tenant enforces its provider, and nobody else of the role has a password and a second
/// factor. Whoever has the role is locked until the commit, so that two who leave at the same moment do not both find the other one; it
/// is asked before the user themselves is locked, as everywhere.
///
/// # Errors
/// [`DbError`].
pub(in crate::actors) async fn is_last(tx: &mut TenantTx, role: Role, user: UserId) -> Result<bool, DbError> {
    user_admin::lock_able(tx, role).await?;
    let is_enforced = tenants::find(tx).await?.is_some_and(|tenant| tenant.config.sso.enforced);
    Ok(is_enforced && factors::list_able_with_factor(tx, role).await? == [user])
}
