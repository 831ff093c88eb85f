//! What an API key may do.

use std::fmt;

use serde::{Serialize, Serializer};

/// One permission of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `gateway:*`: call every service behind the gateway.
    AllServices,
    /// `gateway:/crm`: call the service whose route has exactly this prefix. A longer prefix is another route, and perhaps
    /// another service, so it needs a scope of its own.
    Service(Box<str>),
    /// `usage:write`: report usage.
    UsageWrite,
    /// `usage:read`: read usage, and the stream of what happens to it.
    UsageRead,
    /// `audit:read`: read the audit trail.
    AuditRead,
    /// `users:read`: list the tenant's users.
    UsersRead,
}

/// Not a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be gateway:* or gateway:/prefix of a route, usage:write, usage:read, audit:read or users:read")]
pub struct MalformedScope;

impl Scope {
    /// Parses a scope. Whether the gateway has a route with that prefix is not known here.
    ///
    /// # Errors
    /// [`MalformedScope`].
    pub fn parse(text: &str) -> Result<Self, MalformedScope> {
        match text {
            "gateway:*" => Ok(Self::AllServices),
            "usage:write" => Ok(Self::UsageWrite),
            "usage:read" => Ok(Self::UsageRead),
            "audit:read" => Ok(Self::AuditRead),
            "users:read" => Ok(Self::UsersRead),
            _ => {
                let prefix = text.strip_prefix("gateway:").ok_or(MalformedScope)?;
                let is_prefix = prefix.starts_with('/')
                    && prefix.len() <= 200
                    && prefix.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'"' | b'\\'));
                if is_prefix { Ok(Self::Service(bare(prefix).into())) } else { Err(MalformedScope) }
            }
        }
    }

    /// Whether it permits calls of the service with this route prefix.
    #[must_use]
    pub fn permits_service(&self, prefix: &str) -> bool {
        match self {
            Self::AllServices => true,
            Self::Service(own) => **own == *bare(prefix),
            Self::UsageWrite | Self::UsageRead | Self::AuditRead | Self::UsersRead => false,
        }
    }
}

/// A prefix as routes are told apart: a slash at the end says nothing.
fn bare(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllServices => f.write_str("gateway:*"),
            Self::Service(prefix) if prefix.is_empty() => f.write_str("gateway:/"),
            Self::Service(prefix) => write!(f, "gateway:{prefix}"),
            Self::UsageWrite => f.write_str("usage:write"),
            Self::UsageRead => f.write_str("usage:read"),
            Self::AuditRead => f.write_str("audit:read"),
            Self::UsersRead => f.write_str("users:read"),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back() {
        for text in [
            "gateway:*",
            "gateway:/",
            "gateway:/crm",
            "gateway:/a/b",
            "usage:write",
            "usage:read",
            "audit:read",
            "users:read",
        ] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Scope::parse("gateway:/crm/"), Scope::parse("gateway:/crm"));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in
            ["", "*", "gateway:", "gateway:crm", "gateway:/a b", "gateway:/a\"", "usage:*", "Audit:read", "admin"]
        {
            assert_eq!(Scope::parse(text), Err(MalformedScope), "{text}");
        }
    }

    #[test]
    fn a_service_is_permitted_by_its_whole_prefix_only() {
        let crm = Scope::parse("gateway:/crm").expect("a scope");
        assert!(crm.permits_service("/crm") && crm.permits_service("/crm/"));
        for other in ["/", "/crmx", "/crm/admin", "/c"] {
            assert!(!crm.permits_service(other), "{other}");
        }
        assert!(Scope::AllServices.permits_service("/anything"));
        assert!(!Scope::UsageWrite.permits_service("/crm"));
        let root = Scope::parse("gateway:/").expect("a scope");
        assert!(root.permits_service("/") && !root.permits_service("/crm"));
    }
}
