//! Names in DNS that tenants claim, for their people's addresses or as hosts of their own: proved by a record, and looked at again.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::{SsoDesk, SsoError, event};
use crate::actors::accounts::Asker;
use crate::actors::tenants_in_turn::{self, ChoreError};
use crate::clients::kms::{self, MasterKeyError};
use crate::clock;
use crate::db::email_domains::DomainRow;
use crate::db::{DbError, TenantTx, audit, domain_claims, mail_outbox, user_admin};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::domain_claim::{DomainClaim, DomainClaimError, DomainUse, record_text};
use crate::domain::email_domain::MAX_MISSED;
use crate::domain::ids::TenantId;
use crate::domain::mail::MailKind;

/// Longest wait for DNS.
const DNS_DEADLINE: Duration = Duration::from_secs(5);
/// Domains of a tenant that are looked at in one turn.
const BATCH: i64 = 20;

/// Claims a name. A claim that is there already is returned as it is.
///
/// # Errors
/// [`SsoError::Domain`], [`SsoError::TooMany`], or the database's.
pub async fn claim(desk: &SsoDesk, tenant: TenantId, asker: Asker, claim: &DomainClaim) -> Result<DomainRow, SsoError> {
    let gateway = &desk.auth.settings.gateway;
    claim.check(&gateway.base_domain, gateway.hosts.keys())?;
    let random: [u8; 20] = kms::random().map_err(|_random: MasterKeyError| SsoError::Random)?;
    let challenge = hex::encode(random);
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    let claimed = domain_claims::insert(&mut tx, claim, &challenge, claim_end(desk)).await?;
    let claimed = claimed.ok_or(SsoError::TooMany)?;
    if claimed.challenge == challenge {
        record(&mut tx, claim, Step::Claim, asker).await?;
    }
    tx.commit().await?;
    Ok(claimed)
}

/// Looks for the record now.
///
/// # Errors
/// [`SsoError::UnknownDomain`], [`SsoError::RecordMissing`], [`SsoError::DomainTaken`], [`SsoError::Domain`] if the platform has taken
/// the name since, [`SsoError::Dns`], or the database's.
pub async fn verify(
    desk: &SsoDesk,
    tenant: TenantId,
    asker: Asker,
    claim: &DomainClaim,
) -> Result<DomainRow, SsoError> {
    let gateway = &desk.auth.settings.gateway;
    claim.check(&gateway.base_domain, gateway.hosts.keys())?;
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant).await?;
    let claimed = domain_claims::find(&mut tx, claim).await;
    tx.finish();
    let challenge = claimed?.ok_or(SsoError::UnknownDomain)?.challenge;
    if !has_record(desk, claim, &challenge).await? {
        return Err(SsoError::RecordMissing);
    }
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    domain_claims::set_found(&mut tx, claim, &challenge).await?;
    // Looked at again: DNS took its time, in which the claim may have been given up or made anew.
    let found = domain_claims::find(&mut tx, claim).await?.filter(|now| now.challenge == challenge);
    let found = found.ok_or(SsoError::UnknownDomain)?;
    record(&mut tx, claim, Step::Verify, asker).await?;
    tx.commit().await?;
    Ok(found)
}

/// Gives a name up.
///
/// # Errors
/// [`SsoError::UnknownDomain`], or the database's.
pub async fn release(desk: &SsoDesk, tenant: TenantId, asker: Asker, claim: &DomainClaim) -> Result<(), SsoError> {
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    if !domain_claims::delete(&mut tx, claim).await? {
        return Err(SsoError::UnknownDomain);
    }
    record(&mut tx, claim, Step::Release, asker).await?;
    Ok(tx.commit().await?)
}

/// Looks again at proved names whose turn it is, and forgets claims that ran out; returns how many of both. A name whose record was
/// missed often enough in a row is the tenant's no more, and its owners and admins are told. DNS that does not answer is no miss.
///
/// # Errors
/// [`ChoreError`], with what was done besides done.
pub async fn recheck_all(desk: &SsoDesk) -> Result<u64, ChoreError> {
    tenants_in_turn::each(&desk.auth.db, async |tenant| recheck(desk, tenant).await).await
}

async fn recheck(desk: &SsoDesk, tenant: TenantId) -> Result<u64, DbError> {
    let seconds = i64::try_from(desk.auth.settings.sso.domain_recheck_s).unwrap_or(i64::MAX / 2);
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    let mut n_done = domain_claims::delete_expired(&mut tx).await?;
    let mut due = Vec::new();
    for used in DomainUse::ALL {
        for row in domain_claims::list_due(&mut tx, used, seconds, BATCH).await? {
            let claim = DomainClaim::parse(used, &row.domain);
            let claim = claim.map_err(|_stored: DomainClaimError| DbError::Corrupt("a claimed name"))?;
            due.push((claim, row.challenge));
        }
    }
    tx.commit().await?;
    for (claim, challenge) in due {
        let is_there = match has_record(desk, &claim, &challenge).await {
            Ok(is_there) => is_there,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, domain = claim.as_str(), "a domain could not be looked at");
                // Its turn is over all the same: others are not kept waiting by a name server that is away.
                let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
                domain_claims::set_looked(&mut tx, &claim).await?;
                tx.commit().await?;
                continue;
            }
        };
        let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
        if is_there {
            domain_claims::set_found(&mut tx, &claim, &challenge).await?;
        } else if domain_claims::set_missed(&mut tx, &claim, MAX_MISSED, claim_end(desk)).await? {
            tell_of_loss(&mut tx, &claim).await?;
        }
        tx.commit().await?;
        n_done += 1;
    }
    Ok(n_done)
}

async fn tell_of_loss(tx: &mut TenantTx, claim: &DomainClaim) -> Result<(), DbError> {
    let target = (kind_of(claim), claim.as_str().to_owned());
    let source = AuditSource { ip: None, user_agent: None, request_id: None };
    let action = match claim {
        DomainClaim::Email(_) => "email_domain.lose",
        DomainClaim::Host(_) => "custom_host.lose",
    };
    let lost = event(AuditActor::System, action, target, source, json!({ "n_missed": MAX_MISSED }));
    audit::insert(tx, &lost).await?;
    let readers = user_admin::list_admins_mail(tx).await?;
    let detail = json!({ "domain": claim.as_str(), "use": claim.used(), "record": claim.record_name() });
    mail_outbox::insert_for_all(tx, MailKind::DomainLost, &readers, &detail).await
}

/// What an admin does to a claim.
#[derive(Debug, Clone, Copy)]
enum Step {
    Claim,
    Verify,
    Release,
}

async fn record(tx: &mut TenantTx, claim: &DomainClaim, step: Step, asker: Asker) -> Result<(), DbError> {
    let action = match (claim, step) {
        (DomainClaim::Email(_), Step::Claim) => "email_domain.claim",
        (DomainClaim::Email(_), Step::Verify) => "email_domain.verify",
        (DomainClaim::Email(_), Step::Release) => "email_domain.delete",
        (DomainClaim::Host(_), Step::Claim) => "custom_host.claim",
        (DomainClaim::Host(_), Step::Verify) => "custom_host.verify",
        (DomainClaim::Host(_), Step::Release) => "custom_host.delete",
    };
    let target = (kind_of(claim), claim.as_str().to_owned());
    audit::insert(tx, &event(asker.actor, action, target, asker.source, json!({}))).await
}

fn kind_of(claim: &DomainClaim) -> &'static str {
    match claim {
        DomainClaim::Email(_) => "email_domain",
        DomainClaim::Host(_) => "custom_host",
    }
}

async fn has_record(desk: &SsoDesk, claim: &DomainClaim, challenge: &str) -> Result<bool, SsoError> {
    let (name, wanted) = (claim.record_name(), record_text(challenge));
    let texts = tokio::time::timeout(DNS_DEADLINE, desk.dns.texts(&name)).await;
    let texts = texts.map_err(|_elapsed| SsoError::Dns(crate::clients::dns::DnsError::TimedOut))??;
    Ok(texts.iter().any(|text| text.trim() == wanted))
}

fn claim_end(desk: &SsoDesk) -> chrono::DateTime<chrono::Utc> {
    clock::now() + TimeDelta::seconds(i64::try_from(desk.auth.settings.sso.domain_claim_ttl_s).unwrap_or(0))
}
