//! Requests that are done once.
//!
//! A request is committed with its idempotency key before it goes out, and its result after. In between anything may happen: the
//! next attempt sends the same request under the same key, and Stripe answers as it did. Two things end that: Stripe forgets keys
//! after a day, and a failure that it recorded comes back for ever. In both cases the object is looked for by the request's id in
//! its metadata, and only what is not there is asked for under a new key.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::actors::tenants_in_turn::{ChoreError, note};
use crate::clients::stripe::{Answer, StripeError};
use crate::db::stripe_queue::{self, StripeWork};
use crate::db::stripe_requests::{self, StripeRequestRow};
use crate::db::{DbError, SystemReason, SystemTx, TenantTx};
use crate::domain::ids::{StripeRequestId, TenantId};
use crate::domain::stripe::intent::{self, Intent, Method, Operation, Probe, Sign};
use crate::domain::stripe::verdict::{Told, Verdict, judge};

/// Attempts in one go; the job goes on after that.
const N_ATTEMPTS: u32 = 4;
/// Longest pause that Stripe may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Objects on one page of a list, and pages at most.
const PAGE: i64 = 100;
const MAX_PAGES: usize = 50;
/// Tenants, and requests of each, that one run of the job settles.
const TENANTS: i64 = 100;
const REQUESTS: i64 = 100;

/// What an attempt came to.
enum Step {
    Done(Value),
    Refused { code: String, detail: String },
    Again { why: Option<StripeError>, after: Option<Duration> },
    Look,
}

impl Desk {
    /// Has an intent done, once, however often it is asked for; returns what is kept of the object.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn perform(&self, tenant: TenantId, intent: &Intent) -> Result<Value, PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        let row = stripe_requests::insert(&mut tx, intent).await?;
        tx.commit().await?;
        let is_same =
            row.operation == intent.operation.as_str() && row.target == intent.target && row.params == intent.params;
        if !is_same {
            return Err(PaymentError::KeyTaken(intent.key.clone()));
        }
        self.settle(tenant, row).await
    }

    /// Goes on with a request that was begun, as it was begun.
    pub(super) async fn resume(&self, tenant: TenantId, key: &str) -> Result<Value, PaymentError> {
        let row = self.read(tenant, key).await?;
        self.settle(tenant, row).await
    }

    /// Finds out, and if need be sees to it, what became of a request.
    async fn settle(&self, tenant: TenantId, mut row: StripeRequestRow) -> Result<Value, PaymentError> {
        let operation = Operation::parse(&row.operation).ok_or(DbError::Corrupt("stripe request"))?;
        let mut must_look = false;
        let mut last = None;
        for attempt in 0..N_ATTEMPTS {
            if let Some(settled) = settled(&row) {
                return settled;
            }
            // Stripe knows no keys for DELETE, and has forgotten those of yesterday.
            let (method, _) = operation.call("");
            if row.was_sent && (must_look || row.is_old || method == Method::Delete) {
                if let Some(object) = self.look(operation, &row).await? {
                    return self.keep(tenant, &row, &object).await;
                }
                self.change(tenant, async |tx| stripe_requests::renew_key(tx, &row).await).await?;
                row = self.read(tenant, &row.key).await?;
                must_look = false;
            }
            let is_ours = self.change(tenant, async |tx| stripe_requests::note_sending(tx, &row).await).await?;
            if is_ours {
                match self.attempt(tenant, operation, &row).await? {
                    Step::Done(object) => return self.keep(tenant, &row, &object).await,
                    Step::Refused { code, detail } => return self.refuse(tenant, &row, code, detail).await,
                    Step::Look => must_look = true,
                    Step::Again { why, after } => {
                        last = why;
                        let pause = after.unwrap_or(self.pause * 2_u32.saturating_pow(attempt)).min(MAX_PAUSE);
                        tokio::time::sleep(pause).await;
                    }
                }
            }
            row = self.read(tenant, &row.key).await?;
        }
        Err(PaymentError::Unsettled(last))
    }

    async fn attempt(
        &self,
        tenant: TenantId,
        operation: Operation,
        row: &StripeRequestRow,
    ) -> Result<Step, PaymentError> {
        let (method, path) = operation.call(row.target.as_deref().unwrap_or_default());
        let params = intent::tagged(operation, &row.params, row.id);
        let key = format!("bos:{tenant}:{}:{}", row.key, row.revision);
        let key = (method == Method::Post).then_some(key.as_str());
        let answer = match self.client.send(method, &path, &params, key).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::warn!(tenant.id = %tenant, request = %row.id, error = &why as &dyn std::error::Error, "no answer of Stripe's");
                return Ok(Step::Again { why: Some(why), after: None });
            }
        };
        let Answer { status, is_replayed, should_retry, .. } = answer;
        let verdict = judge(Told { status, kind: answer.error("type"), is_replayed, should_retry });
        if verdict != Verdict::Done {
            let stripe_request = answer.request_id.as_deref();
            let code = answer.error("code").or(answer.error("type"));
            tracing::warn!(tenant.id = %tenant, request = %row.id, status, stripe_request, code, "Stripe did not do it");
        }
        Ok(match verdict {
            Verdict::Done => Step::Done(answer.body),
            Verdict::Again => Step::Again { why: None, after: answer.retry_after },
            Verdict::Look => Step::Look,
            Verdict::Locked => return Err(PaymentError::Locked),
            Verdict::Refused => Step::Refused {
                code: answer.error("code").or(answer.error("type")).unwrap_or("unknown").to_owned(),
                detail: answer.error("message").unwrap_or_default().to_owned(),
            },
        })
    }

    /// The object that a request made or changed, if it was done.
    async fn look(&self, operation: Operation, row: &StripeRequestRow) -> Result<Option<Value>, PaymentError> {
        let target = row.target.as_deref().unwrap_or_default();
        match intent::probe(operation, target, &row.params, row.first_sent_s.unwrap_or(0)) {
            Probe::None => Ok(None),
            Probe::Object { path, sign } => {
                let object = self.fetch(&path).await?;
                Ok(object.filter(|object| intent::tells(object, sign, row.id)))
            }
            Probe::List { path, query } => {
                self.find_in(path, query, |object| intent::tells(object, Sign::Tagged, row.id)).await
            }
        }
    }

    /// An object as it is now; none if there is no such object.
    pub(super) async fn fetch(&self, path: &str) -> Result<Option<Value>, PaymentError> {
        let answer = self.client.get(path, &json!({})).await.map_err(|error| PaymentError::Unsettled(Some(error)))?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            401 | 403 => Err(PaymentError::Locked),
            _ => Err(PaymentError::Unsettled(None)),
        }
    }

    /// The first object of a list that is wanted.
    async fn find_in(
        &self,
        path: &str,
        query: Value,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>, PaymentError> {
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let page = self.page(path, &query, after.as_deref()).await?;
            if let Some(found) = page.data.iter().find(|object| is_wanted(object)) {
                return Ok(Some(found.clone()));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
        // What was not seen to its end does not say that something is not there.
        Err(PaymentError::Unsettled(None))
    }

    /// One page of a list, the newest first.
    pub(super) async fn page(&self, path: &str, query: &Value, after: Option<&str>) -> Result<Page, PaymentError> {
        let mut query = query.clone();
        if let Some(query) = query.as_object_mut() {
            query.insert("limit".to_owned(), PAGE.into());
            if let Some(after) = after {
                query.insert("starting_after".to_owned(), after.into());
            }
        }
        let answer = self.client.get(path, &query).await.map_err(|error| PaymentError::Unsettled(Some(error)))?;
        match answer.status {
            200 => {}
            401 | 403 => return Err(PaymentError::Locked),
            _ => return Err(PaymentError::Unsettled(None)),
        }
        let data = answer.body.get("data").and_then(Value::as_array).ok_or(PaymentError::Malformed("list"))?.clone();
        let has_more = answer.body.get("has_more").and_then(Value::as_bool).unwrap_or(false);
        let last = data.last().and_then(|object| object.get("id")).and_then(Value::as_str);
        let next = last.filter(|_| has_more).map(str::to_owned);
        Ok(Page { data, next })
    }

    async fn keep(&self, tenant: TenantId, row: &StripeRequestRow, object: &Value) -> Result<Value, PaymentError> {
        let result = intent::kept(object);
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_requests::settle_done(&mut tx, StripeRequestId::from(row.id), &result).await?;
        tx.commit().await?;
        Ok(result)
    }

    async fn refuse(
        &self,
        tenant: TenantId,
        row: &StripeRequestRow,
        code: String,
        detail: String,
    ) -> Result<Value, PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_requests::settle_refused(&mut tx, StripeRequestId::from(row.id), &code, &detail).await?;
        tx.commit().await?;
        Err(PaymentError::Refused { code, detail })
    }

    async fn read(&self, tenant: TenantId, key: &str) -> Result<StripeRequestRow, PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let row = stripe_requests::find(&mut tx, key).await?;
        tx.finish();
        Ok(row.ok_or(DbError::Corrupt("stripe request"))?)
    }

    async fn change<T>(
        &self,
        tenant: TenantId,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<T, DbError>,
    ) -> Result<T, PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        let done = work(&mut tx).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Settles requests that were sent over a minute ago and whose outcome nobody knows; returns how many.
    ///
    /// # Errors
    /// [`ChoreError`].
    pub async fn settle_all(&self) -> Result<u64, ChoreError> {
        let system = SystemTx::new(&self.db, SystemReason::StripeWebhook);
        let (mut n_settled, mut n_failed) = (0, 0);
        for tenant in stripe_queue::list_tenants(&system, StripeWork::Request, TENANTS).await? {
            match self.settle_tenant(tenant).await {
                Ok(n) => n_settled += n,
                Err(PaymentError::Db(error)) => {
                    note(tenant, error)?;
                    n_failed += 1;
                }
                Err(error) => {
                    tracing::warn!(tenant.id = %tenant, error = &error as &dyn std::error::Error, "requests to Stripe wait on");
                    n_failed += 1;
                }
            }
        }
        ChoreError::unless_none(n_failed, n_settled)
    }

    /// Finds out what became of a tenant's requests whose keys begin so, before anything else of that kind is decided: one that was
    /// overtaken must not run after what has overtaken it.
    pub(super) async fn settle_first(&self, tenant: TenantId, prefix: &str) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let rows = stripe_requests::list_sent(&mut tx, prefix).await?;
        tx.finish();
        for row in rows {
            match self.settle(tenant, row).await {
                Ok(_) | Err(PaymentError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn settle_tenant(&self, tenant: TenantId) -> Result<u64, PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let rows = stripe_requests::list_unsettled(&mut tx, REQUESTS).await?;
        tx.finish();
        let mut n_settled = 0;
        for row in rows {
            match self.settle(tenant, row).await {
                // A refusal is an end too.
                Ok(_) | Err(PaymentError::Refused { .. }) => n_settled += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(n_settled)
    }
}

/// A page of a list.
pub(super) struct Page {
    pub(super) data: Vec<Value>,
    /// The object behind which the next page begins.
    pub(super) next: Option<String>,
}

fn settled(row: &StripeRequestRow) -> Option<Result<Value, PaymentError>> {
    match (&row.result, &row.error_code) {
        (Some(result), _) => Some(Ok(result.clone())),
        (None, Some(code)) => {
            let detail = row.error_detail.clone().unwrap_or_default();
            Some(Err(PaymentError::Refused { code: code.clone(), detail }))
        }
        (None, None) => None,
    }
}
