//! Domains of e-mail addresses, and how a tenant shows that one is its own.

use std::fmt;

use super::identity::EmailAddress;

/// Looks, a day apart, that must miss the record before a domain is the tenant's no more: a mistake in a zone is mended by then.
pub const MAX_MISSED: i32 = 7;
/// Most domains of one tenant.
pub const MAX_DOMAINS: i64 = 100;

/// Where everybody can have an address: whoever verified one of these would sign in half the world.
const PUBLIC_PROVIDERS: &[&str] = &[
    "126.com",
    "163.com",
    "aim.com",
    "alice.it",
    "aol.com",
    "arcor.de",
    "att.net",
    "bigpond.com",
    "bluewin.ch",
    "bol.com.br",
    "btinternet.com",
    "charter.net",
    "comcast.net",
    "cox.net",
    "daum.net",
    "duck.com",
    "email.com",
    "fastmail.com",
    "fastmail.fm",
    "foxmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hanmail.net",
    "hey.com",
    "hotmail.be",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.es",
    "hotmail.fr",
    "hotmail.it",
    "hushmail.com",
    "icloud.com",
    "inbox.com",
    "interia.pl",
    "laposte.net",
    "libero.it",
    "live.co.uk",
    "live.com",
    "live.fr",
    "live.nl",
    "mac.com",
    "mail.com",
    "mail.de",
    "mail.ru",
    "mailbox.org",
    "mailinator.com",
    "me.com",
    "msn.com",
    "naver.com",
    "o2.pl",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "outlook.es",
    "outlook.fr",
    "passport.com",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.ch",
    "protonmail.com",
    "qq.com",
    "rambler.ru",
    "rediffmail.com",
    "rocketmail.com",
    "sbcglobal.net",
    "seznam.cz",
    "sfr.fr",
    "sina.com",
    "sky.com",
    "t-online.de",
    "telenet.be",
    "tuta.com",
    "tutanota.com",
    "uol.com.br",
    "verizon.net",
    "virgilio.it",
    "wanadoo.fr",
    "web.de",
    "wp.pl",
    "yahoo.ca",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.com.br",
    "yahoo.de",
    "yahoo.es",
    "yahoo.fr",
    "yahoo.it",
    "yandex.com",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
];

/// Why a domain cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailDomainError {
    /// Not a name in DNS.
    #[error("must be a domain such as example.com, in ASCII (an international name in its xn-- form)")]
    Malformed,
    /// Everybody can have an address there.
    #[error("is a public e-mail provider's: its addresses are not your organisation's")]
    PublicProvider,
    /// Below the platform's own domain.
    #[error("is the platform's own")]
    Platform,
}

/// A domain, in the form in which it is compared: lower case, ASCII, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailDomain(String);

impl EmailDomain {
    /// Reads a domain of two or more labels (RFC 1035 §2.3.1, RFC 1123 §2.1).
    ///
    /// # Errors
    /// [`EmailDomainError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, EmailDomainError> {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let labels: Vec<&str> = text.split('.').collect();
        let has_letters_last = labels.last().is_some_and(|last| last.bytes().any(|b| b.is_ascii_lowercase()));
        if text.len() <= 231 && labels.len() >= 2 && labels.iter().all(|label| is_label(label)) && has_letters_last {
            Ok(Self(text))
        } else {
            Err(EmailDomainError::Malformed)
        }
    }

    /// The domain of an address; none if it is no name in DNS, so that no tenant can have claimed it.
    #[must_use]
    pub fn of(email: &EmailAddress) -> Option<Self> {
        email.norm().rsplit_once('@').and_then(|(_, domain)| Self::parse(domain).ok())
    }

    /// Whether a tenant may claim it, on a platform whose own domain is `base`.
    ///
    /// # Errors
    /// [`EmailDomainError::PublicProvider`] or [`EmailDomainError::Platform`].
    pub fn check_claim(&self, base: &str) -> Result<(), EmailDomainError> {
        if PUBLIC_PROVIDERS.contains(&self.0.as_str()) {
            return Err(EmailDomainError::PublicProvider);
        }
        let is_below = self.0.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if is_below { Err(EmailDomainError::Platform) } else { Ok(()) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_names_of_two_labels_or_more() {
        for (text, domain) in [
            ("Example.COM", "example.com"),
            (" a.b.example. ", "a.b.example"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ] {
            assert_eq!(EmailDomain::parse(text).as_ref().map(EmailDomain::as_str), Ok(domain), "{text}");
        }
        for text in [
            "",
            "com",
            "a..b",
            ".a.b",
            "-a.de",
            "a-.de",
            "a_b.de",
            "münchen.de",
            "127.0.0.1",
            "a b.de",
            "a.de/x",
            "*.a.de",
        ] {
            assert_eq!(EmailDomain::parse(text), Err(EmailDomainError::Malformed), "{text}");
        }
        assert!(EmailDomain::parse(&format!("{}.de", "a".repeat(64))).is_err());
        assert!(EmailDomain::parse(&format!("{}de", "abcdefghi.".repeat(24))).is_err());
    }

    #[test]
    fn what_is_everybodys_is_claimed_by_nobody() {
        let claim = |text: &str| EmailDomain::parse(text).expect("a domain").check_claim("saas.example");
        assert_eq!(claim("gmail.com"), Err(EmailDomainError::PublicProvider));
        assert_eq!(claim("acme.example"), Ok(()));
        assert_eq!(claim("saas.example"), Err(EmailDomainError::Platform));
        assert_eq!(claim("acme.saas.example"), Err(EmailDomainError::Platform));
        assert_eq!(claim("notsaas.example"), Ok(()));
        assert!(
            PUBLIC_PROVIDERS.iter().all(|name| EmailDomain::parse(name).is_ok_and(|domain| domain.as_str() == *name))
        );
    }

    #[test]
    fn an_address_has_the_domain_after_its_last_at() {
        let of = |text: &str| EmailDomain::of(&EmailAddress::parse(text).expect("an address"));
        assert_eq!(of("Ann@Acme.Example").map(|domain| domain.to_string()).as_deref(), Some("acme.example"));
        assert_eq!(of("ann@localhost"), None);
    }
}
