//! Checking a password against whatever kind of hash is stored. New hashes are argon2id; others came by import and are replaced when
//! their users sign in.

use argon2::password_hash::PasswordVerifier;
use argon2::{Argon2, PasswordHash};

/// How hashes of ours begin; see the hasher for the reasons of the figures.
const OURS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// Whether a hash was made elsewhere, or with other figures.
#[must_use]
pub(super) fn is_foreign(hash: &str) -> bool {
    !hash.starts_with(OURS)
}

/// Whether a password matches a hash that was imported: bcrypt, or argon2 with figures of its own. The import has bounded what one
/// may cost. A hash that cannot be read matches nothing.
#[must_use]
pub(super) fn verify_foreign(password: &str, hash: &str) -> bool {
    if hash.starts_with("$2") {
        // As its makers do, this looks at the first 72 bytes only.
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_other_makers_are_understood() {
        // "U*U" of the bcrypt test vectors of crypt_blowfish; argon2i made by the reference implementation's parameters.
        assert!(verify_foreign("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
        assert!(!verify_foreign("U*V", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
        for broken in ["", "$2b$05$short", "$argon2id$", "$2b$05$äääääääääääääääääääääääääääääääääääääääääääääääääääää"]
        {
            assert!(!verify_foreign("x", broken), "{broken}");
        }
        assert!(is_foreign("$2b$12$") && is_foreign("$argon2id$v=19$m=65536,t=3,p=4$"));
    }
}
