//! A connection as its admins see it, and what they send.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::saml_views::{CreateSamlRequest, SamlResponse, UpdateSamlRequest};
use crate::actors::sso::redirect_uri;
use crate::actors::tenant::TenantView;
use crate::db::email_domains::DomainRow;
use crate::db::saml_keys::SamlKey;
use crate::db::sso_connections::{Connection, OidcSettings, Protocol};
use crate::domain::identity::Role;
use crate::domain::ids::ConnectionId;
use crate::domain::sso::{ConnectionKind, RoleRule, SubjectFrom};

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ConnectionResponse {
    /// Its id.
    id: ConnectionId,
    /// What it speaks.
    kind: ConnectionKind,
    /// Its name.
    name: String,
    /// Whether people may sign in by it.
    enabled: bool,
    /// Whether it makes users of people whom the tenant does not know.
    jit: bool,
    /// Whether second factors that the provider has seen count.
    trust_mfa: bool,
    /// Claim whose values mean roles.
    role_claim: Option<String>,
    /// Which value means which role.
    role_map: Vec<RoleRule>,
    /// The role of whom no value fits.
    default_role: Role,
    /// Whether the role is set at each sign-in.
    sync_roles: bool,
    /// Proved domains whose people sign in by it.
    domains: Vec<String>,
    /// The provider, if it is one of OpenID Connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc: Option<OidcResponse>,
    /// The provider, if it is one of SAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    saml: Option<SamlResponse>,
    /// To be registered with the provider, to the letter. For SAML it is the assertion consumer service (ACS) URL.
    redirect_uri: String,
    /// Where a browser is sent to sign in.
    start_url: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    updated_at: DateTime<Utc>,
}

/// A provider of OpenID Connect.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct OidcResponse {
    /// Its issuer.
    issuer: String,
    /// The platform's id as its client.
    client_id: String,
    /// Whether there is a client secret. It never comes back.
    has_client_secret: bool,
    /// Scopes that are asked for besides `openid`.
    scopes: Vec<String>,
    /// What names a person for good.
    subject_from: SubjectFrom,
    /// Values of `acr` that mean two factors.
    mfa_acr_values: Vec<String>,
    /// Where the provider sends browsers after a sign-out.
    post_logout_url: Option<String>,
}

impl From<OidcSettings> for OidcResponse {
    fn from(settings: OidcSettings) -> Self {
        let OidcSettings { issuer, client_id, has_secret, scopes, subject_from, mfa_acr_values, post_logout_url } =
            settings;
        Self { issuer, client_id, has_client_secret: has_secret, scopes, subject_from, mfa_acr_values, post_logout_url }
    }
}

impl ConnectionResponse {
    pub(super) fn new(view: &TenantView, connection: Connection, domains: &[DomainRow], keys: &[SamlKey]) -> Self {
        let kind = connection.kind();
        let Connection {
            id,
            name,
            is_enabled,
            jit,
            sync_roles,
            roles,
            trusts_mfa,
            protocol,
            revision: _,
            created_at,
            updated_at,
        } = connection;
        let (oidc, saml) = match protocol {
            Protocol::Oidc(settings) => (Some(OidcResponse::from(settings)), None),
            Protocol::Saml(settings) => (None, Some(SamlResponse::new(view, id, *settings, keys))),
        };
        let own = domains.iter().filter(|row| row.connection_id == Some(id.uuid()));
        Self {
            id,
            kind,
            name,
            enabled: is_enabled,
            jit,
            trust_mfa: trusts_mfa,
            role_claim: roles.claim,
            role_map: roles.rules,
            default_role: roles.default,
            sync_roles,
            domains: own.map(|row| row.domain.clone()).collect(),
            oidc,
            saml,
            redirect_uri: redirect_uri(view),
            start_url: format!("{}/auth/sso/{id}", view.issuer),
            created_at,
            updated_at,
        }
    }
}

/// A tenant's connections.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ConnectionsResponse {
    /// By name.
    pub(super) connections: Vec<ConnectionResponse>,
}

/// A connection to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateConnectionRequest {
    /// 1 to 200 characters, unique in the tenant.
    #[schema(example = "Acme Entra")]
    pub(super) name: String,
    /// What it speaks. It never changes.
    pub(super) kind: ConnectionKind,
    /// The provider, if it is one of OpenID Connect.
    pub(super) oidc: Option<CreateOidcRequest>,
    /// The provider, if it is one of SAML.
    pub(super) saml: Option<CreateSamlRequest>,
    /// What else is said of it.
    #[serde(default)]
    pub(super) enabled: Option<bool>,
    /// Make users of people whom the tenant does not know; false if left out.
    #[serde(default)]
    pub(super) jit: bool,
    /// Count second factors that the provider has seen; false if left out.
    #[serde(default)]
    pub(super) trust_mfa: bool,
    /// Claim (for SAML: attribute) whose values mean roles, such as `groups`. For SAML, the usual ones if left out.
    pub(super) role_claim: Option<String>,
    /// Which value means which role; the first that fits counts. `owner` is set by owners only.
    #[serde(default)]
    pub(super) role_map: Vec<RoleRule>,
    /// The role of whom no value fits; `member` if left out.
    pub(super) default_role: Option<Role>,
    /// Set the role again at each sign-in; false if left out. Owners stay owners.
    #[serde(default)]
    pub(super) sync_roles: bool,
    /// Proved domains whose people sign in by it.
    #[serde(default)]
    pub(super) domains: Vec<String>,
}

/// A provider of OpenID Connect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateOidcRequest {
    /// Its issuer, to the letter: the URL before `/.well-known/openid-configuration`. It never changes.
    #[schema(example = "https://login.microsoftonline.com/8f6bd982-92c3-4de0-985d-0e287c55e379/v2.0")]
    pub(super) issuer: String,
    /// The platform's id as its client.
    pub(super) client_id: String,
    /// The platform's secret as its client; none = a public client.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) client_secret: Option<SecretString>,
    /// Scopes besides `openid`; `email` and `profile` if left out.
    pub(super) scopes: Option<Vec<String>>,
    /// What names a person for good; if left out, what is right for the issuer. It never changes.
    pub(super) subject_from: Option<SubjectFrom>,
    /// Values of `acr` that mean two factors.
    #[serde(default)]
    pub(super) mfa_acr_values: Vec<String>,
    /// Where the provider sends browsers after a sign-out; to be registered with it.
    pub(super) post_logout_url: Option<String>,
}

/// What to change of a connection; what is left out stays. An empty text takes a value away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdateConnectionRequest {
    /// 1 to 200 characters, unique in the tenant.
    pub(super) name: Option<String>,
    /// Off, it lets nobody in, and the sessions that came by it end.
    pub(super) enabled: Option<bool>,
    /// Make users of people whom the tenant does not know.
    pub(super) jit: Option<bool>,
    /// Count second factors that the provider has seen.
    pub(super) trust_mfa: Option<bool>,
    /// Claim whose values mean roles.
    pub(super) role_claim: Option<String>,
    /// Which value means which role.
    pub(super) role_map: Option<Vec<RoleRule>>,
    /// The role of whom no value fits.
    pub(super) default_role: Option<Role>,
    /// Set the role again at each sign-in.
    pub(super) sync_roles: Option<bool>,
    /// Proved domains whose people sign in by it.
    pub(super) domains: Option<Vec<String>>,
    /// The provider, if it is one of OpenID Connect.
    pub(super) oidc: Option<UpdateOidcRequest>,
    /// The provider, if it is one of SAML.
    pub(super) saml: Option<UpdateSamlRequest>,
}

/// What to change of a provider.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdateOidcRequest {
    /// The platform's id as its client.
    pub(super) client_id: Option<String>,
    /// Another secret.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) client_secret: Option<SecretString>,
    /// Scopes besides `openid`.
    pub(super) scopes: Option<Vec<String>>,
    /// Values of `acr` that mean two factors.
    pub(super) mfa_acr_values: Option<Vec<String>>,
    /// Where the provider sends browsers after a sign-out.
    pub(super) post_logout_url: Option<String>,
}

/// What was found out about a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TestResponse {
    /// Whether nothing failed. It says nothing about what cannot be known from here.
    pub(super) ok: bool,
    /// What was looked at, in order; what builds on something that failed is left out.
    pub(super) checks: Vec<CheckResponse>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CheckResponse {
    /// Its name, stable for programs.
    #[schema(example = "discovery")]
    pub(super) check: &'static str,
    /// `ok`, `warning`, `failed`, or `unknown`: it cannot be known from here.
    #[schema(example = "ok")]
    pub(super) state: &'static str,
    /// What was found, for people.
    pub(super) detail: String,
}
