//! Paths as they came: split, compared and judged without decoding or copying.

/// Whether two programs may read this raw path differently.
///
/// Found ambiguous: an encoded slash, backslash or NUL, a backslash, an empty segment (`//`), and a `.` or `..` segment
/// in any spelling (encoded, or with path parameters as in `..;a=b`). A trailing slash is not an empty segment.
pub fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'.')) && !has_empty_segment(bytes) {
        return false;
    }
    if has_empty_segment(bytes) || bytes.contains(&b'\\') {
        return true;
    }
    path.split('/').any(|segment| has_encoded_separator(segment.as_bytes()) || is_dots(segment))
}

fn has_empty_segment(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"//")
}

/// A separator or NUL in code, or a dot or separator in code twice, for services that decode twice.
fn has_encoded_separator(segment: &[u8]) -> bool {
    let once = segment.windows(3).any(|code| match code {
        [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C'] | [b'%', b'0', b'0'] => true,
        [..] => false,
    });
    let twice = segment.windows(5).any(|code| match code {
        [b'%', b'2', b'5', b'2', b'e' | b'E' | b'f' | b'F'] | [b'%', b'2', b'5', b'5', b'c' | b'C'] => true,
        [..] => false,
    });
    once || twice
}

fn is_dots(segment: &str) -> bool {
    let mut n_dots = 0_usize;
    for byte in meaning(segment.as_bytes()) {
        if byte != b'.' {
            return false;
        }
        n_dots += 1;
    }
    n_dots == 1 || n_dots == 2
}

/// Whether a segment that is not `label` may be read as `label` by a service: after decoding, or without its path
/// parameters (`admin;x=1`), or without regard to case, as many frameworks route (`ADMIN`). A service behind a proxy of its own
/// may decode twice (`%2561dmin`).
pub fn is_disguise(segment: &str, label: &str) -> bool {
    let reads_as_label = |segment: &[u8]| meaning(segment).map(lower).eq(label.bytes().map(lower));
    segment != label
        && (reads_as_label(segment.as_bytes())
            || (segment.contains("%25") && reads_as_label(&meaning(segment.as_bytes()).collect::<Vec<_>>())))
}

fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// The segment's bytes, decoded once, up to its path parameters.
fn meaning(segment: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let (byte, left) = match rest {
            [b'%', high, low, left @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, left),
                (None, _) | (_, None) => (b'%', rest.get(1..).unwrap_or_default()),
            },
            [byte, left @ ..] => (*byte, left),
            [] => return None,
        };
        if byte == b';' {
            rest = &[];
            return None;
        }
        rest = left;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Splits the first segment off a raw path: `/a/b` → (`a`, `/b`). `None` when nothing is left.
pub fn first_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/').filter(|rest| !rest.is_empty())?;
    Some(path.find('/').map_or((path, ""), |at| path.split_at(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_two_programs_may_read_differently_are_ambiguous() {
        for path in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5C",
            "/a\\b",
            "/a%00",
            "//a",
            "/a//b",
            "/a//",
            "/..",
            "/a/../b",
            "/a/..",
            "/a/./b",
            "/.",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a/%2e",
            "/a/..;x=1/b",
            "/a/..%3bx/b",
            "/a/.;/b",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_are_not_ambiguous() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.txt",
            "/a/.well-known/x",
            "/a/...",
            "/a/..b",
            "/a/b..",
            "/a%20b",
            "/a/%2eb",
            "/%25",
            "/a%2",
            "/a%",
            "/a/b;v=1",
            "/a/%C3%A9",
            "/a/;x",
            "/a%zz",
            "*",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn a_segment_in_disguise_is_seen() {
        for segment in
            ["%61dmin", "a%64min", "%61%64%6d%69%6e", "%61%64%6D%69%6E", "admin;x=1", "admin;", "admin%3b", "%2561dmin"]
        {
            assert!(is_disguise(segment, "admin"), "{segment}");
        }
        for segment in ["admin", "admin1", "%61dmi", "%61dmin1", "administrator", "%252561dmin", ";admin", "%zzadmin"] {
            assert!(!is_disguise(segment, "admin"), "{segment}");
        }
    }

    #[test]
    fn segments_come_off_one_by_one() {
        for (path, expected) in [
            ("/a/b", Some(("a", "/b"))),
            ("/a", Some(("a", ""))),
            ("/a/", Some(("a", "/"))),
            ("/", None),
            ("", None),
            ("*", None),
            ("//a", Some(("", "/a"))),
        ] {
            assert_eq!(first_segment(path), expected, "{path}");
        }
    }
}
