//! Sending a browser to a provider with a request.

use super::super::begin::{Departure, Start, write_down};
use super::super::{SsoDesk, SsoError};
use super::{blocking, identity_provider, service_provider, side};
use crate::actors::tenant::TenantView;
use crate::clients::saml::{Ask, Begun};
use crate::clock;
use crate::db::TenantTx;
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::{self, FlowPurpose};
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::saml::SamlSettings;

/// Writes a flow down with the ID of its request, and returns how the browser leaves. `RelayState` is the flow's token, which is short
/// enough for it.
pub(in crate::actors::sso) async fn begin(
    desk: &SsoDesk,
    view: &TenantView,
    connection: &Connection,
    settings: &SamlSettings,
    start: Start<'_>,
) -> Result<Departure, SsoError> {
    let sp = if settings.wants_signed_requests {
        service_provider(desk, view, connection.id).await?
    } else {
        side(view, connection.id, Vec::new())
    };
    let idp = identity_provider(settings);
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let (id, purpose) = write_down(desk, view, &mut tx, connection, start).await?;
    tx.commit().await?;
    let relay_state = row_token::encode(RowTokenPurpose::SsoState, id, view.tenant.id, &view.keys.rows);
    let is_fresh = match purpose {
        FlowPurpose::StepUp => true,
        FlowPurpose::SignIn | FlowPurpose::Link => false,
    };
    let wanted = settings.mfa_contexts.first().cloned().filter(|_| is_fresh);
    let verifier = std::sync::Arc::clone(&desk.saml);
    let begun = blocking(move || {
        let ask = Ask {
            relay_state: Some(&relay_state),
            force_authn: is_fresh,
            name_id_format: None,
            authn_context: wanted.as_deref(),
        };
        verifier.begin(&sp, &idp, &ask, clock::now())
    });
    // A flow without a request waits for nothing, so that one which fails here is none.
    let begun = begun.await??;
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    sso_flows::set_request(&mut tx, id, begun.request_id()).await?;
    tx.commit().await?;
    Ok(match begun {
        Begun::Redirect { request_id: _, url } => Departure::Redirect(url),
        Begun::Form { request_id: _, action, fields } => Departure::Form { action, fields },
    })
}
