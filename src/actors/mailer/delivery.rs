//! One round of delivery.

use std::error::Error;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use crate::actors::ask::ActorRef;
use crate::actors::billing::document;
use crate::actors::tenant::registry::RegistryActor;
use crate::actors::tenant::{TenantRegistry, TenantView, Wanted};
use crate::clients::invoice_pdf::InvoicePrinter;
use crate::clients::kms;
use crate::clients::mailer::{AttachedPdf, Mailer, Outgoing};
use crate::clock;
use crate::config::{MailSettings, Settings};
use crate::db::mail_queue::{self, ClaimedMail, Settlement};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx};
use crate::domain::ids::TenantId;
use crate::domain::mail::{MailKind, retry_wait_s};
use crate::domain::mail_text::{self, MailFacts};
use crate::domain::row_token;
use crate::domain::tenant::TenantState;

/// Tenants served in a round, so that one with much mail does not hold up the others.
const TENANTS_AT_ONCE: usize = 4;
/// Mails of one tenant in a round. They go one after the other, each with its timeout, within the lease.
const MAILS_AT_ONCE: i64 = 4;
/// Longest reason kept of a failure, in characters.
const MAX_REASON: usize = 300;

/// What it takes to deliver mail.
#[derive(Debug)]
pub struct Delivery {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub db: Db,
    /// Finds tenants: their names, addresses and keys.
    pub registry: Arc<TenantRegistry>,
    /// Starts those that are not active.
    pub registry_actor: ActorRef<RegistryActor>,
    /// Where mail goes.
    pub mailer: Mailer,
    /// Prints the invoices that go with mail.
    pub printer: InvoicePrinter,
}

impl Delivery {
    /// Delivers some of the due mail; returns how many attempts were made.
    ///
    /// # Errors
    /// [`DbError`] if the outbox cannot be read. What was claimed comes back when its lease is over.
    pub(super) async fn deliver_due(&self) -> Result<usize, DbError> {
        let system = SystemTx::new(&self.db, SystemReason::FindMail);
        let n_tenants = i64::try_from(TENANTS_AT_ONCE).unwrap_or(1);
        let tenants = mail_queue::list_due_tenants(&system, n_tenants).await?;
        let work = tenants.into_iter().map(|tenant| self.deliver_tenant(tenant));
        let results: Vec<_> = stream::iter(work).buffer_unordered(TENANTS_AT_ONCE).collect().await;
        let mut n_attempts = 0;
        for result in results {
            n_attempts += result?;
        }
        Ok(n_attempts)
    }

    async fn deliver_tenant(&self, tenant: TenantId) -> Result<usize, DbError> {
        // Long enough for every mail of the round to run into its timeout.
        let lease_s = 60.0 + 4.0 * (self.settings.mail.timeout_ms as f64) / 1_000.0;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        let mails = mail_queue::claim(&mut tx, MAILS_AT_ONCE, lease_s).await?;
        tx.commit().await?;
        let n_attempts = mails.len();
        if n_attempts == 0 {
            return Ok(0);
        }
        let handle = self.registry.resolve(&self.registry_actor, Wanted::Id(tenant)).await;
        for mail in mails {
            let sent = match &handle {
                Ok(handle) => self.send(&handle.view_full(), &mail).await,
                Err(error) => Err(Failure { is_permanent: false, reason: chain(error) }),
            };
            self.settle(tenant, &mail, sent).await?;
        }
        Ok(n_attempts)
    }

    async fn send(&self, view: &TenantView, mail: &ClaimedMail) -> Result<(), Failure> {
        if view.tenant.state != TenantState::Active {
            return Err(Failure { is_permanent: false, reason: "the tenant is not active".to_owned() });
        }
        let kind = MailKind::parse(&mail.kind).ok_or_else(|| Failure {
            is_permanent: true,
            reason: "a kind that this version does not know".to_owned(),
        })?;
        let link = link(&self.settings.mail, view, kind, mail);
        let facts = MailFacts {
            kind,
            tenant_name: &view.tenant.name,
            link: link.as_deref(),
            link_life_s: link_life_s(&self.settings, kind),
            detail: &mail.detail,
        };
        let pdf = self.document(view.tenant.id, kind, mail).await?;
        let outgoing = Outgoing {
            id: mail.id.into(),
            kind,
            recipient: &mail.recipient,
            written_at: mail.created_at,
            text: mail_text::write(&facts),
            pdf,
        };
        let sent = self.mailer.send(outgoing).await;
        sent.map_err(|error| Failure { is_permanent: error.is_permanent(), reason: chain(&error) })
    }

    /// The document that belongs to a mail.
    async fn document(
        &self,
        tenant: TenantId,
        kind: MailKind,
        mail: &ClaimedMail,
    ) -> Result<Option<AttachedPdf>, Failure> {
        if kind != MailKind::Invoice {
            return Ok(None);
        }
        let id = mail.detail.get("invoice").and_then(|id| id.as_str()).and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Failure { is_permanent: true, reason: "it names no invoice".to_owned() })?;
        let (number, bytes) = document::pdf(&self.db, &self.settings, &self.printer, tenant, id)
            .await
            .map_err(|error| Failure { is_permanent: false, reason: chain(&error) })?;
        Ok(Some(AttachedPdf { name: format!("{number}.pdf"), bytes }))
    }

    async fn settle(&self, tenant: TenantId, mail: &ClaimedMail, sent: Result<(), Failure>) -> Result<(), DbError> {
        let age_s = clock::now().signed_duration_since(mail.created_at).num_seconds();
        let n_attempts = u32::try_from(mail.n_attempts).unwrap_or(u32::MAX);
        // Without randomness mails that failed together are tried together.
        let jitter = kms::random().map(u32::from_le_bytes).unwrap_or(250);
        let settlement = match &sent {
            Ok(()) => Settlement::Sent,
            Err(Failure { is_permanent: true, reason }) => Settlement::Dead { error: reason },
            Err(Failure { is_permanent: false, reason }) => match retry_wait_s(n_attempts, age_s, jitter) {
                Some(wait_s) => Settlement::PutOff { wait_s, error: reason },
                None => Settlement::Dead { error: reason },
            },
        };
        if let Settlement::Dead { error } | Settlement::PutOff { error, .. } = &settlement {
            let is_dead = matches!(settlement, Settlement::Dead { .. });
            tracing::warn!(tenant.id = %tenant, mail.id = %mail.id, kind = mail.kind, n_attempts, is_dead, error, "mail was not delivered");
        }
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        mail_queue::settle(&mut tx, mail, &settlement).await?;
        tx.commit().await
    }
}

struct Failure {
    is_permanent: bool,
    reason: String,
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// The link of a mail: a path is on the tenant's own host, a URL is taken as it is.
fn link(settings: &MailSettings, view: &TenantView, kind: MailKind, mail: &ClaimedMail) -> Option<String> {
    let (purpose, row) = (kind.token_purpose()?, mail.row_id?);
    let target = match kind {
        MailKind::Invitation => &settings.invitation_link,
        MailKind::OnboardingInvitation => &settings.onboarding_link,
        MailKind::EmailVerification => &settings.verification_link,
        MailKind::PasswordReset => &settings.password_reset_link,
        MailKind::PasswordChanged
        | MailKind::EmailChanged
        | MailKind::FactorChanged
        | MailKind::SessionReuse
        | MailKind::CodeGuessing
        | MailKind::UsageThreshold
        | MailKind::Invoice
        | MailKind::DomainLost => return None,
    };
    let token = row_token::encode(purpose, row, view.tenant.id, &view.keys.rows);
    let host = if target.starts_with('/') { view.issuer.as_str() } else { "" };
    let separator = if target.contains('?') { '&' } else { '?' };
    Some(format!("{host}{target}{separator}token={token}"))
}

fn link_life_s(settings: &Settings, kind: MailKind) -> u64 {
    match kind {
        MailKind::Invitation | MailKind::OnboardingInvitation => settings.auth.invitation_ttl_s,
        MailKind::EmailVerification => settings.auth.verification_ttl_s,
        MailKind::PasswordReset => settings.auth.password_reset_ttl_s,
        MailKind::PasswordChanged
        | MailKind::EmailChanged
        | MailKind::FactorChanged
        | MailKind::SessionReuse
        | MailKind::CodeGuessing
        | MailKind::UsageThreshold
        | MailKind::Invoice
        | MailKind::DomainLost => 0,
    }
}
