//! Tokens of a tenant's identity provider, and what they may touch.

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::domain::api_key::{self, SECRET_BYTES};
use crate::domain::identity::Role;
use crate::domain::ids::ScimTokenId;

/// Tokens of a tenant that may be good at the same time: one, and the one that replaces it.
pub const MAX_LIVE_TOKENS: usize = 2;
/// Where API keys have their environment.
const MARK: &str = "scim";

/// A token as a tenant's view has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScimToken {
    /// Id.
    pub id: ScimTokenId,
    /// Rank of who made it.
    pub rank: Role,
}

/// The text of a token: of the same make as an API key, so that scanners of source code find it, with `scim` for the environment.
#[must_use]
pub fn compose(id: ScimTokenId, secret: &Zeroizing<[u8; SECRET_BYTES]>) -> SecretString {
    api_key::compose(MARK, id.uuid().into(), secret)
}

/// The rank that a token has whose maker has this role; none if they may make none.
#[must_use]
pub fn rank_of_maker(role: Role) -> Option<Role> {
    match role {
        Role::Owner | Role::Admin | Role::Operator => Some(role),
        Role::Member | Role::Billing => None,
    }
}
