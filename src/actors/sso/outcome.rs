//! What comes of a person whom a provider has named, whatever the protocol: a code for the client, or an error that it can read.

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::url::Url;
use serde_json::json;

use super::{SsoDesk, SsoError, admit, hash};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::kms::{self, MasterKeyError};
use crate::clock;
use crate::db::sso_codes::{self, Code};
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::{Flow, FlowPurpose};
use crate::db::{TenantTx, audit};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::ConnectionId;
use crate::domain::sso::{LEEWAY_S, Person, ProviderProof, assurance};

/// A person whom a provider has named, and how they proved it.
pub(super) struct Named<'a> {
    pub(super) person: Person,
    pub(super) proof: ProviderProof,
    /// Classes of proof that mean two factors.
    pub(super) mfa_values: &'a [String],
}

/// Admits the person, and makes the code that the browser brings to its client; returns the code.
pub(super) async fn conclude(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    connection: &Connection,
    flow: &Flow,
    named: Named<'_>,
    browser: Vec<u8>,
    source: &AuditSource,
) -> Result<String, SsoError> {
    let view = &tenant.view_full();
    let (acr, auth_time) = judge(connection, flow, &named)?;
    let Named { person, proof, mfa_values: _ } = named;
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let admitted = admit::admit(desk, view, &mut tx, connection, flow, &person, source).await?;
    let text = random_text()?;
    let ttl_s = i64::try_from(desk.auth.settings.sso.code_ttl_s).unwrap_or(0);
    let code = Code {
        connection: connection.id,
        purpose: flow.purpose,
        user: admitted.user,
        session: flow.by.map(|(_, session)| session),
        subject: person.subject,
        acr,
        amr: proof.amr,
        auth_time,
        browser,
        code_challenge: flow.code_challenge.clone(),
        expires_at: clock::now() + TimeDelta::seconds(ttl_s),
    };
    sso_codes::insert(&mut tx, &hash(&text), &code).await?;
    tx.commit().await?;
    admitted.announce(tenant).await;
    Ok(text)
}

/// 256 random bits, which nobody can try out.
pub(super) fn random_text() -> Result<String, SsoError> {
    let random: [u8; 32] = kms::random().map_err(|_random: MasterKeyError| SsoError::Random)?;
    Ok(hex::encode(random))
}

/// How strong the proof is, and when it was shown. An unknown time is the oldest one, so that nothing fresh is believed of it.
fn judge(connection: &Connection, flow: &Flow, named: &Named<'_>) -> Result<(Acr, DateTime<Utc>), SsoError> {
    let Named { person: _, proof, mfa_values } = named;
    let acr = assurance(proof, connection.trusts_mfa, mfa_values);
    let auth_time = proof.auth_time_s.map(|seconds| DateTime::from_timestamp(seconds, 0).ok_or(SsoError::ProofTime));
    let auth_time = auth_time.transpose()?.unwrap_or(DateTime::UNIX_EPOCH);
    let now = clock::now();
    if auth_time > now + TimeDelta::seconds(LEEWAY_S) {
        return Err(SsoError::ProofTime);
    }
    if flow.purpose == FlowPurpose::StepUp {
        if auth_time < flow.created_at - TimeDelta::seconds(LEEWAY_S) {
            return Err(SsoError::NoStepUp("the provider did not ask the person again"));
        }
        if acr < Acr::Aal2 {
            return Err(SsoError::NoStepUp("the provider showed no second factor that this connection trusts"));
        }
    }
    Ok((acr, auth_time.min(now)))
}

/// Where the browser goes after `outcome`: with the code, or with the error, which is written down. `word` is the name of an error in the
/// API.
pub(super) async fn tell(
    desk: &SsoDesk,
    view: &TenantView,
    flow: &Flow,
    outcome: Result<String, SsoError>,
    source: AuditSource,
    word: impl Fn(&SsoError) -> &'static str,
) -> Result<String, SsoError> {
    if let Err(error) = &outcome {
        record_failure(desk, view, flow.connection, flow.purpose, word(error), error, source).await?;
    }
    let (name, value) = match outcome {
        Ok(code) => ("code", code),
        Err(error) => ("error", word(&error).to_owned()),
    };
    onward(view, flow, name, &value).ok_or(SsoError::ReturnTo)
}

pub(super) async fn record_failure(
    desk: &SsoDesk,
    view: &TenantView,
    connection: ConnectionId,
    purpose: FlowPurpose,
    word: &'static str,
    error: &SsoError,
    source: AuditSource,
) -> Result<(), SsoError> {
    tracing::info!(error = error as &dyn std::error::Error, tenant.id = %view.tenant.id, "a sign-in by a provider failed");
    let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let event = AuditEvent {
        actor: AuditActor::Anonymous,
        action: "sso.sign_in",
        target_kind: "sso_connection",
        target_id: Some(connection.to_string()),
        outcome: AuditOutcome::Denied,
        code: Some(word),
        source,
        detail: json!({ "purpose": purpose.as_str(), "reason": reason }),
    };
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    audit::insert(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}

/// `return_to` with what the client is told. It was looked at when the flow began.
fn onward(view: &TenantView, flow: &Flow, name: &str, value: &str) -> Option<String> {
    let base = Url::parse(&view.issuer).ok()?;
    let mut url = base.join(&flow.return_to).ok()?;
    let mut query = url.query_pairs_mut();
    query.append_pair(name, value);
    if let Some(state) = &flow.client_state {
        query.append_pair("state", state);
    }
    drop(query);
    Some(url.into())
}
