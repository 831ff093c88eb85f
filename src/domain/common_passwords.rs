//! The passwords that are guessed first. `common_passwords.bin` holds the first five bytes of the SHA-256 of each, lower-cased, in
//! order: half a megabyte in the program's own pages, and nothing to load. `scripts/common-passwords.py` makes it and names the
//! sources. Of other passwords one in some ten million looks like one of these and is refused by mistake.

use std::cmp::Ordering;

use aws_lc_rs::digest;

const ENTRY_BYTES: usize = 5;
static ENTRIES: &[u8] = include_bytes!("common_passwords.bin");

/// Whether a password is one of the most used ones, in whatever case.
#[must_use]
pub fn contains(password: &str) -> bool {
    let hash = digest::digest(&digest::SHA256, password.to_lowercase().as_bytes());
    let wanted = hash.as_ref().get(..ENTRY_BYTES).unwrap_or_default();
    let (mut low, mut high) = (0, ENTRIES.len() / ENTRY_BYTES);
    while low < high {
        let middle = low.midpoint(high);
        let at = middle * ENTRY_BYTES;
        match ENTRIES.get(at..at + ENTRY_BYTES).map_or(Ordering::Greater, |entry| entry.cmp(wanted)) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return true,
            Ordering::Greater => high = middle,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        let (entries, rest) = ENTRIES.as_chunks::<ENTRY_BYTES>();
        assert!(rest.is_empty() && entries.len() > 30_000, "{}", entries.len());
        assert!(entries.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn first_and_last_are_found_and_what_lies_outside_is_not() {
        assert!(contains("password") && contains("PASSWORD") && contains("1q2w3e4r"));
        assert!(!contains("") && !contains("never-seen-on-any-list-7c1e"));
    }
}
