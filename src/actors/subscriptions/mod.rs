//! What tenants agree to pay for: subscribing, changing, ending. Transactions, not an actor.
//!
//! Each locks the tenant's row and its subscription first, so that of two wishes at once the second sees what the first has done.
//! What is to be paid for the rest of a period is written down as pending items of the next invoice, in the same transaction.

mod begin;
mod cancel;
mod change;
pub mod due;
mod order;
mod wish;
mod write;

pub use begin::begin;
pub use cancel::{cancel, cancel_within};
pub use change::change;
pub use order::{fulfil, order, title};
pub use wish::{By, ChangeWish, Preview, preview};

use crate::db::DbError;
use crate::domain::money::MoneyError;
use crate::domain::subscription::Subscription;

/// A subscription was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// No plan has this name.
    #[error("there is no such plan")]
    UnknownPlan,
    /// The module at this place is not sold.
    #[error("there is no such module")]
    UnknownModule(usize),
    /// The plan has the module at this place, or the list has it twice.
    #[error("the module is there already")]
    NeedlessModule(usize),
    /// No coupon has this code.
    #[error("there is no such coupon")]
    UnknownCoupon,
    /// The tenant has had this coupon.
    #[error("the coupon was used before")]
    UsedCoupon,
    /// Somebody else has changed the subscription this moment.
    #[error("the subscription was changed meanwhile")]
    Changed,
    /// There is nothing that is paid for.
    #[error("there is nothing to cancel")]
    NothingToCancel,
    /// Open invoices come first.
    #[error("invoices are overdue")]
    Unpaid,
    /// The price is beyond what can be counted.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A subscription after a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// As it is now.
    pub subscription: Subscription,
    /// Version of the tenant's configuration; none = nothing was changed.
    pub config_version: Option<i64>,
}
