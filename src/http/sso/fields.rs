//! What admins send, checked: one answer names every mistake.

use secrecy::{ExposeSecret, SecretString};

use super::saml_fields::{change, new_settings};
use super::views::{CreateConnectionRequest, CreateOidcRequest, UpdateConnectionRequest, UpdateOidcRequest};
use crate::actors::sso::{ConnectionChange, NewConnection, SsoDesk};
use crate::clients::outbound::{Outbound, OutboundError};
use crate::clock;
use crate::db::sso_connections::{Connection, OidcSettings, Protocol};
use crate::domain::email_domain::{EmailDomain, EmailDomainError, MAX_DOMAINS};
use crate::domain::identity::{Role, parse_person_name};
use crate::domain::ids::{ConnectionId, TenantId};
use crate::domain::sso::{ConnectionKind, RolePolicy, SubjectFrom};
use crate::domain::tenant::is_return_url;
use crate::http::problem::{FieldError, Problem};

/// Entries of a list of words at most.
const MAX_WORDS: usize = 20;

/// A connection to be. Metadata of SAML that has a URL is read for it.
pub(super) async fn new_connection(
    desk: &SsoDesk,
    tenant: TenantId,
    body: CreateConnectionRequest,
) -> Result<NewConnection, Problem> {
    let CreateConnectionRequest {
        name,
        kind,
        oidc,
        saml,
        enabled,
        jit,
        trust_mfa,
        role_claim,
        role_map,
        default_role,
        sync_roles,
        domains,
    } = body;
    let mut errors = Vec::new();
    let mut client_secret = None;
    let protocol = match (kind, oidc, saml) {
        (ConnectionKind::Oidc, Some(oidc), None) => {
            let (settings, secret) = new_oidc(&desk.outbound, &mut errors, oidc);
            client_secret = secret;
            Some(Protocol::Oidc(settings))
        }
        (ConnectionKind::Saml, None, Some(saml)) => {
            new_settings(desk, tenant, &mut errors, saml).await.map(|settings| Protocol::Saml(Box::new(settings)))
        }
        (kind, oidc, saml) => {
            for (own, pointer, is_there) in
                [(ConnectionKind::Oidc, "/oidc", oidc.is_some()), (ConnectionKind::Saml, "/saml", saml.is_some())]
            {
                match (own == kind, is_there) {
                    (true, false) => errors.push(error(pointer, "is needed")),
                    (false, true) => errors.push(error(pointer, "is of another kind")),
                    (true, true) | (false, false) => {}
                }
            }
            None
        }
    };
    let Some(protocol) = protocol else { return Err(Problem::invalid_fields(errors)) };
    let now = clock::now();
    let connection = Connection {
        id: ConnectionId::from(uuid::Uuid::nil()),
        name,
        is_enabled: enabled.unwrap_or(true),
        jit,
        sync_roles,
        roles: RolePolicy { claim: role_claim, rules: role_map, default: default_role.unwrap_or(Role::Member) },
        trusts_mfa: trust_mfa,
        protocol,
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    let domains = parse_domains(&mut errors, &domains);
    let connection = checked(connection, client_secret.as_ref(), errors)?;
    Ok(NewConnection { connection, client_secret, domains })
}

fn new_oidc(
    outbound: &Outbound,
    errors: &mut Vec<FieldError>,
    body: CreateOidcRequest,
) -> (OidcSettings, Option<SecretString>) {
    let CreateOidcRequest { issuer, client_id, client_secret, scopes, subject_from, mfa_acr_values, post_logout_url } =
        body;
    if let Err(why) = check_issuer(outbound, &issuer) {
        errors.push(error("/oidc/issuer", why));
    }
    let settings = OidcSettings {
        subject_from: subject_from.unwrap_or_else(|| SubjectFrom::of_issuer(&issuer)),
        issuer,
        client_id,
        has_secret: client_secret.is_some(),
        scopes: scopes.unwrap_or_else(|| vec!["email".to_owned(), "profile".to_owned()]),
        mfa_acr_values,
        post_logout_url,
    };
    (settings, client_secret)
}

/// A connection with a change. Metadata of SAML that has a new URL is read for it.
pub(super) async fn changed_connection(
    desk: &SsoDesk,
    tenant: TenantId,
    mut connection: Connection,
    body: UpdateConnectionRequest,
) -> Result<ConnectionChange, Problem> {
    let UpdateConnectionRequest {
        name,
        enabled,
        jit,
        trust_mfa,
        role_claim,
        role_map,
        default_role,
        sync_roles,
        domains,
        oidc,
        saml,
    } = body;
    set(&mut connection.name, name);
    set(&mut connection.is_enabled, enabled);
    set(&mut connection.jit, jit);
    set(&mut connection.trusts_mfa, trust_mfa);
    set_or_clear(&mut connection.roles.claim, role_claim);
    set(&mut connection.roles.rules, role_map);
    set(&mut connection.roles.default, default_role);
    set(&mut connection.sync_roles, sync_roles);
    let mut errors = Vec::new();
    let mut client_secret = None;
    match (&mut connection.protocol, oidc, saml) {
        (Protocol::Oidc(_) | Protocol::Saml(_), None, None) => {}
        (Protocol::Oidc(settings), Some(oidc), None) => {
            let UpdateOidcRequest { client_id, client_secret: secret, scopes, mfa_acr_values, post_logout_url } = oidc;
            set(&mut settings.client_id, client_id);
            set(&mut settings.scopes, scopes);
            set(&mut settings.mfa_acr_values, mfa_acr_values);
            set_or_clear(&mut settings.post_logout_url, post_logout_url);
            client_secret = secret;
        }
        (Protocol::Saml(settings), None, Some(saml)) => change(desk, tenant, &mut errors, settings, saml).await,
        (Protocol::Oidc(_), _, Some(_)) => errors.push(error("/saml", "is of another kind")),
        (Protocol::Saml(_), Some(_), _) => errors.push(error("/oidc", "is of another kind")),
    }
    let domains = domains.map(|domains| parse_domains(&mut errors, &domains));
    let connection = checked(connection, client_secret.as_ref(), errors)?;
    Ok(ConnectionChange { connection, client_secret, domains })
}

pub(super) fn set<T>(field: &mut T, wish: Option<T>) {
    if let Some(wish) = wish {
        *field = wish;
    }
}

pub(super) fn set_or_clear(field: &mut Option<String>, wish: Option<String>) {
    if let Some(wish) = wish {
        *field = Some(wish).filter(|text| !text.is_empty());
    }
}

fn checked(
    mut connection: Connection,
    secret: Option<&SecretString>,
    mut errors: Vec<FieldError>,
) -> Result<Connection, Problem> {
    match parse_person_name(&connection.name) {
        Ok(name) => connection.name = name,
        Err(why) => errors.push(error("/name", why)),
    }
    let mistakes = connection.roles.mistakes(connection.kind());
    errors.extend(mistakes.into_iter().map(|(pointer, why)| error(&pointer, why)));
    if let Some(oidc) = connection.oidc() {
        check_oidc(&mut errors, oidc, secret);
    }
    if errors.is_empty() { Ok(connection) } else { Err(Problem::invalid_fields(errors)) }
}

fn check_oidc(errors: &mut Vec<FieldError>, oidc: &OidcSettings, secret: Option<&SecretString>) {
    if !is_text(&oidc.client_id, 500) {
        errors.push(error("/oidc/client_id", "must be 1 to 500 characters without control characters"));
    }
    if secret.is_some_and(|secret| !is_text(secret.expose_secret(), 2_000)) {
        errors.push(error("/oidc/client_secret", "must be 1 to 2000 characters without control characters"));
    }
    // RFC 6749 §3.3; `acr` values are asked for in a list with spaces between, too.
    let is_word = |word: &String| {
        (1..=200).contains(&word.len()) && word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    for (pointer, words) in [("/oidc/scopes", &oidc.scopes), ("/oidc/mfa_acr_values", &oidc.mfa_acr_values)] {
        if words.len() > MAX_WORDS || !words.iter().all(is_word) {
            errors.push(error(pointer, "must be at most 20 words without blanks"));
        }
    }
    if oidc.post_logout_url.as_ref().is_some_and(|url| !is_return_url(url)) {
        errors
            .push(error("/oidc/post_logout_url", "must be a URL such as https://app.example.com/, without a fragment"));
    }
}

/// An issuer that may be asked: a URL without query and fragment (OpenID Connect Discovery 1.0 §3).
fn check_issuer(outbound: &Outbound, issuer: &str) -> Result<(), OutboundError> {
    if issuer.len() > 2_000 || issuer.contains(['?', '#', ' ']) {
        return Err(OutboundError::Url);
    }
    outbound.check_url(issuer)
}

fn parse_domains(errors: &mut Vec<FieldError>, texts: &[String]) -> Vec<EmailDomain> {
    if i64::try_from(texts.len()).unwrap_or(i64::MAX) > MAX_DOMAINS {
        errors.push(error("/domains", "has too many entries"));
        return Vec::new();
    }
    let mut domains = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match EmailDomain::parse(text) {
            Ok(domain) => domains.push(domain),
            Err(
                why @ (EmailDomainError::Malformed | EmailDomainError::PublicProvider | EmailDomainError::Platform),
            ) => {
                errors.push(error(&format!("/domains/{index}"), why));
            }
        }
    }
    domains.sort();
    domains.dedup();
    domains
}

pub(super) fn is_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

pub(super) fn error(pointer: &str, why: impl std::fmt::Display) -> FieldError {
    FieldError { pointer: pointer.to_owned(), detail: why.to_string() }
}
