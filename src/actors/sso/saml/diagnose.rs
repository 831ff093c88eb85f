//! What is wrong with a connection of SAML.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::diagnose::{Check, CheckState, check};
use super::super::{SsoDesk, SsoError};
use super::entity_id;
use super::metadata::{self, Fetched, full_text};
use crate::actors::tenant::TenantView;
use crate::clients::outbound::OutboundError;
use crate::clients::saml::certificate_facts;
use crate::clock;
use crate::db::sso_connections::Connection;
use crate::domain::saml::{SamlSettings, WARN_DAYS};

/// Clocks that differ by more than so many seconds are complained of; by more than [`CLOCK_S`], nobody gets in.
const CLOCK_WARN_S: i64 = 15;
/// Assertions are taken to be wrong if clocks differ by more than so many seconds.
const CLOCK_S: i64 = 60;

/// Looks at everything about a connection that can be known without a person.
pub(in crate::actors::sso) async fn diagnose(
    desk: &SsoDesk,
    view: &TenantView,
    connection: &Connection,
    settings: &SamlSettings,
) -> Vec<Check> {
    let mut checks = vec![check(
        "entity_id",
        CheckState::Unknown,
        format!(
            "the provider must know this platform as {}, which is where its metadata is",
            entity_id(view, connection.id)
        ),
    )];
    let mut date = None;
    match &settings.metadata_url {
        Some(url) => {
            let fetched = metadata::fetch(desk, view.tenant.id, url).await;
            checks.push(metadata_check(settings, &fetched));
            date = fetched.ok().and_then(|fetched| fetched.date);
        }
        None => checks.push(check(
            "metadata",
            CheckState::Warning,
            "the connection has no metadata URL: another certificate of the provider has to be set by hand",
        )),
    }
    checks.push(certificates(settings, clock::now()));
    let url = settings.sso_redirect_url.as_ref().or(settings.sso_post_url.as_ref());
    let Some(url) = url else {
        checks.push(check("sso_url", CheckState::Failed, "the provider has no address to sign in at"));
        return checks;
    };
    match metadata::get(desk, view.tenant.id, url).await {
        Ok(answer) => {
            date = date.or_else(|| metadata::date_of(&answer));
            let status = answer.status().as_u16();
            // It was asked nothing, so that a complaint is an answer too.
            checks.push(match status {
                404 | 410 | 500.. => {
                    check("sso_url", CheckState::Failed, format!("{url} answered with status {status}"))
                }
                _ => check("sso_url", CheckState::Ok, format!("{url} answers")),
            });
        }
        // Browsers may reach what this platform does not.
        Err(error) => {
            checks.push(check("sso_url", CheckState::Warning, format!("{url} cannot be reached from here: {error}")))
        }
    }
    checks.push(clocks(date, clock::now()));
    checks
}

fn metadata_check(settings: &SamlSettings, fetched: &Result<Fetched, SsoError>) -> Check {
    match fetched {
        Err(SsoError::MetadataHttp(OutboundError::Private)) => check(
            "metadata",
            CheckState::Failed,
            "the metadata URL's address is not one of the public internet, and this platform calls no others",
        ),
        Err(error) => check("metadata", CheckState::Failed, full_text(error)),
        Ok(fetched) => {
            let mut after = settings.clone();
            match metadata::adopt(&mut after, fetched.provider.clone()) {
                Err(error) => check("metadata", CheckState::Failed, full_text(&error)),
                Ok(true) => check(
                    "metadata",
                    CheckState::Warning,
                    "the provider's metadata says something else than this connection: refresh it",
                ),
                Ok(false) => check("metadata", CheckState::Ok, format!("the provider is {}", settings.idp_entity_id)),
            }
        }
    }
}

/// When the certificates end. Their keys are believed beyond it: what is trusted is that an admin or the metadata gave them.
fn certificates(settings: &SamlSettings, now: DateTime<Utc>) -> Check {
    let facts: Result<Vec<_>, _> = settings.certificates.iter().map(|pem| certificate_facts(pem)).collect();
    let ends = match facts {
        Ok(facts) => facts.into_iter().map(|facts| facts.not_after),
        Err(why) => return check("certificates", CheckState::Failed, format!("a certificate cannot be read: {why}")),
    };
    let Some(last) = ends.max() else {
        return check("certificates", CheckState::Failed, "the connection has no certificate of the provider");
    };
    let day = last.format("%Y-%m-%d");
    let n = settings.certificates.len();
    if last < now {
        check(
            "certificates",
            CheckState::Warning,
            format!("the last certificate ended on {day}: the provider should turn its key over"),
        )
    } else if last < now + TimeDelta::days(WARN_DAYS) {
        check(
            "certificates",
            CheckState::Warning,
            format!("the last certificate ends on {day}: a new one is needed before"),
        )
    } else {
        check("certificates", CheckState::Ok, format!("{n}, good until {day}"))
    }
}

fn clocks(date: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Check {
    let Some(date) = date else {
        return check("clock", CheckState::Unknown, "the provider does not say what time it is there");
    };
    let seconds = (date - now).num_seconds();
    let (n, side) = (seconds.abs(), if seconds > 0 { "ahead of" } else { "behind" });
    let differs = format!("the provider's clock is {n} s {side} this one");
    if n <= CLOCK_WARN_S {
        check("clock", CheckState::Ok, "the provider's clock agrees with this one")
    } else if n <= CLOCK_S {
        check("clock", CheckState::Warning, differs)
    } else {
        check("clock", CheckState::Failed, format!("{differs}: its answers are refused"))
    }
}
