//! Second factors: what kinds there are, and what may be tried how often.

use serde::{Deserialize, Serialize};

use super::assurance::Requirement;

/// Codes that may be tried against one challenge; then the sign-in begins again with the password.
pub const MAX_CHALLENGE_ATTEMPTS: i32 = 5;
/// Wrong codes for one user and purpose within [`CODE_WINDOW_S`].
pub const MAX_CODES: i32 = 10;
/// Length of the first window in which wrong codes are counted, in seconds. Each window after one that was filled is twice as long, until
/// a code is right.
pub const CODE_WINDOW_S: i64 = 300;
/// So often the window doubles: up to five hours and twenty minutes.
pub const MAX_CODE_DOUBLINGS: i32 = 6;
/// Life of a sign-in that waits for its second factor, in seconds.
pub const CHALLENGE_TTL_S: i64 = 300;
/// Life of an enrolment that waits for its first code, in seconds.
pub const ENROLMENT_TTL_S: i64 = 900;
/// Recovery codes of one set.
pub const N_RECOVERY_CODES: usize = 10;

/// A kind of second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// An authenticator app (RFC 6238).
    Totp,
    /// A passkey or security key (WebAuthn).
    Webauthn,
    /// A code from the printed list. It stands in for another factor and is none by itself.
    RecoveryCode,
}

impl FactorKind {
    /// The word in the API and the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Webauthn => "webauthn",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

/// What a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Factors {
    /// An authenticator app.
    pub totp: bool,
    /// Passkeys.
    pub n_passkeys: i64,
    /// Recovery codes that were not used yet.
    pub n_recovery_codes: i64,
}

impl Factors {
    /// Whether a sign-in by password needs a second factor.
    #[must_use]
    pub fn any(self) -> bool {
        self.totp || self.n_passkeys > 0
    }

    /// The kinds that a challenge offers, or that the user is shown.
    #[must_use]
    pub fn kinds(self) -> Vec<FactorKind> {
        let Self { totp, n_passkeys, n_recovery_codes } = self;
        let mut kinds = Vec::new();
        if totp {
            kinds.push(FactorKind::Totp);
        }
        if n_passkeys > 0 {
            kinds.push(FactorKind::Webauthn);
        }
        if n_recovery_codes > 0 && self.any() {
            kinds.push(FactorKind::RecoveryCode);
        }
        kinds
    }

    /// What adding a factor asks of the user's sign-in: the first one a fresh sign-in, a further one the factors that there are.
    #[must_use]
    pub fn enrolment_requirement(self) -> Requirement {
        if self.any() { Requirement::SENSITIVE } else { Requirement { min_acr: None, max_age_s: Some(300) } }
    }
}

/// What a code is tried for; each has a counter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePurpose {
    /// To finish a sign-in.
    SignIn,
    /// To strengthen a session.
    StepUp,
}

impl CodePurpose {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::StepUp => "step_up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assurance::Acr;

    #[test]
    fn recovery_codes_are_no_factor_by_themselves() {
        let codes = Factors { n_recovery_codes: 10, ..Factors::default() };
        assert!(!codes.any());
        assert_eq!(codes.kinds(), []);
        let both = Factors { totp: true, ..codes };
        assert_eq!(both.kinds(), [FactorKind::Totp, FactorKind::RecoveryCode]);
    }

    #[test]
    fn a_further_factor_needs_the_one_that_is_there() {
        let first = Factors::default().enrolment_requirement();
        assert_eq!((first.min_acr, first.max_age_s), (None, Some(300)));
        let further = Factors { n_passkeys: 1, ..Factors::default() }.enrolment_requirement();
        assert_eq!(further.min_acr, Some(Acr::Aal2));
    }
}
