//! Hosts of their own at which tenants are reached.

use std::fmt;

/// Most hosts of one tenant.
pub const MAX_HOSTS: i64 = 20;
/// Longest host, so that the name of its record is still one in DNS (RFC 1035 §2.3.4).
const MAX_LENGTH: usize = 231;

/// Why a host cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CustomHostError {
    /// Not a name in DNS.
    #[error("must be a host such as app.example.com, without scheme, port and path")]
    Malformed,
    /// The platform's own, or below it, or set aside by its operator.
    #[error("is the platform's own")]
    Platform,
}

/// A host, in the one form in which it is stored and compared: lower case, ASCII, without port and dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomHost(String);

impl CustomHost {
    /// Reads a host of two or more labels, also an international one (UTS 46, RFC 5891).
    ///
    /// # Errors
    /// [`CustomHostError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CustomHostError> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_errors: idna::Errors| CustomHostError::Malformed)?;
        if is_host_name(&ascii) { Ok(Self(ascii)) } else { Err(CustomHostError::Malformed) }
    }

    /// Whether a tenant may claim it, on a platform whose own domain is `base` and whose operator has given away `reserved` hosts.
    ///
    /// # Errors
    /// [`CustomHostError::Platform`].
    pub fn check_claim<'a>(
        &self,
        base: &str,
        mut reserved: impl Iterator<Item = &'a String>,
    ) -> Result<(), CustomHostError> {
        let is_below = self.0.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if is_below || reserved.any(|host| *host == self.0) { Err(CustomHostError::Platform) } else { Ok(()) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a request's host may be one that somebody has claimed: two or more labels in lower-case ASCII (RFC 1123 §2.1), and no
/// address. Costs little, because every request with a host that is not the platform's is asked.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of an address begins with a digit, whether it is written in decimal, octal or hexadecimal.
    let is_name = text.rsplit_once('.').is_some_and(|(_, last)| last.starts_with(|c: char| c.is_ascii_lowercase()));
    is_name && text.len() <= MAX_LENGTH && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (text, host) in [
            ("App.Customer.COM", "app.customer.com"),
            (" app.customer.com. ", "app.customer.com"),
            ("münchen.example", "xn--mnchen-3ya.example"),
            ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
            ("mu\u{308}nchen.example", "xn--mnchen-3ya.example"),
            ("XN--Mnchen-3YA.example", "xn--mnchen-3ya.example"),
            ("ａｐｐ．customer。com", "app.customer.com"),
            ("customer.com", "customer.com"),
        ] {
            let parsed = CustomHost::parse(text);
            assert_eq!(parsed.as_ref().map(CustomHost::as_str), Ok(host), "{text}");
            assert_eq!(CustomHost::parse(host).as_ref().map(CustomHost::as_str), Ok(host), "{host} stays as it is");
            assert!(is_host_name(host));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "com",
            "localhost",
            "a..b",
            ".a.b",
            "a.b..",
            "-a.de",
            "a-.de",
            "a_b.de",
            "a b.de",
            "a.de:443",
            "https://a.de",
            "a.de/x",
            "user@a.de",
            "*.a.de",
            "127.0.0.1",
            "127.0.0.0x1",
            "0x7f.1",
            "[::1]",
            "::1",
            "xn--a.de",
            "xn--.de",
            "a\0b.de",
            "%61.de",
        ] {
            assert_eq!(CustomHost::parse(text), Err(CustomHostError::Malformed), "{text}");
        }
        assert!(CustomHost::parse(&format!("{}.de", "a".repeat(64))).is_err());
        assert!(CustomHost::parse(&format!("{}de", "abcdefghi.".repeat(23))).is_err());
        assert!(CustomHost::parse(&format!("{}de", "abcdefghi.".repeat(22))).is_ok());
    }

    #[test]
    fn what_is_the_platforms_is_claimed_by_nobody() {
        let reserved = ["app.acme.example".to_owned()];
        let claim = |text: &str| CustomHost::parse(text).expect("a host").check_claim("saas.example", reserved.iter());
        assert_eq!(claim("saas.example"), Err(CustomHostError::Platform));
        assert_eq!(claim("ACME.Saas.Example."), Err(CustomHostError::Platform));
        assert_eq!(claim("a.b.saas.example"), Err(CustomHostError::Platform));
        assert_eq!(claim("app.acme.example"), Err(CustomHostError::Platform), "the operator's configuration has it");
        assert_eq!(claim("notsaas.example"), Ok(()));
        assert_eq!(claim("www.acme.example"), Ok(()));
    }
}
