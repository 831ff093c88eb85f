//! The browser that comes for what a response said, by a link of this host.

use super::super::outcome::{self, Named, conclude};
use super::super::{SsoDesk, SsoError, begin, hash};
use crate::actors::tenant::TenantHandle;
use crate::clock;
use crate::db::TenantTx;
use crate::db::saml_assertions::{self, Arrival};
use crate::db::sso_flows::{self, Flow, FlowPurpose};
use crate::domain::audit::AuditSource;
use crate::domain::saml::Said;
use crate::domain::sso::may_return_to;

/// Uses up what arrived together with the flow that it answers, and gives the browser a code for its client; returns where the browser
/// goes now, with `code` or `error`. A flow is used up by the browser that began it and by no other, which changes nothing. `word` is the
/// name of an error in the API.
///
/// # Errors
/// [`SsoError::InvalidState`] if nothing waits for this browser, or the database's. Everything later is told to the client.
pub async fn collect(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    arrival: &str,
    browser: &str,
    source: &AuditSource,
    word: impl Fn(&SsoError) -> &'static str,
) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let browser = hash(browser);
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let arrived = saml_assertions::take_arrival(&mut tx, &hash(arrival)).await?.ok_or(SsoError::InvalidState)?;
    let Arrival { connection, flow, relay_state, said } = arrived;
    let flow = match flow {
        Some(id) => sso_flows::spend(&mut tx, id, &browser).await?.ok_or(SsoError::InvalidState)?,
        None => Flow {
            connection,
            purpose: FlowPurpose::SignIn,
            by: None,
            return_to: relay_state
                .filter(|target| may_return_to(target, &view.tenant.config.sso.return_urls))
                .unwrap_or_else(|| "/".to_owned()),
            client_state: None,
            code_challenge: None,
            created_at: clock::now(),
        },
    };
    tx.commit().await?;
    let outcome = finish(desk, tenant, &flow, &said, browser, source).await;
    outcome::tell(desk, &view, &flow, outcome, source.clone(), word).await
}

async fn finish(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    flow: &Flow,
    said: &Said,
    browser: Vec<u8>,
    source: &AuditSource,
) -> Result<String, SsoError> {
    // Switched off meanwhile, it lets nobody in.
    let connection = begin::usable(desk, &tenant.view_full(), flow.connection).await?;
    let settings = connection.saml().ok_or(SsoError::InvalidState)?;
    let person = said.person(settings, connection.roles.claim.as_deref()).ok_or(SsoError::NoSubject)?;
    let named = Named { person, proof: said.proof(), mfa_values: &settings.mfa_contexts };
    conclude(desk, tenant, &connection, flow, named, browser, source).await
}
