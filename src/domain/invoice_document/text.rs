//! Texts of others, made fit for one line of print.

/// A text on one line: controls and line breaks become spaces, runs of spaces one space, and what would turn the reading
/// direction of the text around it is left out: nobody shall make an invoice say another amount than it does. The same text
/// goes into the page and into the XML, whose characters are those of XML 1.0 (section 2.2).
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if turns_direction(c) || is_no_character(c) {
            continue;
        }
        if c.is_control() || c == ' ' || c == '\u{2028}' || c == '\u{2029}' {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
        } else {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Embeddings, overrides, isolates and marks of the bidirectional algorithm (UAX #9, section 2).
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Code points that no text has (Unicode 23.7), and the byte order mark.
fn is_no_character(c: char) -> bool {
    c == '\u{feff}' || ('\u{fdd0}'..='\u{fdef}').contains(&c) || (u32::from(c) & 0xfffe) == 0xfffe
}
