//! Mail that the platform sends: what it is about, and the token whose link it carries.

use serde::{Deserialize, Serialize};

use super::row_token::RowTokenPurpose;

/// What a mail is about; each kind has its template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// Somebody is invited to a tenant.
    Invitation,
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
}

impl MailKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Invitation,
        Self::EmailVerification,
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::EmailChanged,
        Self::FactorChanged,
        Self::SessionReuse,
    ];

    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::EmailVerification => "email_verification",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::FactorChanged => "factor_changed",
            Self::SessionReuse => "session_reuse",
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
            Self::Invitation => Some(RowTokenPurpose::Invitation),
            Self::EmailVerification => Some(RowTokenPurpose::EmailVerification),
            Self::PasswordReset => Some(RowTokenPurpose::PasswordReset),
            Self::PasswordChanged | Self::EmailChanged | Self::FactorChanged | Self::SessionReuse => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::parse(kind.as_str()), Some(kind));
        }
    }
}
