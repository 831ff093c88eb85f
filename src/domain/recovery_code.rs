//! Recovery codes: for whoever lost the authenticator. Each has 120 random bits, so a plain hash keeps it (a code of 112 bits or
//! more needs no password hash: OWASP ASVS 5.0, 6.5.2) and nobody finds it by trying.

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

/// Random bytes of one code.
pub const CODE_BYTES: usize = 15;
/// Characters of one code without its separators: five bits each.
const CODE_CHARS: usize = 24;
/// Crockford's alphabet: no I, L, O and U, which are misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What is stored of a code.
pub type CodeHash = [u8; 32];

/// The code of random bytes, in six groups of four characters.
#[must_use]
pub fn encode(mut random: [u8; CODE_BYTES]) -> SecretString {
    let mut text = String::with_capacity(CODE_CHARS + 5);
    for (index, group) in random.chunks(5).enumerate() {
        let bits = group.iter().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
        for place in 0..8usize {
            if place.is_multiple_of(4) && (index, place) != (0, 0) {
                text.push('-');
            }
            let five = usize::try_from((bits >> (35 - 5 * place)) & 31).unwrap_or(0);
            text.push(ALPHABET.get(five).copied().map_or('0', char::from));
        }
    }
    random.zeroize();
    text.into()
}

/// The hash of a code as somebody typed it: case, spaces and hyphens do not count, and neither do the letters that look like
/// digits. `None` for what is no recovery code.
#[must_use]
pub fn hash(typed: &str) -> Option<CodeHash> {
    if typed.len() > 64 {
        return None;
    }
    let mut plain = String::with_capacity(CODE_CHARS);
    for c in typed.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if !c.is_ascii() || !ALPHABET.contains(&u8::try_from(c).unwrap_or(0)) {
            return None;
        }
        plain.push(c);
    }
    if plain.len() != CODE_CHARS {
        return None;
    }
    let mut hash = CodeHash::default();
    for (slot, byte) in hash.iter_mut().zip(digest::digest(&digest::SHA256, plain.as_bytes()).as_ref()) {
        *slot = *byte;
    }
    plain.zeroize();
    Some(hash)
}

/// The hash of a code that was just made.
#[must_use]
pub fn hash_of(code: &SecretString) -> Option<CodeHash> {
    hash(code.expose_secret())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_six_groups_of_four() {
        let code = encode([0xff; CODE_BYTES]);
        assert_eq!(code.expose_secret(), "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ");
        let mut counting = [0; CODE_BYTES];
        counting[14] = 1;
        assert_eq!(encode(counting).expose_secret(), "0000-0000-0000-0000-0000-0001");
    }

    #[test]
    fn what_people_mistype_does_not_count() {
        let as_printed = hash("0123-4567-89AB-CDEF-GHJK-MNPQ");
        assert!(as_printed.is_some());
        assert_eq!(hash("o1234567 89ab cdef ghjk mnpq".replacen("o1", "01", 1).as_str()), as_printed);
        assert_eq!(hash("OL23-4567-89ab-cdef-ghjk-mnpq"), as_printed);
        for other in
            ["", "123456", "0123-4567-89AB-CDEF-GHJK-MNP", "0123-4567-89AB-CDEF-GHJK-MNPU", "ä".repeat(24).as_str()]
        {
            assert_eq!(hash(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn different_bytes_are_different_codes(a: [u8; CODE_BYTES], b: [u8; CODE_BYTES]) {
            prop_assert_eq!(a == b, hash_of(&encode(a)) == hash_of(&encode(b)));
            prop_assert!(hash_of(&encode(a)).is_some());
        }

        #[test]
        fn hashing_what_somebody_typed_never_panics(text in "\\PC{0,80}") {
            let _ = hash(&text);
        }
    }
}
