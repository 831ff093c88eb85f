//! Sending a browser to a provider.

use chrono::TimeDelta;
use secrecy::SecretString;
use uuid::Uuid;

use super::{SsoDesk, SsoError, hash, saml};
use crate::actors::auth::{SignedInUser, lock_signed_in};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::oidc::{self, Authorization};
use crate::clock;
use crate::db::TenantTx;
use crate::db::sso_connections::{self, Connection, OidcSettings, Protocol};
use crate::db::sso_flows::{self, FlowPurpose, NewFlow};
use crate::domain::ids::ConnectionId;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::sso::{is_page_of, may_return_to};

/// Longest text of a client's own.
const MAX_CLIENT_STATE: usize = 512;

/// What a client wants of a flow.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Where the browser goes afterwards; none = the tenant's front page.
    pub return_to: Option<String>,
    /// What the client wants back with the code.
    pub client_state: Option<String>,
    /// PKCE challenge (S256) of the client that will redeem the code; none = the browser's cookie is asked for.
    pub code_challenge: Option<String>,
}

/// A browser that wants to leave.
#[derive(Debug)]
pub struct Start<'a> {
    /// For the provider of this connection.
    pub connection: ConnectionId,
    /// With a ticket that a signed-in user got; none = to sign in.
    pub ticket: Option<&'a str>,
    /// What its client wants.
    pub wish: Wish,
    /// Whom the sign-in is for, if the client knows.
    pub login_hint: Option<&'a str>,
    /// What the browser's cookie says.
    pub browser: &'a str,
}

/// How a browser leaves.
#[derive(Debug)]
pub enum Departure {
    /// It is sent to this URL.
    Redirect(String),
    /// It posts a form.
    Form {
        /// Where to.
        action: String,
        /// Names and values, not escaped for HTML.
        fields: Vec<(String, String)>,
    },
}

/// Writes a flow down and returns how the browser leaves for the provider.
///
/// # Errors
/// [`SsoError::UnknownConnection`], [`SsoError::ReturnTo`], [`SsoError::InvalidState`] for a bad ticket, [`SsoError::Provider`],
/// [`SsoError::SamlRequest`], or the database's.
pub async fn begin(desk: &SsoDesk, tenant: &TenantHandle, start: Start<'_>) -> Result<Departure, SsoError> {
    let view = tenant.view_full();
    let connection = usable(desk, &view, start.connection).await?;
    match &connection.protocol {
        Protocol::Oidc(oidc) => begin_oidc(desk, &view, &connection, oidc, start).await,
        Protocol::Saml(settings) => saml::begin(desk, &view, &connection, settings, start).await,
    }
}

async fn begin_oidc(
    desk: &SsoDesk,
    view: &TenantView,
    connection: &Connection,
    oidc: &OidcSettings,
    start: Start<'_>,
) -> Result<Departure, SsoError> {
    // Before anything is written: a provider that is away leaves no row behind.
    let provider = desk.providers.get(&desk.outbound.of(view.tenant.id), &oidc.issuer).await?;
    let login_hint = start.login_hint;
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let (id, purpose) = write_down(desk, view, &mut tx, connection, start).await?;
    tx.commit().await?;
    let registration = desk.registration(view, connection.id, oidc).await?;
    let state = row_token::encode(RowTokenPurpose::SsoState, id, view.tenant.id, &view.keys.rows);
    let fresh = match purpose {
        FlowPurpose::StepUp => Some(oidc.mfa_acr_values.as_slice()),
        FlowPurpose::SignIn | FlowPurpose::Link => None,
    };
    let authorization = Authorization {
        state: &state,
        nonce: &nonce(view, id),
        verifier: &verifier(view, id),
        scopes: &oidc.scopes,
        login_hint,
        fresh,
    };
    Ok(Departure::Redirect(oidc::authorization_url(&registration, &provider.discovery, &authorization)?))
}

/// The flow that a browser leaves with: a new one, or the one of its ticket.
pub(super) async fn write_down(
    desk: &SsoDesk,
    view: &TenantView,
    tx: &mut TenantTx,
    connection: &Connection,
    start: Start<'_>,
) -> Result<(Uuid, FlowPurpose), SsoError> {
    let Start { connection: _, ticket, wish, login_hint: _, browser } = start;
    let browser = hash(browser);
    let Some(ticket) = ticket else {
        let id = insert(desk, view, tx, connection, FlowPurpose::SignIn, None, Some(&browser), wish).await?;
        return Ok((id, FlowPurpose::SignIn));
    };
    let id = row_token::decode(ticket, RowTokenPurpose::SsoTicket, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| SsoError::InvalidState)?;
    let flow = sso_flows::bind(tx, id, &browser).await?;
    let flow = flow.filter(|flow| flow.connection == connection.id).ok_or(SsoError::InvalidState)?;
    Ok((id, flow.purpose))
}

/// Writes a flow down for a signed-in user; returns the ticket that their browser leaves with.
///
/// # Errors
/// [`SsoError::UnknownConnection`], [`SsoError::ReturnTo`], or the database's.
pub async fn begin_for_user(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    by: &SignedInUser,
    connection: ConnectionId,
    purpose: FlowPurpose,
    wish: Wish,
) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let connection = usable(desk, &view, connection).await?;
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    lock_signed_in(&desk.auth, &mut tx, by).await?;
    let id = insert(desk, &view, &mut tx, &connection, purpose, Some(by), None, wish).await?;
    tx.commit().await?;
    Ok(row_token::encode(RowTokenPurpose::SsoTicket, id, view.tenant.id, &view.keys.rows))
}

/// A connection that people may sign in by.
pub(super) async fn usable(desk: &SsoDesk, view: &TenantView, id: ConnectionId) -> Result<Connection, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, view.tenant.id).await?;
    let connection = sso_connections::find(&mut tx, id).await;
    tx.finish();
    connection?.filter(|connection| connection.is_enabled).ok_or(SsoError::UnknownConnection)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one row")]
async fn insert(
    desk: &SsoDesk,
    view: &TenantView,
    tx: &mut TenantTx,
    connection: &Connection,
    purpose: FlowPurpose,
    by: Option<&SignedInUser>,
    browser: Option<&[u8]>,
    wish: Wish,
) -> Result<Uuid, SsoError> {
    let Wish { return_to, client_state, code_challenge } = wish;
    let return_to = return_to.unwrap_or_else(|| "/".to_owned());
    // S256 gives 43 characters of base64url (RFC 7636 §4.2).
    let is_base64 = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let may_return = may_return_to(&return_to, &view.tenant.config.sso.return_urls)
        || view.origins(&desk.auth.settings).any(|origin| is_page_of(&return_to, &origin));
    let is_fine = may_return
        && client_state.as_ref().is_none_or(|text| text.len() <= MAX_CLIENT_STATE && !text.contains('\0'))
        && code_challenge.as_ref().is_none_or(|text| text.len() == 43 && is_base64(text));
    if !is_fine {
        return Err(SsoError::ReturnTo);
    }
    let id: Uuid = clock::new_id();
    let ttl_s = i64::try_from(desk.auth.settings.sso.flow_ttl_s).unwrap_or(0);
    let new = NewFlow {
        id,
        connection: connection.id,
        purpose,
        by: by.map(|by| (by.user, by.session)),
        browser,
        return_to: &return_to,
        client_state: client_state.as_deref(),
        code_challenge: code_challenge.as_deref(),
        expires_at: clock::now() + TimeDelta::seconds(ttl_s),
    };
    sso_flows::insert(tx, &new).await?;
    Ok(id)
}

/// What comes back in the ID token of a flow.
pub(super) fn nonce(view: &TenantView, flow: Uuid) -> String {
    row_token::derived_secret("sso nonce", flow, view.tenant.id, &view.keys.rows)
}

/// PKCE verifier of a flow.
pub(super) fn verifier(view: &TenantView, flow: Uuid) -> SecretString {
    row_token::derived_secret("sso pkce", flow, view.tenant.id, &view.keys.rows).into()
}
