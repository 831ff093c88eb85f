//! Stripe: what is asked of it, and what it tells.
//!
//! Nothing here is a state machine of its own. A request is a row before it is a call (`intents`), so whoever repeats it, after
//! whatever went wrong, gets what the first call did. What Stripe tells is taken in as it comes (`inbox`) and only means that an
//! object is to be looked at; what the object then says becomes facts in `billing.payment_events` (`apply`).
//!
//! Our books are the authority, and two things keep both sides together, however often they run: our books follow the facts (`books`),
//! and Stripe follows our books: its subscription has our terms (`follow`), and what it collects are our invoices (`collect`).

mod apply;
mod books;
mod catalogue;
mod checkout;
mod collect;
mod customer;
mod follow;
mod inbox;
mod intents;
mod invoices;
mod order;
mod place;
mod reconcile;
mod refunds;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use crate::actors::billing::close::CloseError;
use crate::actors::subscriptions::SubscribeError;
use crate::clients::stripe::{Stripe, StripeError};
use crate::config::Settings;
use crate::db::{Db, DbError};
use crate::domain::ids::TenantId;
use crate::domain::money::MoneyError;

pub use catalogue::CatalogueItem;
pub use checkout::Checkout;
pub use customer::CustomerFacts;
pub use invoices::{DraftInvoice, InvoiceItem};
pub use order::Pages;
pub use refunds::{CreditNote, Refund};
pub use subscriptions::{Ends, SubscriptionChange};

/// Why something was not done at Stripe.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The database.
    #[error("the database did not answer")]
    Db(#[from] DbError),
    /// Stripe refused, and will refuse the same again.
    #[error("Stripe refused with {code}: {detail}")]
    Refused {
        /// `error.code`, else `error.type`.
        code: String,
        /// `error.message`.
        detail: String,
    },
    /// Nobody knows whether it was done. Whoever asks again under the same key finds out, and so does the next run of the job
    /// `settle_stripe_requests`.
    #[error("what became of the request is not known yet")]
    Unsettled(#[source] Option<StripeError>),
    /// Stripe does not accept our credentials.
    #[error("Stripe does not accept the secret key")]
    Locked,
    /// The key stands for another request already: a bug.
    #[error("the key {0} stands for another request")]
    KeyTaken(String),
    /// An object lacks what it always has.
    #[error("Stripe's {0} cannot be understood")]
    Malformed(&'static str),
    /// A checkout was completed that was to be replaced: its subscription will be told of.
    #[error("a checkout has been completed already")]
    CheckoutCompleted,
    /// A price of this name has another amount at Stripe. Prices never change: a new amount is a new version of the plan.
    #[error("the price {0} has another amount at Stripe")]
    PriceDiffers(String),
    /// An invoice's sum differs from ours, so it stays a draft.
    #[error("the invoice {invoice} is of {theirs} minor units at Stripe and of {ours} in our books")]
    SumsDiffer {
        /// The invoice.
        invoice: String,
        /// Our sum, in minor units.
        ours: i64,
        /// Stripe's, in minor units.
        theirs: i64,
    },
    /// A sum of ours does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A period of ours could not be closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// A subscription of ours could not be changed.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
}

/// What it takes to deal with Stripe.
#[derive(Debug, Clone)]
pub struct Desk {
    /// What is sold, and how.
    pub settings: Arc<Settings>,
    /// Where our books are, and requests and events are kept.
    pub db: Db,
    /// The account.
    pub client: Stripe,
    /// The platform's own tenant: whose the catalogue and the inbox are.
    pub platform: TenantId,
    /// Pause before a request is sent again; twice as long before each further attempt.
    pub pause: Duration,
}

/// A field of an object that it always has.
fn text(object: &serde_json::Value, field: &str, what: &'static str) -> Result<String, PaymentError> {
    object.get(field).and_then(serde_json::Value::as_str).map(str::to_owned).ok_or(PaymentError::Malformed(what))
}
