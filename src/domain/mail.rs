//! Mail that the platform sends: what it is about, and the token whose link it carries.

use serde::{Deserialize, Serialize};

use super::row_token::RowTokenPurpose;

/// What a mail is about; each kind has its template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// Somebody is invited to a tenant.
    Invitation,
    /// Somebody is invited to found a tenant.
    OnboardingInvitation,
    /// The reader is to prove that the address is theirs.
    EmailVerification,
    /// The reader may set a new password.
    PasswordReset,
    /// The password was changed.
    PasswordChanged,
    /// The address was changed; goes to the old one.
    EmailChanged,
    /// A second factor was added or removed.
    FactorChanged,
    /// A refresh token was used twice, and its session ended.
    SessionReuse,
    /// Somebody has shown the right password and wrong codes, many times.
    CodeGuessing,
    /// Usage has reached a threshold of a limit; goes to owners and admins.
    UsageThreshold,
    /// An invoice or a credit note, with the document.
    Invoice,
    /// A domain or host is the tenant's no more, because its record was missing for days; goes to owners and admins.
    DomainLost,
}

impl MailKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Invitation,
        Self::OnboardingInvitation,
        Self::EmailVerification,
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::EmailChanged,
        Self::FactorChanged,
        Self::SessionReuse,
        Self::CodeGuessing,
        Self::UsageThreshold,
        Self::Invoice,
        Self::DomainLost,
    ];

    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::OnboardingInvitation => "onboarding_invitation",
            Self::EmailVerification => "email_verification",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::FactorChanged => "factor_changed",
            Self::SessionReuse => "session_reuse",
            Self::CodeGuessing => "code_guessing",
            Self::UsageThreshold => "usage_threshold",
            Self::Invoice => "invoice",
            Self::DomainLost => "domain_lost",
        }
    }

    /// The kind that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The token that the mail's link carries.
    #[must_use]
    pub fn token_purpose(self) -> Option<RowTokenPurpose> {
        match self {
            Self::Invitation | Self::OnboardingInvitation => Some(RowTokenPurpose::Invitation),
            Self::EmailVerification => Some(RowTokenPurpose::EmailVerification),
            Self::PasswordReset => Some(RowTokenPurpose::PasswordReset),
            Self::PasswordChanged
            | Self::EmailChanged
            | Self::FactorChanged
            | Self::SessionReuse
            | Self::CodeGuessing
            | Self::UsageThreshold
            | Self::Invoice
            | Self::DomainLost => None,
        }
    }
}

/// Attempts before a mail is given up.
pub const MAX_ATTEMPTS: u32 = 10;
/// Age at which a mail is given up, in seconds.
pub const MAX_AGE_S: i64 = 48 * 3_600;
const FIRST_WAIT_S: i64 = 60;
const LONGEST_WAIT_S: i64 = 6 * 3_600;

/// Seconds until the next attempt after `n_attempts` (1 and up) that failed, for a mail of that age: a minute, doubling up to six
/// hours, more or less by a quarter (`jitter` is any number; it is what spreads mails that failed together). `None` = given up.
#[must_use]
pub fn retry_wait_s(n_attempts: u32, age_s: i64, jitter: u32) -> Option<i64> {
    if n_attempts >= MAX_ATTEMPTS || age_s >= MAX_AGE_S {
        return None;
    }
    let doublings = n_attempts.saturating_sub(1).min(16);
    let wait_s = (FIRST_WAIT_S << doublings).min(LONGEST_WAIT_S);
    let spread = i64::from(jitter % 501) - 250;
    Some(wait_s + wait_s * spread / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_six_hours_and_end() {
        let plain = |n| retry_wait_s(n, 0, 250);
        assert_eq!((plain(1), plain(2), plain(3)), (Some(60), Some(120), Some(240)));
        assert_eq!(plain(9), Some(256 * 60));
        assert_eq!(plain(10), None);
        assert_eq!(retry_wait_s(1, MAX_AGE_S, 250), None, "too old");
        assert_eq!((retry_wait_s(1, 0, 0), retry_wait_s(1, 0, 500)), (Some(45), Some(75)));
    }

    #[test]
    fn kinds_read_back() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::parse(kind.as_str()), Some(kind));
        }
    }
}
