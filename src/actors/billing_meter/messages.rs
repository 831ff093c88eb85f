//! The meter's protocol.

use crate::actors::ask::Request;
use crate::domain::ids::TenantId;
use crate::domain::usage::{UsageAnswer, UsageEvent};

/// Why a whole batch was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordUsageError {
    /// Too many events wait.
    #[error("too many usage events wait")]
    Overloaded,
    /// The database is away, or it is not known whether the events were counted.
    #[error("usage cannot be counted at the moment")]
    Unavailable,
    /// The tenant is gone.
    #[error("there is no such tenant")]
    Gone,
    /// The database refuses an event; the log says more.
    #[error("usage could not be counted")]
    Failed,
    /// The database refuses for a reason that is no event's, such as a broken disk or row, or a right that is missing; the log says more.
    #[error("the database is not in order")]
    Broken,
}

/// Command, idempotent: count these events of one tenant; replies with what became of each, in their order, after the commit.
/// Sent by the handler of `POST /billing/usage/events`. After a lost reply or a refusal the events may or may not be counted:
/// whoever sends them again, under the same source and key, has each of them counted once.
#[derive(Debug)]
pub struct RecordUsage {
    /// Whose.
    pub tenant: TenantId,
    /// The events.
    pub events: Vec<UsageEvent>,
}

impl Request for RecordUsage {
    const NAME: &'static str = "record_usage";
    type Reply = Vec<UsageAnswer>;
    type Refusal = RecordUsageError;
}
