//! Who may change whom: owners everybody, admins everybody but owners; operators are of the platform's own tenant alone.

use super::identity::Role;

/// Why an admin may not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserAdminError {
    /// Only an owner may.
    #[error("only an owner may do this")]
    OwnersOnly,
    /// The role is for the platform's own tenant.
    #[error("this role is for the platform's own tenant")]
    PlatformOnly,
}

/// Whether somebody of this role may do anything with a user of that role.
///
/// # Errors
/// [`UserAdminError::OwnersOnly`].
pub fn check_touch(own: Role, theirs: Role) -> Result<(), UserAdminError> {
    match (own, theirs) {
        (Role::Owner | Role::Operator, _) | (Role::Admin, Role::Admin | Role::Member | Role::Billing) => Ok(()),
        (Role::Admin | Role::Member | Role::Billing, _) => Err(UserAdminError::OwnersOnly),
    }
}

/// Whether somebody of this role may give that role to a user.
///
/// # Errors
/// [`UserAdminError`].
pub fn check_grant(own: Role, wanted: Role, in_platform: bool) -> Result<(), UserAdminError> {
    if wanted == Role::Operator && !in_platform {
        return Err(UserAdminError::PlatformOnly);
    }
    check_touch(own, wanted)
}

/// Whether giving this role asks for a second factor.
#[must_use]
pub fn is_powerful(role: Role) -> bool {
    match role {
        Role::Owner | Role::Admin | Role::Operator => true,
        Role::Member | Role::Billing => false,
    }
}

/// The role of which there must always be somebody who can sign in.
#[must_use]
pub fn guarded_role(in_platform: bool) -> Role {
    if in_platform { Role::Operator } else { Role::Owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_leave_owners_alone_and_make_none() {
        for theirs in Role::ALL {
            assert_eq!(check_touch(Role::Owner, theirs), Ok(()));
            let expected =
                if matches!(theirs, Role::Owner | Role::Operator) { Err(UserAdminError::OwnersOnly) } else { Ok(()) };
            assert_eq!(check_touch(Role::Admin, theirs), expected, "{theirs:?}");
            assert_eq!(check_touch(Role::Member, theirs), Err(UserAdminError::OwnersOnly));
        }
    }

    #[test]
    fn operators_are_made_in_the_platforms_tenant_only() {
        assert_eq!(check_grant(Role::Owner, Role::Operator, false), Err(UserAdminError::PlatformOnly));
        assert_eq!(check_grant(Role::Operator, Role::Operator, true), Ok(()));
        assert_eq!(check_grant(Role::Admin, Role::Operator, true), Err(UserAdminError::OwnersOnly));
        assert_eq!(check_grant(Role::Admin, Role::Admin, false), Ok(()));
        assert_eq!(check_grant(Role::Admin, Role::Owner, false), Err(UserAdminError::OwnersOnly));
    }
}
