//! Which role membership of groups gives.

use serde::{Deserialize, Serialize};

use crate::domain::identity::Role;

/// A role that a group can give. Owners are made by owners and operators by operators, one at a time: no list of a provider's makes
/// either, or takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupRole {
    /// An ordinary user.
    Member,
    /// Sees and pays the bills.
    Billing,
    /// Manages the tenant.
    Admin,
}

impl GroupRole {
    /// The role of users.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Member => Role::Member,
            Self::Billing => Role::Billing,
            Self::Admin => Role::Admin,
        }
    }

    /// Reads the word of the database.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match Role::parse(text)? {
            Role::Member => Some(Self::Member),
            Role::Billing => Some(Self::Billing),
            Role::Admin => Some(Self::Admin),
            Role::Owner | Role::Operator => None,
        }
    }
}

/// A user's role, and whether it came from groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The role.
    pub role: Role,
    /// Whether a group gave it.
    pub is_from_groups: bool,
}

/// The role of a user who is in groups that give these roles: the highest. Who is in none any more is a member again, if a group had
/// given the role; a role that an admin gave by hand stays until a group gives another.
#[must_use]
pub fn of_groups(held: Held, given: impl IntoIterator<Item = GroupRole>) -> Held {
    match (held.role, given.into_iter().max()) {
        (Role::Owner | Role::Operator, _) => Held { is_from_groups: false, ..held },
        (_, Some(highest)) => Held { role: highest.role(), is_from_groups: true },
        (_, None) if held.is_from_groups => Held { role: Role::Member, is_from_groups: false },
        (_, None) => held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Role, is_from_groups: bool, given: &[GroupRole]) -> (Role, bool) {
        let Held { role, is_from_groups } = of_groups(Held { role, is_from_groups }, given.iter().copied());
        (role, is_from_groups)
    }

    #[test]
    fn the_highest_group_counts() {
        use GroupRole::{Admin, Billing, Member};
        assert_eq!(of(Role::Member, false, &[Billing, Admin, Member]), (Role::Admin, true));
        assert_eq!(of(Role::Admin, true, &[Billing]), (Role::Billing, true));
        assert_eq!(of(Role::Admin, false, &[Member]), (Role::Member, true));
    }

    #[test]
    fn what_a_group_gave_goes_with_it_and_what_an_admin_gave_stays() {
        assert_eq!(of(Role::Admin, true, &[]), (Role::Member, false));
        assert_eq!(of(Role::Admin, false, &[]), (Role::Admin, false));
    }

    #[test]
    fn no_group_makes_or_unmakes_owners_and_operators() {
        for role in [Role::Owner, Role::Operator] {
            assert_eq!(of(role, false, &[GroupRole::Admin]), (role, false));
            assert_eq!(of(role, true, &[]), (role, false));
        }
        assert_eq!(GroupRole::parse("owner"), None);
        assert_eq!(GroupRole::parse("operator"), None);
    }
}
