//! Connections as a tenant's admins manage them.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{SECRETS_DEADLINE, SsoDesk, SsoError, event, saml};
use crate::actors::accounts::Asker;
use crate::actors::auth::revoke_here;
use crate::actors::secrets::{SealSecret, StoredSecret};
use crate::actors::tenant::TenantHandle;
use crate::clients::oidc::end_session_url;
use crate::clock;
use crate::db::saml_keys::SamlKeyState;
use crate::db::sso_connections::{self, Connection, Protocol};
use crate::db::totp_factors::SealedSecret;
use crate::db::{
    TenantTx, audit, email_domains, factors, mfa_challenges, sso_identities, sso_sessions, tenants, user_admin,
};
use crate::domain::email_domain::EmailDomain;
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::{ConnectionId, SessionId};
use crate::domain::sso::MAX_CONNECTIONS;
use crate::domain::user_admin::guarded_role;

/// A connection to be. Its id is made here.
#[derive(Debug)]
pub struct NewConnection {
    /// What it is.
    pub connection: Connection,
    /// The platform's secret as a client.
    pub client_secret: Option<SecretString>,
    /// Whose people sign in by it: proved domains.
    pub domains: Vec<EmailDomain>,
}

/// A changed connection.
#[derive(Debug)]
pub struct ConnectionChange {
    /// What it is now.
    pub connection: Connection,
    /// Another secret; none = it stays.
    pub client_secret: Option<SecretString>,
    /// Whose people sign in by it now; none = it stays.
    pub domains: Option<Vec<EmailDomain>>,
}

/// Makes a connection.
///
/// # Errors
/// [`SsoError::NameTaken`], [`SsoError::TooMany`], [`SsoError::UnprovedDomain`], [`SsoError::OwnersOnly`], or the database's.
pub async fn create(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    asker: Asker,
    new: NewConnection,
) -> Result<Connection, SsoError> {
    let NewConnection { mut connection, client_secret, domains } = new;
    check_owner(&asker, &connection)?;
    connection.id = clock::new_id();
    let sealed = seal(desk, tenant, connection.id, client_secret).await?;
    let key = match &connection.protocol {
        Protocol::Oidc(_) => None,
        Protocol::Saml(_) => Some(saml::make_key(desk, tenant, connection.id, SamlKeyState::Active).await?),
    };
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    sso_connections::lock_all(&mut tx).await?;
    let n = sso_connections::list(&mut tx).await?.len();
    if i64::try_from(n).unwrap_or(i64::MAX) >= MAX_CONNECTIONS {
        return Err(SsoError::TooMany);
    }
    sso_connections::insert(&mut tx, &connection, sealed.as_ref()).await?;
    if let Some(key) = &key {
        saml::insert_first(&mut tx, key).await?;
    }
    bind(&mut tx, connection.id, &domains).await?;
    record(&mut tx, asker, "sso_connection.create", &connection, Some(&domains), sealed.is_some()).await?;
    let made = sso_connections::find(&mut tx, connection.id).await?.ok_or(SsoError::UnknownConnection)?;
    tx.commit().await?;
    Ok(made)
}

/// Changes a connection. One that is switched off ends the sessions that came by it, and the sign-ins by it that wait.
///
/// # Errors
/// As [`create`], [`SsoError::UnknownConnection`], and [`SsoError::LastWay`].
pub async fn update(
    desk: &SsoDesk,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    change: ConnectionChange,
) -> Result<Connection, SsoError> {
    let ConnectionChange { connection, client_secret, domains } = change;
    check_owner(&asker, &connection)?;
    let sealed = seal(desk, tenant, connection.id, client_secret).await?;
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    sso_connections::lock_all(&mut tx).await?;
    let before = sso_connections::find(&mut tx, connection.id).await?.ok_or(SsoError::UnknownConnection)?;
    // Nobody but an owner has a hand in a connection that makes owners, whatever they change of it.
    check_owner(&asker, &before)?;
    if before.revision != connection.revision {
        return Err(SsoError::Changed);
    }
    check_keys_owner(&mut tx, &asker, &before, &connection).await?;
    sso_connections::update(&mut tx, &connection, sealed.as_ref()).await?;
    if let Some(domains) = &domains {
        bind(&mut tx, connection.id, domains).await?;
    }
    let ended = if before.is_enabled && !connection.is_enabled {
        check_ways_left(&mut tx).await?;
        end_sessions(desk, &mut tx, connection.id).await?
    } else {
        Vec::new()
    };
    record(&mut tx, asker, "sso_connection.update", &connection, domains.as_deref(), sealed.is_some()).await?;
    let changed = sso_connections::find(&mut tx, connection.id).await?.ok_or(SsoError::UnknownConnection)?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(changed)
}

/// Deletes a connection with the links of its people, and ends the sessions that came by it.
///
/// # Errors
/// [`SsoError::UnknownConnection`], [`SsoError::LastWay`], [`SsoError::OwnersOnly`], or the database's.
pub async fn delete(
    desk: &SsoDesk,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    id: ConnectionId,
) -> Result<(), SsoError> {
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    sso_connections::lock_all(&mut tx).await?;
    let connection = sso_connections::find(&mut tx, id).await?.ok_or(SsoError::UnknownConnection)?;
    check_owner(&asker, &connection)?;
    let ended = end_sessions(desk, &mut tx, id).await?;
    sso_connections::delete(&mut tx, id).await?;
    check_ways_left(&mut tx).await?;
    record(&mut tx, asker, "sso_connection.delete", &connection, None, false).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}

/// Refuses to make providers the only way in where that would lock everybody out: there must be a connection that works, and somebody
/// who can do everything and gets in when it does not.
///
/// # Errors
/// [`SsoError::LastWay`], or the database's.
pub async fn check_enforcement(tx: &mut TenantTx, in_platform: bool) -> Result<(), SsoError> {
    if !sso_connections::list(tx).await?.iter().any(|connection| connection.is_enabled) {
        return Err(SsoError::LastWay("there is no connection that is switched on"));
    }
    let role = guarded_role(in_platform);
    // None of them loses their factor meanwhile.
    user_admin::lock_able(tx, role).await?;
    if factors::list_able_with_factor(tx, role).await?.is_empty() {
        return Err(SsoError::LastWay(
            "no owner has a password and a second factor, to get in when the provider is away",
        ));
    }
    Ok(())
}

/// The connections for an address, by its domain alone: whether anybody has the address is not looked at.
///
/// # Errors
/// The database's.
pub async fn connections_of_address(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    email: &EmailAddress,
) -> Result<Vec<Connection>, SsoError> {
    let Some(domain) = EmailDomain::of(email) else { return Ok(Vec::new()) };
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant.id()).await?;
    let row = email_domains::find(&mut tx, &domain).await?;
    let id = row.filter(|row| row.verified_at.is_some()).and_then(|row| row.connection_id);
    let found = match id {
        Some(id) => sso_connections::find(&mut tx, id.into()).await?,
        None => None,
    };
    tx.finish();
    Ok(found.into_iter().filter(|connection| connection.is_enabled).collect())
}

/// Where the browser of a session that came by a provider is sent to sign out there too. A provider that does not say, or that cannot be
/// asked, keeps nobody from signing out here.
///
/// # Errors
/// The database's.
pub async fn end_session(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    session: SessionId,
) -> Result<Option<String>, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant.id()).await?;
    let connection = match sso_sessions::find(&mut tx, session).await? {
        Some(id) => sso_connections::find(&mut tx, id).await?,
        None => None,
    };
    tx.finish();
    let Some(connection) = connection else { return Ok(None) };
    let oidc = match &connection.protocol {
        Protocol::Oidc(oidc) => oidc,
        // No message goes with it: what the provider does there is its own affair.
        Protocol::Saml(settings) => return Ok(settings.logout_url.clone()),
    };
    match desk.providers.get(&desk.outbound.of(tenant.id()), &oidc.issuer).await {
        Ok(provider) => {
            let return_to = oidc.post_logout_url.as_deref();
            Ok(end_session_url(&provider.discovery, &oidc.client_id, return_to))
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, connection.id = %connection.id, "no sign-out there");
            Ok(None)
        }
    }
}

/// Whoever can have a provider make owners is as good as one.
pub(super) fn check_owner(asker: &Asker, connection: &Connection) -> Result<(), SsoError> {
    let may = matches!(asker.role, Role::Owner | Role::Operator) || !connection.roles.gives(Role::Owner);
    if may { Ok(()) } else { Err(SsoError::OwnersOnly) }
}

/// Whoever sets the keys of a SAML provider can sign anybody in who is linked there, and whoever says which of a provider's second
/// factors count, or that they do, takes the factor away that would be asked for here: where an owner is linked, that is an owner's to
/// change.
async fn check_keys_owner(
    tx: &mut TenantTx,
    asker: &Asker,
    before: &Connection,
    after: &Connection,
) -> Result<(), SsoError> {
    let factors = |of: &Connection| (of.trusts_mfa, of.oidc().map(|oidc| oidc.mfa_acr_values.clone()));
    let is_same = before.saml() == after.saml() && factors(before) == factors(after);
    let is_owner = matches!(asker.role, Role::Owner | Role::Operator);
    if is_same || is_owner || !sso_identities::has_guarded(tx, before.id).await? {
        return Ok(());
    }
    Err(SsoError::OwnersOnly)
}

async fn seal(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    id: ConnectionId,
    secret: Option<SecretString>,
) -> Result<Option<SealedSecret>, SsoError> {
    let Some(secret) = secret else { return Ok(None) };
    let plaintext = Zeroizing::new(secret.expose_secret().as_bytes().to_vec());
    let message = SealSecret { tenant: tenant.id(), secret: StoredSecret::SsoClient(id), plaintext };
    Ok(Some(desk.auth.secrets.ask(message, SECRETS_DEADLINE).await?))
}

async fn bind(tx: &mut TenantTx, id: ConnectionId, domains: &[EmailDomain]) -> Result<(), SsoError> {
    let names: Vec<String> = domains.iter().map(EmailDomain::to_string).collect();
    let n_bound = email_domains::bind(tx, id, &names).await?;
    if usize::try_from(n_bound) == Ok(names.len()) { Ok(()) } else { Err(SsoError::UnprovedDomain) }
}

async fn check_ways_left(tx: &mut TenantTx) -> Result<(), SsoError> {
    let is_enforced = tenants::find(tx).await?.is_some_and(|tenant| tenant.config.sso.enforced);
    let has_way = sso_connections::list(tx).await?.iter().any(|connection| connection.is_enabled);
    if is_enforced && !has_way {
        return Err(SsoError::LastWay("everybody signs in by this connection: switch sso.enforced off first"));
    }
    Ok(())
}

async fn end_sessions(desk: &SsoDesk, tx: &mut TenantTx, id: ConnectionId) -> Result<Vec<SessionId>, SsoError> {
    // Sign-ins that wait for their second factor would become sessions.
    mfa_challenges::delete_of_connection(tx, id, None).await?;
    let mut ended = Vec::new();
    for session in sso_sessions::list(tx, id).await? {
        if desk.auth.sessions.revoke(tx, session, "sso_connection_off").await? {
            ended.push(session);
        }
    }
    Ok(ended)
}

async fn record(
    tx: &mut TenantTx,
    asker: Asker,
    action: &'static str,
    connection: &Connection,
    domains: Option<&[EmailDomain]>,
    has_new_secret: bool,
) -> Result<(), SsoError> {
    let domains: Option<Vec<&str>> = domains.map(|domains| domains.iter().map(EmailDomain::as_str).collect());
    let protocol = match &connection.protocol {
        Protocol::Oidc(oidc) => json!({ "issuer": oidc.issuer, "client_id": oidc.client_id }),
        Protocol::Saml(settings) => json!({
            "entity_id": settings.idp_entity_id, "metadata_url": settings.metadata_url,
            "n_certificates": settings.certificates.len(), "idp_initiated": settings.idp_initiated,
            "want_encrypted": settings.want_encrypted,
        }),
    };
    let mut detail: Value = json!({
        "name": connection.name, "kind": connection.kind(),
        "is_enabled": connection.is_enabled, "jit": connection.jit, "trusts_mfa": connection.trusts_mfa,
        "default_role": connection.roles.default, "role_map": connection.roles.rules, "sync_roles": connection.sync_roles,
        "domains": domains, "new_secret": has_new_secret,
    });
    if let (Value::Object(detail), Value::Object(protocol)) = (&mut detail, protocol) {
        detail.extend(protocol);
    }
    let target = ("sso_connection", connection.id.to_string());
    audit::insert(tx, &event(asker.actor, action, target, asker.source, detail)).await?;
    Ok(())
}
