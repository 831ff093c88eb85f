//! Bulk requests (RFC 7644 §3.7). Each operation is a transaction of its own, as the RFC has it: what was done stays when a later one
//! fails.

use serde_json::Value;
use uuid::Uuid;

use super::{Desk, Found, IfMatch, ScimFailure};
use crate::domain::scim::bulk::{BulkOperation, BulkRequest, Echo, Made, Method, resolve};
use crate::domain::scim::{ResourceKind, ScimError};

/// What became of an operation.
pub enum Outcome {
    /// It was done: status, and the resource, unless it was deleted.
    Done(u16, Option<Found>),
    /// A group was changed: where it is, and its version.
    Changed(String, i64),
    /// It failed.
    Failed(ScimFailure),
}

/// An operation that was tried.
pub struct Tried {
    /// What the answer repeats of it.
    pub echo: Echo,
    /// What became of it.
    pub outcome: Outcome,
}

/// Does the operations of a request in their order, but for those that refer to what a later one makes: they are done after it. What
/// refers to something that is never made is refused. Stops after as many errors as the client says.
pub async fn run_bulk(desk: &Desk, request: BulkRequest) -> Vec<Tried> {
    let BulkRequest { operations, fail_on_errors } = request;
    let mut waiting: Vec<(usize, Echo, Result<BulkOperation, ScimError>)> =
        operations.into_iter().enumerate().map(|(place, (echo, operation))| (place, echo, operation)).collect();
    let (mut made, mut tried, mut n_errors) = (Made::new(), Vec::new(), 0);
    loop {
        let mut is_stuck = true;
        for (place, echo, operation) in std::mem::take(&mut waiting) {
            if fail_on_errors.is_some_and(|most| n_errors >= most) {
                break;
            }
            let outcome = match &operation {
                Err(error) => Outcome::Failed(error.clone().into()),
                Ok(waiting_for) => match resolve(waiting_for, &made) {
                    None => {
                        waiting.push((place, echo, operation));
                        continue;
                    }
                    Some(ready) => run(desk, &ready).await,
                },
            };
            is_stuck = false;
            match &outcome {
                Outcome::Failed(_) => n_errors += 1,
                Outcome::Done(_, Some(found)) if found.is_new => {
                    if let (Some(bulk_id), Some(id)) = (&echo.bulk_id, found.resource.get("id").and_then(Value::as_str))
                    {
                        made.insert(bulk_id.clone(), id.to_owned());
                    }
                }
                Outcome::Done(..) | Outcome::Changed(..) => {}
            }
            tried.push((place, Tried { echo, outcome }));
        }
        if is_stuck {
            break;
        }
    }
    for (place, echo, _) in waiting {
        if fail_on_errors.is_none_or(|most| n_errors < most) {
            n_errors += 1;
            let detail = "a bulkId is referred to that no operation has made";
            let error = ScimError { status: 409, scim_type: None, detail: detail.into() };
            tried.push((place, Tried { echo, outcome: Outcome::Failed(error.into()) }));
        }
    }
    tried.sort_by_key(|(place, _)| *place);
    tried.into_iter().map(|(_, tried)| tried).collect()
}

async fn run(desk: &Desk, operation: &BulkOperation) -> Outcome {
    match run_fallibly(desk, operation).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(error),
    }
}

async fn run_fallibly(desk: &Desk, operation: &BulkOperation) -> Result<Outcome, ScimFailure> {
    let BulkOperation { method, kind, id, version, data, .. } = operation;
    let if_match = IfMatch::parse(version.as_deref());
    let id = || -> Result<Uuid, ScimError> {
        let text = id.as_deref().unwrap_or_default();
        Uuid::parse_str(text).map_err(|_nobodys: uuid::Error| ScimError::not_found())
    };
    Ok(match (method, kind) {
        (Method::Post, ResourceKind::User) => Outcome::Done(201, Some(super::create_user(desk, data).await?)),
        (Method::Post, ResourceKind::Group) => Outcome::Done(201, Some(super::create_group(desk, data).await?)),
        (Method::Put, ResourceKind::User) => {
            Outcome::Done(200, Some(super::replace_user(desk, id()?.into(), &if_match, data).await?))
        }
        (Method::Put, ResourceKind::Group) => {
            Outcome::Done(200, Some(super::replace_group(desk, id()?.into(), &if_match, data).await?))
        }
        (Method::Patch, ResourceKind::User) => {
            Outcome::Done(200, Some(super::patch_user(desk, id()?.into(), &if_match, data).await?))
        }
        (Method::Patch, ResourceKind::Group) => {
            let id = id()?;
            let version = super::patch_group(desk, id.into(), &if_match, data).await?;
            Outcome::Changed(format!("{}/Groups/{id}", desk.base), version)
        }
        (Method::Delete, ResourceKind::User) => {
            super::delete_user(desk, id()?.into(), &if_match).await?;
            Outcome::Done(204, None)
        }
        (Method::Delete, ResourceKind::Group) => {
            super::delete_group(desk, id()?.into(), &if_match).await?;
            Outcome::Done(204, None)
        }
    })
}
