//! `X-Usage`: what a service behind the gateway says that it used for a call.
//!
//! ```text
//! X-Usage: ai_tokens=812;id=run-7, workflow_runs=1
//! ```
//!
//! Entries are separated by commas; an entry is a meter, `=`, a whole number, and perhaps `;id=` with the service's own name for
//! the event. The header is read strictly: one mistake, and nothing of it counts, because half of a bill is worse than a complaint.

use super::meter::MeterName;
use super::usage::MAX_QUANTITY;

/// Most entries of one answer.
const MAX_ENTRIES: usize = 32;
/// Longest id, in bytes: with the meter's name before it, a key still fits where keys are stored.
const MAX_ID: usize = 128;

/// One use that a service reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedUsage {
    /// The meter.
    pub meter: MeterName,
    /// How much: 0 to [`MAX_QUANTITY`].
    pub quantity: i64,
    /// The service's name for the event: the same id again is the same event again. 1 to 128 visible ASCII characters without comma,
    /// semicolon and quotation mark.
    pub id: Option<String>,
}

impl ReportedUsage {
    /// The event's key: the meter belongs to it, so that one id may stand for all that one piece of work used.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        self.id.as_ref().map(|id| format!("{}:{id}", self.meter))
    }
}

/// The header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsageHeaderError {
    /// An entry is not `meter=number` or `meter=number;id=name`.
    #[error("expected meter=number or meter=number;id=name, separated by commas")]
    Malformed,
    /// A number above [`MAX_QUANTITY`].
    #[error("a quantity is too large")]
    TooLarge,
    /// More than 32 entries.
    #[error("more than 32 entries")]
    TooMany,
}

/// Reads all lines of the header.
///
/// # Errors
/// [`UsageHeaderError`]; then nothing of any line counts.
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ReportedUsage>, UsageHeaderError> {
    let mut entries = Vec::new();
    for line in lines {
        let line = std::str::from_utf8(line).map_err(|_bytes: std::str::Utf8Error| UsageHeaderError::Malformed)?;
        for text in line.split(',') {
            if entries.len() == MAX_ENTRIES {
                return Err(UsageHeaderError::TooMany);
            }
            entries.push(entry(text)?);
        }
    }
    Ok(entries)
}

fn entry(text: &str) -> Result<ReportedUsage, UsageHeaderError> {
    let mut parts = text.split(';').map(trim);
    let (meter, quantity) = parts.next().and_then(|first| first.split_once('=')).ok_or(UsageHeaderError::Malformed)?;
    let meter = MeterName::parse(meter).map_err(|_name: super::meter::MeterNameError| UsageHeaderError::Malformed)?;
    let quantity = number(quantity)?;
    let id = match parts.next() {
        None => None,
        Some(part) => Some(id(part).ok_or(UsageHeaderError::Malformed)?),
    };
    if parts.next().is_some() {
        return Err(UsageHeaderError::Malformed);
    }
    Ok(ReportedUsage { meter, quantity, id })
}

/// Optional white space of HTTP (RFC 9110 §5.6.3): blanks and tabs only.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn number(text: &str) -> Result<i64, UsageHeaderError> {
    // Not `parse` alone, which takes a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UsageHeaderError::Malformed);
    }
    text.parse().ok().filter(|quantity| *quantity <= MAX_QUANTITY).ok_or(UsageHeaderError::TooLarge)
}

fn id(part: &str) -> Option<String> {
    let id = part.strip_prefix("id=")?;
    let is_id = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&str]) -> Result<Vec<ReportedUsage>, UsageHeaderError> {
        parse(lines.iter().map(|line| line.as_bytes()))
    }

    fn usage(meter: &str, quantity: i64, id: Option<&str>) -> ReportedUsage {
        ReportedUsage { meter: MeterName::parse(meter).expect("a name"), quantity, id: id.map(str::to_owned) }
    }

    #[test]
    fn entries_are_read_from_all_lines() {
        assert_eq!(
            read(&["ai_tokens=812;id=abc, workflow_runs=1", " ai_tokens=0 ;\tid=a/b=c "]),
            Ok(vec![
                usage("ai_tokens", 812, Some("abc")),
                usage("workflow_runs", 1, None),
                usage("ai_tokens", 0, Some("a/b=c")),
            ])
        );
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(usage("ai_tokens", 1, Some("x")).key().as_deref(), Some("ai_tokens:x"));
        assert_eq!(usage("ai_tokens", 1, None).key(), None);
    }

    #[test]
    fn one_mistake_spoils_the_whole() {
        for bad in [
            "",
            ",",
            "ai_tokens",
            "ai_tokens=",
            "ai_tokens=-1",
            "ai_tokens=+1",
            "ai_tokens=1.5",
            "ai_tokens=1e3",
            "ai_tokens =1",
            "ai_tokens= 1",
            "AI=1",
            "ai_tokens=1,",
            "ai_tokens=1;",
            "ai_tokens=1;id=",
            "ai_tokens=1;id=a b",
            "ai_tokens=1;id=\"a\"",
            "ai_tokens=1;ID=a",
            "ai_tokens=1;id=a;id=b",
            "ai_tokens=1;id=ü",
            "ai_tokens=1\u{a0}",
        ] {
            assert_eq!(read(&["workflow_runs=1", bad]), Err(UsageHeaderError::Malformed), "{bad:?}");
        }
        assert_eq!(parse([&b"ai_tokens=1;id=\xff"[..]]), Err(UsageHeaderError::Malformed));
        for large in ["ai_tokens=1000000000001", "ai_tokens=99999999999999999999999"] {
            assert_eq!(read(&[large]), Err(UsageHeaderError::TooLarge), "{large}");
        }
        assert_eq!(read(&[&vec!["a=1"; 33].join(",")]), Err(UsageHeaderError::TooMany));
        assert_eq!(read(&[&vec!["a=1"; 32].join(",")]).map(|entries| entries.len()), Ok(32));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(("[a-z][a-z0-9_]{0,20}", 0..=MAX_QUANTITY, prop::option::of("[!#-+\\--:<-~]{1,128}")), 1..32)) {
            let expected: Vec<_> = entries.iter().map(|(meter, quantity, id)| usage(meter, *quantity, id.as_deref())).collect();
            let texts: Vec<_> = entries.iter().map(|(meter, quantity, id)| match id {
                Some(id) => format!("{meter}={quantity};id={id}"),
                None => format!("{meter}={quantity}"),
            }).collect();
            prop_assert_eq!(read(&[&texts.join(", ")]), Ok(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse([&line[..]]);
        }
    }
}
