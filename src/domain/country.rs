//! Countries of ISO 3166-1, for the last line of an address.

/// `code`, a tab and the usual English name on each line, in the order of the codes; from the public domain table of the
/// time zone database.
const NAMES: &str = include_str!("country_names.txt");

/// The English name of a country by its two capital letters; `None` if there is no such country.
#[must_use]
pub fn name(code: &str) -> Option<&'static str> {
    if code.len() != 2 {
        return None;
    }
    NAMES.lines().find_map(|line| line.strip_prefix(code)?.strip_prefix('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_found_by_its_code_alone() {
        assert_eq!(name("DE"), Some("Germany"));
        assert_eq!(name("ZW"), Some("Zimbabwe"));
        for unknown in ["", "D", "de", "UK", "XX", "DEU", "D\t", "Ä"] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_table_is_well_formed() {
        let codes: Vec<_> = NAMES.lines().map(|line| line.split_once('\t').expect("a tab")).collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted());
        for (code, text) in codes {
            assert!(code.bytes().all(|b| b.is_ascii_uppercase()) && !text.is_empty(), "{code}");
            assert_eq!(name(code), Some(text));
        }
    }
}
