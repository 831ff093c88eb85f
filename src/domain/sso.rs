//! Connections to identity providers: what a tenant sets, and what a provider's word is worth.

use serde::{Deserialize, Serialize};

use super::assurance::Acr;
use super::identity::Role;

/// Most connections of one tenant.
pub const MAX_CONNECTIONS: i64 = 20;
/// Most values that mean roles.
pub const MAX_ROLE_RULES: usize = 200;
/// Clocks differ by so many seconds at most.
pub const LEEWAY_S: i64 = 30;
/// Ways of proving oneself that are two factors, as providers name them (RFC 8176 §2).
const MFA_METHODS: &[&str] = &["mfa", "otp", "hwk", "swk", "fido", "sc", "ngcmfa"];

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionKind {
    /// OpenID Connect.
    Oidc,
    /// SAML 2.0.
    Saml,
}

impl ConnectionKind {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Saml => "saml",
        }
    }

    /// The kind that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Oidc, Self::Saml].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What names a person at a provider for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectFrom {
    /// `sub`.
    Sub,
    /// `tid` and `oid` together, as Entra has them: its `sub` differs from application to application.
    TidOid,
}

impl SubjectFrom {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::TidOid => "tid_oid",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sub, Self::TidOid].into_iter().find(|from| from.as_str() == text)
    }

    /// What is right for an issuer that nobody said anything about.
    #[must_use]
    pub fn of_issuer(issuer: &str) -> Self {
        let host = issuer.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
        let is_entra = ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"]
            .contains(&host);
        if is_entra { Self::TidOid } else { Self::Sub }
    }
}

/// A value of the role claim, and the role that it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// The value, exactly.
    #[schema(example = "crm-admins")]
    pub value: String,
    /// The role.
    pub role: Role,
}

/// How a provider's claims become a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePolicy {
    /// The claim; none = everybody has the default.
    pub claim: Option<String>,
    /// The first rule that fits counts.
    pub rules: Vec<RoleRule>,
    /// The role of whom no rule fits.
    pub default: Role,
}

impl RolePolicy {
    /// The role of somebody with these values of the claim. Whoever runs the platform is made by nobody's provider.
    #[must_use]
    pub fn role_of(&self, values: &[String]) -> Role {
        let fits = |rule: &&RoleRule| rule.role != Role::Operator && values.contains(&rule.value);
        match self.rules.iter().find(fits).map(|rule| rule.role) {
            Some(role) => role,
            None if self.default == Role::Operator => Role::Member,
            None => self.default,
        }
    }

    /// Whether it can give a role.
    #[must_use]
    pub fn gives(&self, role: Role) -> bool {
        self.default == role || self.rules.iter().any(|rule| rule.role == role)
    }

    /// Every mistake, as JSON pointer (RFC 6901) and sentence. SAML has usual names for the claim, OpenID Connect has none.
    #[must_use]
    pub fn mistakes(&self, kind: ConnectionKind) -> Vec<(String, &'static str)> {
        let mut mistakes = Vec::new();
        let is_word = |text: &str| (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if self.claim.as_ref().is_some_and(|claim| !is_word(claim) || claim.chars().count() > 100) {
            mistakes.push(("/role_claim".to_owned(), "must be 1 to 100 characters without control characters"));
        }
        if self.rules.len() > MAX_ROLE_RULES {
            mistakes.push(("/role_map".to_owned(), "must have at most 200 entries"));
        }
        if kind == ConnectionKind::Oidc && !self.rules.is_empty() && self.claim.is_none() {
            mistakes.push(("/role_claim".to_owned(), "is needed for role_map"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if !is_word(&rule.value) {
                mistakes.push((
                    format!("/role_map/{index}/value"),
                    "must be 1 to 200 characters without control characters",
                ));
            }
            if rule.role == Role::Operator {
                mistakes
                    .push((format!("/role_map/{index}/role"), "is for the platform's own tenant, and never mapped"));
            }
        }
        if matches!(self.default, Role::Operator | Role::Owner) {
            mistakes.push(("/default_role".to_owned(), "must be admin, member or billing"));
        }
        mistakes
    }
}

/// A person, as a provider that is believed describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What names them there for good.
    pub subject: String,
    /// Their e-mail address, and whether the provider says that it is theirs (`None` = it says nothing).
    pub email: Option<(String, Option<bool>)>,
    /// Their display name.
    pub name: Option<String>,
    /// What may mean a role.
    pub role_values: Vec<String>,
}

/// What a provider said of how somebody proved who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderProof {
    /// `acr`.
    pub acr: Option<String>,
    /// `amr`.
    pub amr: Vec<String>,
    /// `auth_time`, in seconds since 1970.
    pub auth_time_s: Option<i64>,
}

/// What that is worth here. A second factor counts only if the connection trusts the provider with it, and only if it is known when
/// it was shown.
#[must_use]
pub fn assurance(proof: &ProviderProof, trusts_mfa: bool, mfa_acr_values: &[String]) -> Acr {
    let by_class = proof.acr.as_ref().is_some_and(|acr| mfa_acr_values.contains(acr));
    let by_method = proof.amr.iter().any(|method| MFA_METHODS.contains(&method.as_str()));
    if trusts_mfa && proof.auth_time_s.is_some() && (by_class || by_method) { Acr::Aal2 } else { Acr::Aal1 }
}

/// Whether a browser may be sent on to `target` after a sign-in: a path of the tenant's own host, or one of the addresses that its
/// admins have listed, to the letter (RFC 9700 §4.1.3).
#[must_use]
pub fn may_return_to(target: &str, listed: &[String]) -> bool {
    let is_path = target.starts_with('/') && !target.starts_with("//");
    is_clean(target) && (is_path || listed.iter().any(|allowed| allowed == target))
}

/// Whether `target` is a page below an origin, such as `https://app.acme.example`.
#[must_use]
pub fn is_page_of(target: &str, origin: &str) -> bool {
    is_clean(target) && target.strip_prefix(origin).is_some_and(|path| path.starts_with('/'))
}

fn is_clean(target: &str) -> bool {
    target.len() <= 2_000 && target.bytes().all(|b| (0x21..=0x7e).contains(&b) && !matches!(b, b'\\' | b'#'))
}

#[cfg(test)]
#[path = "sso_tests.rs"]
mod tests;
