//! Tenants: names, subdomains, state and the configuration that their admins set.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::TenantId;

/// Subdomains that belong to the platform or that would mislead people.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "blog",
    "cdn",
    "console",
    "dashboard",
    "demo-admin",
    "dev",
    "developer",
    "docs",
    "email",
    "ftp",
    "gateway",
    "help",
    "hostmaster",
    "id",
    "imap",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "mx",
    "noc",
    "ns1",
    "ns2",
    "oauth",
    "operator",
    "platform",
    "pop",
    "postmaster",
    "root",
    "scim",
    "security",
    "smtp",
    "sso",
    "staging",
    "static",
    "status",
    "support",
    "system",
    "test",
    "webhook",
    "webhooks",
    "webmaster",
    "wpad",
    "www",
];

/// Slug of the platform's own small tenant, home of the operators.
pub const PLATFORM_SLUG: &str = "platform";

/// What is wrong with a tenant's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Not one DNS label.
    #[error("must be 1 to 63 characters of a-z, 0-9 and '-', beginning and ending with a letter or digit")]
    MalformedSlug,
    /// On the list of reserved words.
    #[error("is reserved")]
    ReservedSlug,
    /// Empty, too long, or with control characters.
    #[error("must be 1 to 200 characters without control characters")]
    MalformedName,
    /// Not an origin.
    #[error("must be an origin such as https://app.example.com")]
    MalformedOrigin,
    /// Not an address that a browser could be sent to.
    #[error("must be a URL such as https://app.example.com/signed-in, without a fragment")]
    MalformedUrl,
    /// Out of its range.
    #[error("must be between {min} and {max}")]
    OutOfRange {
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// Too many entries.
    #[error("must have at most {max} entries")]
    TooMany {
        /// Largest number allowed.
        max: usize,
    },
}

/// A tenant's subdomain: one DNS label (RFC 1035 §2.3.1), lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(Box<str>);

impl Slug {
    /// Parses a label that exists already, reserved words included.
    ///
    /// # Errors
    /// [`TenantError::MalformedSlug`].
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        let bytes = text.as_bytes();
        let is_edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let well_formed = bytes.len() <= 63
            && is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if well_formed { Ok(Self(text.into())) } else { Err(TenantError::MalformedSlug) }
    }

    /// Parses a label that somebody wants to have. Punycode (`xn--`) is refused: it imitates other names.
    ///
    /// # Errors
    /// [`TenantError::MalformedSlug`] or [`TenantError::ReservedSlug`].
    pub fn parse_new(text: &str, also_reserved: &[String]) -> Result<Self, TenantError> {
        let slug = Self::parse(text)?;
        // A subdomain that reads as an id would name two tenants at once.
        let is_reserved = uuid::Uuid::try_parse(text).is_ok()
            || RESERVED.contains(&text)
            || text.starts_with("xn--")
            || also_reserved.iter().any(|word| word == text);
        if is_reserved { Err(TenantError::ReservedSlug) } else { Ok(slug) }
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tenant's display name: 1 to 200 characters, trimmed, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TenantName(String);

impl TenantName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`TenantError::MalformedName`].
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        let text = text.trim();
        let length = text.chars().count();
        if (1..=200).contains(&length) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TenantError::MalformedName)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// In use.
    Active,
    /// Switched off by an operator; everything is kept.
    Suspended,
    /// Switched off; its data is erased after a grace period.
    Deleting,
}

impl TenantState {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
        }
    }

    /// The state that the database's word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleting].into_iter().find(|state| state.as_str() == text)
    }
}

/// A tenant as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its subdomain.
    pub slug: Slug,
    /// Its display name.
    pub name: String,
    /// Where its data lives.
    pub region: String,
    /// Name of its plan.
    pub plan: String,
    /// Where it is in its life.
    pub state: TenantState,
    /// Raised by security switches; tokens of a lower epoch are refused.
    pub epoch: i64,
    /// What its admins set.
    pub config: TenantConfig,
    /// Raised by every change of the tenant or its configuration.
    pub config_version: i64,
    /// When it was onboarded.
    pub created_at: DateTime<Utc>,
    /// When its data may be erased, for a tenant being deleted.
    pub delete_after: Option<DateTime<Utc>>,
}

/// What a tenant's admins set for their own tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// Origins whose pages may call this tenant's host with credentials (CORS); at most 50.
    pub cors_origins: Vec<String>,
    /// Tighter session lives than the platform's.
    pub session: SessionConfig,
    /// Everybody needs a second factor.
    pub mfa_required: bool,
    /// Tighter limits than the plan's.
    pub limits: LimitConfig,
    /// Sign-in by the tenant's identity provider.
    #[serde(skip_serializing_if = "SsoConfig::is_default")]
    pub sso: SsoConfig,
}

/// What a tenant asks of sign-ins by its identity provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SsoConfig {
    /// Nobody signs in any other way, but for owners with a second factor.
    pub enforced: bool,
    /// Addresses that browsers may be sent to after a sign-in, besides paths of the tenant's own host; to the letter, at most 50.
    pub return_urls: Vec<String>,
}

impl SsoConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A tenant's own session lives; none = the platform's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Seconds without a refresh after which a session ends (60 to 31,536,000).
    pub idle_timeout_s: Option<u64>,
    /// Seconds after sign-in at which a session ends (60 to 31,536,000).
    pub absolute_timeout_s: Option<u64>,
}

/// A tenant's own limits; none = the plan's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Requests a minute, at most the plan's figure.
    pub requests_per_minute: Option<u32>,
}

impl TenantConfig {
    /// Whether this asks less of users than `before`: no second factor or identity provider any more, longer sessions, or further
    /// places that codes are brought to. Other settings do not matter here.
    #[must_use]
    pub fn is_laxer_than(&self, before: &Self) -> bool {
        let longer =
            |now: Option<u64>, before: Option<u64>| before.is_some_and(|before| now.is_none_or(|now| now > before));
        let (now, then) = (&self.session, &before.session);
        (before.mfa_required && !self.mfa_required)
            || (before.sso.enforced && !self.sso.enforced)
            || self.sso.return_urls.iter().any(|url| !before.sso.return_urls.contains(url))
            || longer(now.idle_timeout_s, then.idle_timeout_s)
            || longer(now.absolute_timeout_s, then.absolute_timeout_s)
    }

    /// Everything wrong with the configuration, as JSON pointer (RFC 6901) and mistake. `plan_per_minute` is the plan's
    /// request limit, which a tenant may lower and not raise.
    #[must_use]
    pub fn mistakes(&self, plan_per_minute: u32) -> Vec<(String, TenantError)> {
        let Self { cors_origins, session, mfa_required: _, limits, sso } = self;
        let mut mistakes = Vec::new();
        if cors_origins.len() > 50 {
            mistakes.push(("/cors_origins".to_owned(), TenantError::TooMany { max: 50 }));
        }
        for (index, origin) in cors_origins.iter().enumerate() {
            if !is_origin(origin) {
                mistakes.push((format!("/cors_origins/{index}"), TenantError::MalformedOrigin));
            }
        }
        if sso.return_urls.len() > 50 {
            mistakes.push(("/sso/return_urls".to_owned(), TenantError::TooMany { max: 50 }));
        }
        for (index, url) in sso.return_urls.iter().enumerate() {
            if !is_return_url(url) {
                mistakes.push((format!("/sso/return_urls/{index}"), TenantError::MalformedUrl));
            }
        }
        let seconds = 60..=31_536_000;
        for (pointer, value) in [
            ("/session/idle_timeout_s", session.idle_timeout_s),
            ("/session/absolute_timeout_s", session.absolute_timeout_s),
        ] {
            if value.is_some_and(|value| !seconds.contains(&value)) {
                let error = TenantError::OutOfRange { min: *seconds.start(), max: *seconds.end() };
                mistakes.push((pointer.to_owned(), error));
            }
        }
        if limits.requests_per_minute.is_some_and(|value| value == 0 || value > plan_per_minute) {
            let error = TenantError::OutOfRange { min: 1, max: u64::from(plan_per_minute) };
            mistakes.push(("/limits/requests_per_minute".to_owned(), error));
        }
        mistakes
    }
}

/// An origin as browsers send it (RFC 6454 §6.2): scheme, host and perhaps port, nothing after.
fn is_origin(text: &str) -> bool {
    text.len() <= 255
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            let scheme = uri.scheme_str().unwrap_or_default();
            let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            matches!(scheme, "http" | "https")
                && !authority.contains('@')
                && !authority.is_empty()
                && text.eq_ignore_ascii_case(&format!("{scheme}://{authority}"))
        })
}

/// Whether it is an address that a browser may be sent to: HTTPS, or HTTP of the same machine, without name, password and fragment.
#[must_use]
pub fn is_return_url(text: &str) -> bool {
    let is_clean = text.len() <= 1_000 && text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'\\' && b != b'#');
    is_clean
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            let is_local = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
                || uri.host().is_some_and(|host| host.ends_with(".localhost"));
            let is_known = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && is_local);
            is_known && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slug_is_one_dns_label() {
        for good in ["a", "acme", "a-b", "a1", "1a", "x".repeat(63).as_str()] {
            assert!(Slug::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "x".repeat(64).as_str()] {
            assert_eq!(Slug::parse(bad), Err(TenantError::MalformedSlug), "{bad}");
        }
    }

    #[test]
    fn reserved_words_and_punycode_are_refused_for_new_tenants_only() {
        for word in ["www", "api", "platform", "xn--mnchen-3ya", "01a1ffcd-925b-70d2-8325-eb74d7ab63a3"] {
            assert_eq!(Slug::parse_new(word, &[]), Err(TenantError::ReservedSlug), "{word}");
            assert!(Slug::parse(word).is_ok());
        }
        assert_eq!(Slug::parse_new("ours", &["ours".to_owned()]), Err(TenantError::ReservedSlug));
    }

    #[test]
    fn origins_have_no_path() {
        for good in ["https://app.example.com", "http://localhost:8080"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["https://app.example.com/", "*", "null", "ftp://x", "https://a@b", "https://a?b", ""] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn browsers_are_sent_to_https_or_to_the_same_machine() {
        for good in ["https://app.example.com/done?x=1", "http://localhost:8080/", "http://app.localhost/x"] {
            assert!(is_return_url(good), "{good}");
        }
        for bad in [
            "",
            "/path",
            "http://app.example.com/",
            "https://a@b/",
            "https://a/#b",
            "javascript:x",
            "https://a/ b",
            "//a",
        ] {
            assert!(!is_return_url(bad), "{bad}");
        }
    }

    #[test]
    fn less_is_asked_when_passwords_are_let_in_again_or_codes_go_elsewhere() {
        let config = |enforced, urls: &[&str]| TenantConfig {
            sso: SsoConfig { enforced, return_urls: urls.iter().map(|url| (*url).to_owned()).collect() },
            ..TenantConfig::default()
        };
        assert!(config(false, &[]).is_laxer_than(&config(true, &[])));
        assert!(config(true, &["https://a/"]).is_laxer_than(&config(true, &[])));
        assert!(!config(true, &[]).is_laxer_than(&config(false, &["https://a/"])));
        assert_eq!(config(false, &["x"]).mistakes(1).len(), 1);
    }

    #[test]
    fn less_is_asked_without_a_second_factor_or_with_longer_sessions() {
        let config = |mfa_required, idle_timeout_s| TenantConfig {
            mfa_required,
            session: SessionConfig { idle_timeout_s, absolute_timeout_s: None },
            ..TenantConfig::default()
        };
        let before = config(true, Some(600));
        for (after, is_laxer) in [
            (config(true, Some(600)), false),
            (config(true, Some(60)), false),
            (config(false, Some(600)), true),
            (config(true, Some(601)), true),
            (config(true, None), true),
        ] {
            assert_eq!(after.is_laxer_than(&before), is_laxer, "{after:?}");
        }
        assert!(!before.is_laxer_than(&TenantConfig::default()));
    }

    #[test]
    fn a_tenant_may_lower_its_limit_and_not_raise_it() {
        let config = |limit| TenantConfig {
            limits: LimitConfig { requests_per_minute: Some(limit) },
            ..TenantConfig::default()
        };
        assert!(config(1_000).mistakes(1_000).is_empty());
        assert_eq!(config(1_001).mistakes(1_000).len(), 1);
        assert_eq!(config(0).mistakes(1_000).len(), 1);
    }

    proptest! {
        #[test]
        fn parsing_a_slug_never_panics_and_keeps_the_text(text in "\\PC{0,80}") {
            if let Ok(slug) = Slug::parse(&text) {
                prop_assert_eq!(slug.as_str(), text);
            }
        }
    }
}
