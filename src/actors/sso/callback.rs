//! A browser that comes back from a provider.

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::url::Url;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::providers::Provider;
use super::{SsoDesk, SsoError, admit, begin, hash};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::kms::{self, MasterKeyError};
use crate::clients::oidc::{self, Claims, IdTokenError, OidcError};
use crate::clock;
use crate::db::sso_codes::{self, Code};
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::{self, Flow, FlowPurpose};
use crate::db::{TenantTx, audit};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::sso::{LEEWAY_S, assurance};

/// What a browser brings back.
#[derive(Debug)]
pub struct Back<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code`.
    pub code: Option<SecretString>,
    /// `error`.
    pub error: Option<&'a str>,
    /// `iss` (RFC 9207).
    pub issuer: Option<&'a str>,
    /// What the browser's cookie says.
    pub browser: Option<&'a str>,
}

/// Uses the flow up, asks the provider who it is, and gives the browser a code for its client; returns where the browser goes now, with
/// `code` or `error`. `word` is the name of an error in the API. The flow is used up, whatever came of it: a failure is told where the
/// client can read it.
///
/// # Errors
/// [`SsoError::InvalidState`] if no flow of this browser waits, or the database's. Everything later is told to the client by
/// `return_to`.
pub async fn come_back(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    back: Back<'_>,
    source: &AuditSource,
    word: impl Fn(&SsoError) -> &'static str,
) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let id = row_token::decode(back.state, RowTokenPurpose::SsoState, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| SsoError::InvalidState)?;
    let browser = hash(back.browser.ok_or(SsoError::InvalidState)?);
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let flow = sso_flows::spend(&mut tx, id, &browser).await?.ok_or(SsoError::InvalidState)?;
    tx.commit().await?;
    let outcome = finish(desk, tenant, id, &flow, back, browser, source).await;
    if let Err(error) = &outcome {
        record_failure(desk, &view, &flow, word(error), error, source.clone()).await?;
    }
    let (name, value) = match outcome {
        Ok(code) => ("code", code),
        Err(error) => ("error", word(&error).to_owned()),
    };
    onward(&view, &flow, name, &value).ok_or(SsoError::ReturnTo)
}

async fn finish(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    id: Uuid,
    flow: &Flow,
    back: Back<'_>,
    browser: Vec<u8>,
    source: &AuditSource,
) -> Result<String, SsoError> {
    let view = &tenant.view_full();
    let connection = begin::usable(desk, view, flow.connection).await?;
    let issuer = &connection.oidc.issuer;
    let provider = desk.providers.get(issuer).await?;
    // RFC 9207 §2.4: an answer that another provider gave must not have its code sent to this one, nor the other way round.
    let is_announced = provider.discovery.authorization_response_iss_parameter_supported;
    if back.issuer.map_or(is_announced, |named| named != issuer) {
        return Err(SsoError::MixUp);
    }
    if let Some(error) = back.error {
        let is_word = (1..=64).contains(&error.len()) && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        return Err(SsoError::Declined(if is_word { error.to_owned() } else { "unknown".to_owned() }));
    }
    let code = back.code.ok_or_else(|| SsoError::Declined("unknown".to_owned()))?;
    let claims = ask_provider(desk, view, &connection, &provider, id, &code).await?;
    let subject = claims.subject(connection.oidc.subject_from).ok_or(SsoError::NoSubject)?;
    let (acr, auth_time) = judge(&connection, flow, &claims)?;
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let admitted = admit::admit(desk, view, &mut tx, &connection, flow, &claims, &subject, source).await?;
    let random: [u8; 32] = kms::random().map_err(|_random: MasterKeyError| SsoError::Random)?;
    let text = hex::encode(random);
    let ttl_s = i64::try_from(desk.auth.settings.sso.code_ttl_s).unwrap_or(0);
    let code = Code {
        connection: connection.id,
        purpose: flow.purpose,
        user: admitted.user,
        session: flow.by.map(|(_, session)| session),
        subject,
        acr,
        amr: claims.proof().amr,
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

/// Exchanges the provider's code, and believes what the ID token says only then.
async fn ask_provider(
    desk: &SsoDesk,
    view: &TenantView,
    connection: &Connection,
    provider: &Provider,
    flow: Uuid,
    code: &SecretString,
) -> Result<Claims, SsoError> {
    let registration = desk.registration(view, connection).await?;
    let (nonce, verifier) = (begin::nonce(view, flow), begin::verifier(view, flow));
    let received = oidc::exchange(&desk.outbound, &registration, &provider.discovery, code, &verifier).await?;
    let claims = match oidc::verify(&received, &provider.keys, &registration, &nonce, clock::now()) {
        Err(IdTokenError::UnknownKey) => {
            // It has turned its keys over, or somebody makes up keys.
            let again = desk.providers.refetch_keys(&registration.issuer).await?.ok_or(IdTokenError::UnknownKey)?;
            oidc::verify(&received, &again.keys, &registration, &nonce, clock::now())?
        }
        verified => verified?,
    };
    let lacks_role = connection.roles.claim.as_ref().is_some_and(|claim| !claims.has(claim));
    match &provider.discovery.userinfo_endpoint {
        Some(url) if lacks_role || claims.email().is_none() => {
            let subject = claims.sub().ok_or(SsoError::NoSubject)?.to_owned();
            let added = received.user_info(&desk.outbound, url, &subject).await;
            match added {
                Ok(added) => Ok(claims.with_user_info(added)),
                Err(error @ OidcError::UserInfoMismatch) => Err(error.into()),
                Err(error) => {
                    // Somebody who is known needs none of it; whoever is not is told what is missing.
                    tracing::warn!(error = &error as &dyn std::error::Error, connection.id = %connection.id, "no userinfo");
                    Ok(claims)
                }
            }
        }
        Some(_) | None => Ok(claims),
    }
}

/// How strong the proof is, and when it was shown. An unknown time is the oldest one, so that nothing fresh is believed of it.
fn judge(connection: &Connection, flow: &Flow, claims: &Claims) -> Result<(Acr, DateTime<Utc>), SsoError> {
    let proof = claims.proof();
    let acr = assurance(&proof, connection.trusts_mfa, &connection.oidc.mfa_acr_values);
    let auth_time = proof.auth_time_s.map(|seconds| DateTime::from_timestamp(seconds, 0).ok_or(IdTokenError::Time));
    let auth_time = auth_time.transpose()?.unwrap_or(DateTime::UNIX_EPOCH);
    let now = clock::now();
    if auth_time > now + TimeDelta::seconds(LEEWAY_S) {
        return Err(IdTokenError::Time.into());
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

async fn record_failure(
    desk: &SsoDesk,
    view: &TenantView,
    flow: &Flow,
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
        target_id: Some(flow.connection.to_string()),
        outcome: AuditOutcome::Denied,
        code: Some(word),
        source,
        detail: json!({ "purpose": flow.purpose.as_str(), "reason": reason }),
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
