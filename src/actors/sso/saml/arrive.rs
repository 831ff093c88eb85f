//! A response that a browser posts for a provider.

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::super::outcome::{random_text, record_failure};
use super::super::{SsoDesk, SsoError, begin, hash};
use super::{blocking, entity_id, identity_provider, service_provider, without_keys};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::saml::{Expectation, Peeked, SamlRefusal, ServiceProvider, VerifiedAssertion};
use crate::clock;
use crate::db::saml_assertions::{self, Arrival};
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::FlowPurpose;
use crate::db::{TenantTx, sso_connections, sso_flows};
use crate::domain::audit::AuditSource;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::saml::Said;

/// Longest `RelayState` that is kept of a response that nobody asked for.
const MAX_RELAY_STATE: usize = 2_000;

/// What a browser posts.
#[derive(Debug)]
pub struct Posted {
    /// `SAMLResponse`.
    pub response: String,
    /// `RelayState`.
    pub relay_state: Option<String>,
}

/// Which response is looked for.
struct Awaited {
    connection: Connection,
    /// The flow that it answers, and the ID of the request; none = nobody asked for it.
    asked: Option<(Uuid, String)>,
}

/// Checks a response and uses its assertion up; returns what the browser comes back with for it, by GET. Nobody is admitted yet. `word`
/// is the name of an error in the API.
///
/// # Errors
/// [`SsoError::InvalidState`] if nothing waits for it, [`SsoError::Saml`], [`SsoError::Replayed`], or the database's. The last flow is
/// none the worse for it: whoever posts nonsense ends nobody's sign-in.
pub async fn arrive(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    posted: Posted,
    source: &AuditSource,
    word: impl Fn(&SsoError) -> &'static str,
) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let Posted { response, relay_state } = posted;
    let response: Arc<str> = response.into();
    let awaited = match find_flow(desk, &view, relay_state.as_deref()).await? {
        Some(awaited) => awaited,
        None => find_unsolicited(desk, &view, &response).await?,
    };
    let id = awaited.connection.id;
    let outcome = believe(desk, &view, awaited, response, relay_state).await;
    if let Err(error) = &outcome
        && desk.failures.take(view.tenant.id, clock::now_s())
    {
        record_failure(desk, &view, id, FlowPurpose::SignIn, word(error), error, source.clone()).await?;
    }
    outcome
}

/// The flow that `RelayState` stands for, if it is one of ours at all. One of ours that does not wait is no other kind of sign-in either.
async fn find_flow(desk: &SsoDesk, view: &TenantView, relay_state: Option<&str>) -> Result<Option<Awaited>, SsoError> {
    let decode = |text| row_token::decode(text, RowTokenPurpose::SsoState, view.tenant.id, &view.keys.rows).ok();
    let Some(id) = relay_state.and_then(decode) else { return Ok(None) };
    let mut tx = TenantTx::begin_read(&desk.auth.db, view.tenant.id).await?;
    let waiting = sso_flows::find_waiting(&mut tx, id).await;
    tx.finish();
    let (connection, request) = waiting?.ok_or(SsoError::InvalidState)?;
    let connection = begin::usable(desk, view, connection).await?;
    Ok(Some(Awaited { connection, asked: Some((id, request)) }))
}

/// The connection that believes what nobody asked for, and that the response says it is for. What it says is not verified, and does no
/// more than choose the connection that everything is verified by.
async fn find_unsolicited(desk: &SsoDesk, view: &TenantView, response: &Arc<str>) -> Result<Awaited, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, view.tenant.id).await?;
    let connections = sso_connections::list(&mut tx).await;
    tx.finish();
    let believes = |connection: &Connection| {
        connection.is_enabled && connection.saml().is_some_and(|settings| settings.idp_initiated)
    };
    let mut open: Vec<Connection> = connections?.into_iter().filter(believes).collect();
    // Nothing of strangers is parsed where nobody expects them.
    if open.is_empty() {
        return Err(SsoError::InvalidState);
    }
    let (verifier, text) = (Arc::clone(&desk.saml), Arc::clone(response));
    let peeked = blocking(move || verifier.peek(&text)).await?.ok_or(SsoError::InvalidState)?;
    open.retain(|connection| is_for(view, connection, &peeked));
    match <[Connection; 1]>::try_from(open) {
        Ok([connection]) => Ok(Awaited { connection, asked: None }),
        Err(_none_or_several) => Err(SsoError::InvalidState),
    }
}

/// Whether a response names this connection. In an encrypted one no audience is to be seen: then the issuer has to do.
fn is_for(view: &TenantView, connection: &Connection, peeked: &Peeked) -> bool {
    match &peeked.audience {
        Some(audience) => *audience == entity_id(view, connection.id),
        None => peeked.issuer.as_deref() == Some(connection.provider()),
    }
}

async fn believe(
    desk: &SsoDesk,
    view: &TenantView,
    awaited: Awaited,
    response: Arc<str>,
    relay_state: Option<String>,
) -> Result<String, SsoError> {
    let Awaited { connection, asked } = awaited;
    let settings = connection.saml().ok_or(SsoError::InvalidState)?;
    let (flow, request_id) = asked.unzip();
    let verify = async |sp: ServiceProvider| {
        let (verifier, response, request_id) = (Arc::clone(&desk.saml), Arc::clone(&response), request_id.clone());
        let (idp, want_encrypted) = (identity_provider(settings), settings.want_encrypted);
        blocking(move || {
            let expect = Expectation { request_id: request_id.as_deref(), want_encrypted, now: clock::now() };
            verifier.verify(&sp, &idp, &response, &expect)
        })
        .await
    };
    // Our keys are opened for what is encrypted and looks as it should, and for nothing else that strangers post.
    let assertion = match verify(without_keys(view, connection.id)).await? {
        Err(SamlRefusal::DecryptionFailed) => verify(service_provider(desk, view, connection.id).await?).await?,
        first => first,
    }?;
    let VerifiedAssertion { assertion_id, keep_until, name_id, name_id_format, authn_instant, authn_context, .. } =
        assertion;
    let said = Said { name_id, name_id_format, authn_instant, authn_context, attributes: assertion.attributes };
    let relay_state = relay_state.filter(|text| flow.is_none() && text.len() <= MAX_RELAY_STATE);
    let arrival = Arrival { connection: connection.id, flow, relay_state, said };
    let text = random_text()?;
    let ttl_s = i64::try_from(desk.auth.settings.sso.code_ttl_s).unwrap_or(0);
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    if !saml_assertions::use_up(&mut tx, connection.id, &hash(&assertion_id), keep_until).await? {
        return Err(SsoError::Replayed);
    }
    let expires_at = clock::now() + TimeDelta::seconds(ttl_s);
    saml_assertions::insert_arrival(&mut tx, &hash(&text), &arrival, expires_at).await?;
    tx.commit().await?;
    Ok(text)
}
