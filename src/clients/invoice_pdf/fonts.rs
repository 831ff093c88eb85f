//! The typefaces: Inter for everything, and DejaVu Sans for the scripts that Inter does not have.

use typst::foundations::Bytes;
use typst::text::Font;
use unicode_normalization::char::is_combining_mark;

use super::error::StartError;

/// Files of the typefaces, as Debian ships them; their licences lie beside them.
const FILES: &[&[u8]] = &[
    include_bytes!("fonts/Inter-Regular.otf"),
    include_bytes!("fonts/Inter-Medium.otf"),
    include_bytes!("fonts/Inter-SemiBold.otf"),
    include_bytes!("fonts/DejaVuSans.ttf"),
];
/// Shown for a character that no typeface has.
const MARK: char = '\u{fffd}';
/// After so many characters without a place to break, a line may break anywhere.
const MAX_UNBROKEN: usize = 20;

/// The typefaces.
pub(super) fn load() -> Result<Vec<Font>, StartError> {
    FILES.iter().map(|file| Font::new(Bytes::new(*file), 0).ok_or(StartError::Asset("typeface"))).collect()
}

/// How much is tried with texts of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Every character that a typeface has.
    Usual,
    /// What the first typeface has, without marks that combine. A mark without its letter, or with one of another typeface, has
    /// no glyph although each of them has.
    Utmost,
}

/// What the typefaces can print.
pub(super) struct Glyphs {
    /// Characters that at least one has, sorted.
    all: Vec<u32>,
    /// Characters that the first one has, sorted.
    first: Vec<u32>,
}

impl Glyphs {
    pub(super) fn of(fonts: &[Font]) -> Self {
        let mut all: Vec<u32> = fonts.iter().flat_map(|font| font.info().coverage.iter()).collect();
        all.sort_unstable();
        all.dedup();
        let first = fonts.first().map(|font| font.info().coverage.iter().collect()).unwrap_or_default();
        Self { all, first }
    }

    /// The text with a mark in place of each character that cannot be printed, and how many those are. Long runs get places
    /// to break, or they would leave their column.
    pub(super) fn printable(&self, text: &str, care: Care) -> (String, usize) {
        let mut printed = String::with_capacity(text.len());
        let (mut n_unprintable, mut n_unbroken) = (0, 0);
        for c in text.chars().filter(|c| !is_invisible(*c)) {
            if c == ' ' {
                n_unbroken = 0;
            } else if n_unbroken == MAX_UNBROKEN {
                printed.push('\u{200b}');
                n_unbroken = 0;
            }
            n_unbroken += usize::from(c != ' ');
            if self.can_print(c, care) {
                printed.push(c);
            } else {
                n_unprintable += 1;
                printed.push(MARK);
            }
        }
        (printed, n_unprintable)
    }

    fn can_print(&self, c: char, care: Care) -> bool {
        let has = |covered: &[u32]| covered.binary_search(&u32::from(c)).is_ok();
        match care {
            // Private characters mean something to their owner alone, and PDF/A forbids them (ISO 19005-3, 6.2.11.7.3).
            Care::Usual => has(&self.all) && !is_private(c),
            Care::Utmost => has(&self.first) && !is_private(c) && !is_combining_mark(c),
        }
    }
}

/// Joiners, selectors and the like, which only shape their neighbours; without the neighbour they would be marks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}
