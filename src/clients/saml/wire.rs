//! From the form's field to text that may be parsed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SamlRefusal;

/// Characters of Base64 at most: a response with a photograph in it is not a response.
pub(super) const MAX_BASE64: usize = 256 * 1024;

/// Decodes the field `SAMLResponse` (saml-bindings §3.5.4) and refuses what no message has: other encodings than UTF-8, and
/// everything that begins with `<!` or `<?`, which is a document type, a CDATA section, a comment or a processing instruction.
/// A `<` in text or in a value has to be written as a reference, so these two characters are enough, whoever parses it.
pub(super) fn message(response_base64: &str) -> Result<String, SamlRefusal> {
    if response_base64.len() > MAX_BASE64 {
        return Err(SamlRefusal::TooLarge);
    }
    let mut characters = response_base64.as_bytes().to_vec();
    // Some providers break lines; nothing else may stand between the characters.
    characters.retain(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    let bytes = STANDARD.decode(&characters).map_err(|_not_base64| SamlRefusal::NotXml)?;
    let text = String::from_utf8(bytes).map_err(|_not_utf8| SamlRefusal::NotXml)?;
    let body = without_declaration(&text).ok_or(SamlRefusal::NotXml)?;
    if body.contains("<!") || body.contains("<?") || !body.chars().all(is_xml_character) {
        return Err(SamlRefusal::NotXml);
    }
    Ok(body.to_owned())
}

/// The text after an XML declaration, if there is one; `None` when it declares something else than XML 1.0 in UTF-8.
fn without_declaration(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix("<?xml") else {
        return Some(text);
    };
    let (declaration, body) = rest.split_once("?>")?;
    let mut words = declaration.split_ascii_whitespace();
    let version = words.next()?;
    let known = |word: &str, name: &str, values: &[&str]| {
        word.strip_prefix(name).and_then(|value| value.strip_prefix('=')).is_some_and(|value| {
            let inner = value.trim_matches(|quote| quote == '"' || quote == '\'');
            value.len() == inner.len() + 2 && values.iter().any(|known| known.eq_ignore_ascii_case(inner))
        })
    };
    if !declaration.starts_with([' ', '\t', '\r', '\n']) || !known(version, "version", &["1.0"]) {
        return None;
    }
    words.all(|word| known(word, "encoding", &["utf-8"]) || known(word, "standalone", &["yes", "no"])).then_some(body)
}

/// Whether XML 1.0 allows the character at all (production 2), in text or by reference.
pub(super) fn is_xml_character(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => other >= ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn a_declaration_is_taken_off_and_lines_may_be_broken() {
        let whole = encoded(b"<?xml version=\"1.0\" encoding='UTF-8'?>\n<a/>");
        assert_eq!(message(&whole), Ok("\n<a/>".to_owned()));
        let (first, second) = whole.split_at(10);
        assert_eq!(message(&format!("{first}\r\n{second}")), Ok("\n<a/>".to_owned()));
    }

    #[test]
    fn what_no_message_has_is_refused_before_any_parser_sees_it() {
        for bad in [
            &b"<!DOCTYPE a><a/>"[..],
            b"<a><!-- --></a>",
            b"<a><![CDATA[b]]></a>",
            b"<a><?b?></a>",
            b"<?xml version=\"1.1\"?><a/>",
            b"<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>",
            b"<?xml version=\"1.0\" other=\"a\"?><a/>",
            b"<?xml-stylesheet version=\"1.0\"?><a/>",
            b"<a>\x01</a>",
            b"<a>\xff</a>",
        ] {
            assert_eq!(message(&encoded(bad)), Err(SamlRefusal::NotXml), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(message("PGEvPg"), Err(SamlRefusal::NotXml), "padding is missing");
        assert_eq!(message(&"A".repeat(MAX_BASE64 + 4)), Err(SamlRefusal::TooLarge));
    }
}
