//! People: e-mail addresses, roles, passwords, and the authenticated caller.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::common_passwords;

/// What is wrong with a person's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an e-mail address.
    #[error("must be an e-mail address of at most 254 characters")]
    MalformedEmail,
    /// Too short.
    #[error("must have at least 8 characters")]
    PasswordTooShort,
    /// Too long.
    #[error("must have at most 128 characters")]
    PasswordTooLong,
    /// On the list of common passwords.
    #[error("is one of the most used passwords, which are guessed first; choose another")]
    PasswordCommon,
    /// Made of the tenant's name or the user's address.
    #[error("must not be made of your name, your address or your organisation's name")]
    PasswordOfContext,
    /// Too long, or with control characters.
    #[error("must be 1 to 200 characters without control characters")]
    MalformedName,
}

/// An e-mail address as typed, with the form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress {
    text: String,
    norm: String,
}

impl EmailAddress {
    /// Parses `local@domain` loosely: the proof of an address is that mail reaches it (RFC 5321 §4.5.3.1 for lengths).
    ///
    /// # Errors
    /// [`IdentityError::MalformedEmail`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(IdentityError::MalformedEmail)?;
        let no_spaces = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let domain_ok = domain.split('.').all(|label| !label.is_empty())
            && !domain.starts_with('-')
            && domain.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '-');
        let ok = no_spaces && domain_ok && (1..=64).contains(&local.len()) && text.len() <= 254 && !local.contains('@');
        if ok {
            Ok(Self { text: text.to_owned(), norm: text.nfkc().collect::<String>().to_lowercase() })
        } else {
            Err(IdentityError::MalformedEmail)
        }
    }

    /// The address as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form in which addresses are compared and unique: NFKC, lower case.
    #[must_use]
    pub fn norm(&self) -> &str {
        &self.norm
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A password that somebody chooses: 8 to 128 characters, none of the most used, and no composition rules (NIST SP 800-63B-4
/// §3.1.1.2).
#[derive(Debug, Clone)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Checks the length, in Unicode code points, and the list of common passwords.
    ///
    /// # Errors
    /// [`IdentityError::PasswordTooShort`], [`IdentityError::PasswordTooLong`] or [`IdentityError::PasswordCommon`].
    pub fn parse(secret: SecretString) -> Result<Self, IdentityError> {
        match secret.expose_secret().chars().count() {
            0..=7 => Err(IdentityError::PasswordTooShort),
            8..=128 if common_passwords::contains(secret.expose_secret()) => Err(IdentityError::PasswordCommon),
            8..=128 => Ok(Self(secret)),
            _ => Err(IdentityError::PasswordTooLong),
        }
    }

    /// Refuses a password that is one of these words, perhaps with up to three characters before or after it: the tenant's name,
    /// the user's address. Case does not count; words of under four characters are not looked for.
    ///
    /// # Errors
    /// [`IdentityError::PasswordOfContext`].
    pub fn check_context(&self, words: &[&str]) -> Result<(), IdentityError> {
        let fold = |text: &str| -> String { text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect() };
        let password = fold(self.0.expose_secret());
        let is_made_of = |word: &&str| {
            let word = fold(word);
            let spare = password.chars().count().saturating_sub(word.chars().count());
            word.chars().count() >= 4 && spare <= 3 && password.contains(&word)
        };
        if words.iter().any(is_made_of) { Err(IdentityError::PasswordOfContext) } else { Ok(()) }
    }

    /// The password.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// A person's display name: 1 to 200 characters, trimmed.
///
/// # Errors
/// [`IdentityError::MalformedName`].
pub fn parse_person_name(text: &str) -> Result<String, IdentityError> {
    let text = text.trim();
    if (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(IdentityError::MalformedName)
    }
}

/// What a user may do in the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, and cannot be locked out.
    Owner,
    /// Everything but the owners.
    Admin,
    /// Uses the services.
    Member,
    /// Sees and pays the bills.
    Billing,
    /// Runs the platform; only in the tenant `platform`.
    Operator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Member, Self::Billing, Self::Operator];

    /// The word in tokens, headers and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Billing => "billing",
            Self::Operator => "operator",
        }
    }

    /// The role that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_case_and_in_one_form() {
        let address = EmailAddress::parse(" Ann@Example.COM ").expect("an address");
        assert_eq!(address.as_str(), "Ann@Example.COM");
        assert_eq!(address.norm(), "ann@example.com");
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for bad in
            ["", "a", "@b", "a@", "a@b..c", "a b@c", "a@-b", "a\0@b.c", "a@b@c", &format!("{}@b.c", "x".repeat(65))]
        {
            assert_eq!(EmailAddress::parse(bad), Err(IdentityError::MalformedEmail), "{bad:?}");
        }
    }

    #[test]
    fn a_password_has_8_to_128_characters() {
        let parse = |n: usize| NewPassword::parse("ä".repeat(n).into()).map(|_| ());
        assert_eq!(parse(7), Err(IdentityError::PasswordTooShort));
        assert_eq!(parse(8), Ok(()));
        assert_eq!(parse(128), Ok(()));
        assert_eq!(parse(129), Err(IdentityError::PasswordTooLong));
    }

    #[test]
    fn what_everybody_guesses_first_is_no_password() {
        let refused = |text: &str| NewPassword::parse(text.to_owned().into()).map(|_| ());
        for text in ["password", "PassWord1", "12345678", "qwertyuiop", "iloveyou", "sunshine"] {
            assert_eq!(refused(text), Err(IdentityError::PasswordCommon), "{text}");
        }
        for text in ["correct horse battery staple", "fünf Äpfel im Korb", "tr0ub4dor&3-x"] {
            assert_eq!(refused(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn names_of_the_context_are_no_passwords() {
        let checked = |text: &str, words: &[&str]| {
            NewPassword::parse(text.to_owned().into()).expect("long enough").check_context(words)
        };
        let refused = Err(IdentityError::PasswordOfContext);
        assert_eq!(checked("Acme Ltd 1", &["acme ltd"]), refused);
        assert_eq!(checked("ann.smith!!", &["ann.smith"]), refused);
        assert_eq!(checked("acme ltd has nice cakes", &["acme ltd"]), Ok(()));
        assert_eq!(checked("annannann", &["ann", ""]), Ok(()), "too short to be looked for");
    }

    #[test]
    fn roles_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
