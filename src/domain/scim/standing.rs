//! Whether somebody may be signed in, or made a user by signing in at the identity provider.

use crate::domain::ids::UserId;

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// May sign in.
    Active,
    /// An admin suspended them: only an admin lets them in again.
    Suspended,
    /// The provider switched them off by SCIM: only SCIM lets them in again.
    Deprovisioned,
    /// There is no such user (any more).
    Gone,
}

impl Standing {
    /// Whether a session may begin, by whatever means.
    #[must_use]
    pub fn may_sign_in(self) -> bool {
        match self {
            Self::Active => true,
            Self::Suspended | Self::Deprovisioned | Self::Gone => false,
        }
    }
}

/// Whether a user may be made just in time, with an address that a provider asserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JustInTime {
    /// Nobody has the address, and it is no name of anybody who left.
    Free,
    /// A user has it, in whatever state: not to be linked by the address alone, nor made a second time.
    Taken(UserId),
    /// SCIM switched a user off, or deleted one, whom it is a name of: only SCIM brings them back.
    Departed,
}
