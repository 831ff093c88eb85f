//! How news about a tenant's limits are told: to its stream, by mail to its admins, in its audit trail.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::actors::tenant::TenantView;
use crate::db::{DbError, TenantTx, audit, mail_outbox, stream_events, user_admin};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::mail::MailKind;
use crate::domain::meter::MeterName;
use crate::domain::plan::Plan;
use crate::domain::quota::{QuotaState, QuotaStatus};

/// What usage is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// The plan.
    pub(super) plan: &'a Plan,
    /// Where more can be had: a whole URL.
    pub(super) upgrade_url: &'a str,
}

impl<'a> Terms<'a> {
    /// Those of a tenant's published plan.
    pub(super) fn of(view: &'a TenantView) -> Self {
        Self { plan: &view.plan, upgrade_url: &view.upgrade_url }
    }
}

/// News of one transaction. Mail and audit rows are written as they are added; events of the stream at the end, because their
/// numbers are taken under a lock.
#[derive(Debug)]
pub(super) struct News<'a> {
    /// What usage is judged by.
    pub(super) terms: Terms<'a>,
    events: Vec<(&'static str, Value)>,
    /// Who reads mail about limits, once it was looked up.
    readers: Option<Vec<String>>,
}

impl<'a> News<'a> {
    pub(super) fn new(terms: Terms<'a>) -> Self {
        Self { terms, events: Vec::new(), readers: None }
    }

    /// Adds an event of the stream.
    pub(super) fn add(&mut self, kind: &'static str, payload: Value) {
        self.events.push((kind, payload));
    }

    /// Thresholds were reached, ascending. One mail tells of the highest.
    pub(super) async fn add_thresholds(
        &mut self,
        tx: &mut TenantTx,
        meter: &MeterName,
        status: &QuotaStatus,
        thresholds: &[u16],
    ) -> Result<(), DbError> {
        let Some(highest) = thresholds.last() else { return Ok(()) };
        let facts = self.facts(meter, status);
        for threshold in thresholds {
            self.add("threshold.crossed", with(&facts, "threshold", json!(threshold)));
        }
        let readers = match &mut self.readers {
            Some(readers) => readers,
            none => none.insert(user_admin::list_admins_mail(tx).await?),
        };
        let detail = with(&facts, "threshold", json!(highest));
        mail_outbox::insert_for_all(tx, MailKind::UsageThreshold, readers, &detail).await?;
        let detail = with(&facts, "thresholds", json!(thresholds));
        audit::insert(tx, &by_the_platform("usage.threshold", meter, detail)).await
    }

    /// Calls that the meter counts are refused from now on.
    pub(super) async fn add_pause(
        &mut self,
        tx: &mut TenantTx,
        meter: &MeterName,
        status: &QuotaStatus,
    ) -> Result<(), DbError> {
        let facts = Value::Object(self.facts(meter, status));
        self.add("workflow.paused", facts.clone());
        audit::insert(tx, &by_the_platform("usage.pause", meter, facts)).await
    }

    /// They are not refused any more, and no admin has said so.
    pub(super) async fn add_resumption(
        &mut self,
        tx: &mut TenantTx,
        meter: &MeterName,
        status: &QuotaStatus,
    ) -> Result<(), DbError> {
        let facts = self.add_resumed(meter, status);
        audit::insert(tx, &by_the_platform("usage.resume", meter, facts)).await
    }

    /// Adds only the event that they are not refused any more; returns what it says.
    pub(super) fn add_resumed(&mut self, meter: &MeterName, status: &QuotaStatus) -> Value {
        let facts = Value::Object(self.facts(meter, status));
        self.add("workflow.resumed", facts.clone());
        facts
    }

    /// Writes the events down. The last that a transaction does before its commit.
    pub(super) async fn publish(self, tx: &mut TenantTx) -> Result<(), DbError> {
        for (kind, payload) in &self.events {
            stream_events::append(tx, kind, payload).await?;
        }
        Ok(())
    }

    /// What all news about a meter say.
    fn facts(&self, meter: &MeterName, status: &QuotaStatus) -> Map<String, Value> {
        let limits = self.terms.plan.meters.get(meter).map(Arc::as_ref);
        let state = status.state(limits);
        let mut facts = Map::new();
        facts.insert("meter".to_owned(), json!(meter));
        facts.insert("period".to_owned(), json!(status.period.name()));
        facts.insert("until".to_owned(), json!(status.period.end));
        facts.insert("used".to_owned(), json!(status.used));
        facts.insert("limit".to_owned(), json!(limits.and_then(|limits| limits.reference())));
        facts.insert("hard_limit".to_owned(), json!(limits.and_then(|limits| limits.hard)));
        facts.insert("limit_version".to_owned(), json!(limits.map(|limits| &*limits.version)));
        facts.insert("state".to_owned(), json!(state));
        if state != QuotaState::Ok {
            facts.insert("upgrade_url".to_owned(), json!(self.terms.upgrade_url));
        }
        facts
    }
}

fn with(facts: &Map<String, Value>, key: &str, value: Value) -> Value {
    let mut facts = facts.clone();
    facts.insert(key.to_owned(), value);
    Value::Object(facts)
}

fn by_the_platform(action: &'static str, meter: &MeterName, detail: Value) -> AuditEvent {
    about(AuditActor::System, action, meter, AuditSource::default(), detail)
}

/// A success concerning a meter, for the audit trail.
pub(super) fn about(
    actor: AuditActor,
    action: &'static str,
    meter: &MeterName,
    source: AuditSource,
    detail: Value,
) -> AuditEvent {
    AuditEvent {
        actor,
        action,
        target_kind: "meter",
        target_id: Some(meter.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail,
    }
}
