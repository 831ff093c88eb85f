//! Password hashes of other systems, with bounds on what checking one may cost.

/// What is wrong with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportedHashError {
    /// Of no kind that we check, or not well formed.
    #[error("must be an argon2id or argon2i hash in PHC form (version 19), or a bcrypt hash ($2a$, $2b$ or $2y$)")]
    Malformed,
    /// Would cost too much at each sign-in.
    #[error("costs too much to check: at most bcrypt cost 14, argon2 m=65536 (KiB), t=10, p=8")]
    TooCostly,
}

/// A hash that may be stored: well formed, and bounded in memory and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedHash(String);

impl ImportedHash {
    /// Checks a hash.
    ///
    /// # Errors
    /// [`ImportedHashError`].
    pub fn parse(text: &str) -> Result<Self, ImportedHashError> {
        if text.len() > 256 || !text.is_ascii() {
            return Err(ImportedHashError::Malformed);
        }
        let mut parts = text.split('$');
        let (Some(""), Some(kind)) = (parts.next(), parts.next()) else { return Err(ImportedHashError::Malformed) };
        let rest: Vec<&str> = parts.collect();
        match (kind, rest.as_slice()) {
            ("2a" | "2b" | "2y", [cost, hash]) => check_bcrypt(cost, hash)?,
            ("argon2id" | "argon2i", [version, figures, salt, hash]) => check_argon2(version, figures, salt, hash)?,
            _ => return Err(ImportedHashError::Malformed),
        }
        Ok(Self(text.to_owned()))
    }

    /// The hash, as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_bcrypt(cost: &str, hash: &str) -> Result<(), ImportedHashError> {
    let is_text = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
    if hash.len() != 53 || !hash.chars().all(is_text) || cost.len() != 2 || !cost.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ImportedHashError::Malformed);
    }
    match cost.parse::<u32>() {
        Ok(4..=14) => Ok(()),
        Ok(15..=31) => Err(ImportedHashError::TooCostly),
        Ok(_) | Err(_) => Err(ImportedHashError::Malformed),
    }
}

fn check_argon2(version: &str, figures: &str, salt: &str, hash: &str) -> Result<(), ImportedHashError> {
    let is_base64 = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/')
    };
    // 8 to 48 bytes of salt, 16 to 64 of hash.
    if version != "v=19" || !is_base64(salt, 11..=64) || !is_base64(hash, 22..=86) {
        return Err(ImportedHashError::Malformed);
    }
    let mut read = figures.split(',').zip(["m=", "t=", "p="]).map(|(figure, name)| {
        let digits = figure.strip_prefix(name)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
    });
    let (Some(Some(memory)), Some(Some(passes)), Some(Some(lanes)), None) =
        (read.next(), read.next(), read.next(), figures.split(',').nth(3))
    else {
        return Err(ImportedHashError::Malformed);
    };
    if memory < 8 || passes < 1 || lanes < 1 || memory / 8 < lanes {
        return Err(ImportedHashError::Malformed);
    }
    if memory > 65_536 || passes > 10 || lanes > 8 {
        return Err(ImportedHashError::TooCostly);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_AND_HASH: &str = "c29tZXNhbHRzb21lc2FsdA$mZpDKBpgCBzdbPV5sJNHqmvCNTXPc8fzi+RBnV9zU84";
    const BCRYPT: &str = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn argon2(start: &str) -> Result<(), ImportedHashError> {
        ImportedHash::parse(&format!("{start}${SALT_AND_HASH}")).map(|_| ())
    }

    #[test]
    fn hashes_of_other_systems_are_taken() {
        for start in ["$argon2id$v=19$m=19456,t=2,p=1", "$argon2i$v=19$m=65536,t=10,p=8", "$argon2id$v=19$m=8,t=1,p=1"]
        {
            assert_eq!(argon2(start), Ok(()), "{start}");
        }
        for start in ["$2a$04$", "$2b$12$", "$2y$14$"] {
            assert_eq!(ImportedHash::parse(&format!("{start}{BCRYPT}")).map(|_| ()), Ok(()), "{start}");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        for start in [
            "$argon2id$v=19$m=65537,t=1,p=1",
            "$argon2id$v=19$m=19456,t=11,p=1",
            "$argon2id$v=19$m=19456,t=2,p=9",
            "$argon2id$v=19$m=4294967295,t=2,p=1",
        ] {
            assert_eq!(argon2(start), Err(ImportedHashError::TooCostly), "{start}");
        }
        assert_eq!(ImportedHash::parse(&format!("$2b$15${BCRYPT}")), Err(ImportedHashError::TooCostly));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for start in [
            "$argon2d$v=19$m=19456,t=2,p=1",
            "$argon2id$v=16$m=19456,t=2,p=1",
            "$argon2id$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2",
            "$argon2id$v=19$m=19456,t=2,p=1,x=1",
            "$argon2id$v=19$t=2,m=19456,p=1",
            "$argon2id$v=19$m=+19456,t=2,p=1",
            "$argon2id$v=19$m=99999999999,t=2,p=1",
            "$argon2id$v=19$m=8,t=1,p=2",
            "$argon2id$v=19$m=0,t=0,p=0",
        ] {
            assert_eq!(argon2(start), Err(ImportedHashError::Malformed), "{start}");
        }
        for text in ["", "$", "plain", "$2b$12$short", "$1$salt$hash", "$2x$12$CCCC", &format!("$2b$+4${BCRYPT}"), "ä"]
        {
            assert_eq!(ImportedHash::parse(text), Err(ImportedHashError::Malformed), "{text}");
        }
    }
}
