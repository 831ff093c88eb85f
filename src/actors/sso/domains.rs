//! Domains that tenants claim: proved by a record in DNS, and looked at again.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::{SsoDesk, SsoError, event};
use crate::actors::accounts::Asker;
use crate::actors::tenants_in_turn::{self, ChoreError};
use crate::clients::kms::{self, MasterKeyError};
use crate::clock;
use crate::db::email_domains::{self, DomainRow};
use crate::db::{DbError, TenantTx, audit};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::email_domain::{EmailDomain, MAX_MISSED, record_text};
use crate::domain::ids::TenantId;

/// Longest wait for DNS.
const DNS_DEADLINE: Duration = Duration::from_secs(5);
/// Domains of a tenant that are looked at in one turn.
const BATCH: i64 = 20;

/// Claims a domain. A claim that is there already is returned as it is.
///
/// # Errors
/// [`SsoError::Domain`], [`SsoError::TooMany`], or the database's.
pub async fn claim(
    desk: &SsoDesk,
    tenant: TenantId,
    asker: Asker,
    domain: &EmailDomain,
) -> Result<DomainRow, SsoError> {
    domain.check_claim(&desk.auth.settings.gateway.base_domain)?;
    let random: [u8; 20] = kms::random().map_err(|_random: MasterKeyError| SsoError::Random)?;
    let challenge = hex::encode(random);
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    let claimed = email_domains::claim(&mut tx, domain, &challenge, claim_end(desk)).await?;
    let claimed = claimed.ok_or(SsoError::TooMany)?;
    if claimed.challenge == challenge {
        let target = ("email_domain", domain.to_string());
        audit::insert(&mut tx, &event(asker.actor, "email_domain.claim", target, asker.source, json!({}))).await?;
    }
    tx.commit().await?;
    Ok(claimed)
}

/// Looks for the record now.
///
/// # Errors
/// [`SsoError::UnknownDomain`], [`SsoError::RecordMissing`], [`SsoError::DomainTaken`], [`SsoError::Dns`], or the database's.
pub async fn verify(
    desk: &SsoDesk,
    tenant: TenantId,
    asker: Asker,
    domain: &EmailDomain,
) -> Result<DomainRow, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant).await?;
    let claimed = email_domains::find(&mut tx, domain).await;
    tx.finish();
    let claimed = claimed?.ok_or(SsoError::UnknownDomain)?;
    if !has_record(desk, domain, &claimed.challenge).await? {
        return Err(SsoError::RecordMissing);
    }
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    // Looked at again: DNS took its time, in which the claim may have been given up or made anew.
    let now = email_domains::find(&mut tx, domain).await?.filter(|now| now.challenge == claimed.challenge);
    now.ok_or(SsoError::UnknownDomain)?;
    email_domains::set_found(&mut tx, domain).await?;
    let target = ("email_domain", domain.to_string());
    audit::insert(&mut tx, &event(asker.actor, "email_domain.verify", target, asker.source, json!({}))).await?;
    let found = email_domains::find(&mut tx, domain).await?.ok_or(SsoError::UnknownDomain)?;
    tx.commit().await?;
    Ok(found)
}

/// Gives a domain up.
///
/// # Errors
/// [`SsoError::UnknownDomain`], or the database's.
pub async fn release(desk: &SsoDesk, tenant: TenantId, asker: Asker, domain: &EmailDomain) -> Result<(), SsoError> {
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    if !email_domains::delete(&mut tx, domain).await? {
        return Err(SsoError::UnknownDomain);
    }
    let target = ("email_domain", domain.to_string());
    audit::insert(&mut tx, &event(asker.actor, "email_domain.delete", target, asker.source, json!({}))).await?;
    Ok(tx.commit().await?)
}

/// Looks again at proved domains whose turn it is, and forgets claims that ran out; returns how many of both. A domain whose record was
/// missed often enough in a row is the tenant's no more. DNS that does not answer is no miss.
///
/// # Errors
/// [`ChoreError`], with what was done besides done.
pub async fn recheck_all(desk: &SsoDesk) -> Result<u64, ChoreError> {
    tenants_in_turn::each(&desk.auth.db, async |tenant| recheck(desk, tenant).await).await
}

async fn recheck(desk: &SsoDesk, tenant: TenantId) -> Result<u64, DbError> {
    let seconds = i64::try_from(desk.auth.settings.sso.domain_recheck_s).unwrap_or(i64::MAX / 2);
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    let mut n_done = email_domains::delete_expired(&mut tx).await?;
    let due = email_domains::list_due(&mut tx, seconds, BATCH).await?;
    tx.commit().await?;
    for row in due {
        let Ok(domain) = EmailDomain::parse(&row.domain) else {
            return Err(DbError::Corrupt("email_domains.domain"));
        };
        let is_there = match has_record(desk, &domain, &row.challenge).await {
            Ok(is_there) => is_there,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, domain = %domain, "a domain could not be looked at");
                continue;
            }
        };
        let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
        if is_there {
            email_domains::set_found(&mut tx, &domain).await?;
        } else if email_domains::set_missed(&mut tx, &domain, MAX_MISSED, claim_end(desk)).await? {
            let target = ("email_domain", domain.to_string());
            let source = AuditSource { ip: None, user_agent: None, request_id: None };
            let lost =
                event(AuditActor::System, "email_domain.lose", target, source, json!({ "n_missed": MAX_MISSED }));
            audit::insert(&mut tx, &lost).await?;
        }
        tx.commit().await?;
        n_done += 1;
    }
    Ok(n_done)
}

async fn has_record(desk: &SsoDesk, domain: &EmailDomain, challenge: &str) -> Result<bool, SsoError> {
    let (name, wanted) = (domain.record_name(), record_text(challenge));
    let texts = tokio::time::timeout(DNS_DEADLINE, desk.dns.texts(&name)).await;
    let texts = texts.map_err(|_elapsed| SsoError::Dns(crate::clients::dns::DnsError::TimedOut))??;
    Ok(texts.iter().any(|text| text.trim() == wanted))
}

fn claim_end(desk: &SsoDesk) -> chrono::DateTime<chrono::Utc> {
    clock::now() + TimeDelta::seconds(i64::try_from(desk.auth.settings.sso.domain_claim_ttl_s).unwrap_or(0))
}
