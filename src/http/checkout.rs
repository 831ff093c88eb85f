//! Where a payment is taken online before a subscription is changed, if it is.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::problem::Problem;
use crate::actors::subscriptions::{ChangeWish, Preview};
use crate::actors::tenant::TenantView;
use crate::domain::audit::{AuditActor, AuditSource};

/// A wish that leads to paid terms from now on.
#[derive(Debug, Clone)]
pub struct CheckoutOrder {
    /// The tenant, and the subscription that it has.
    pub view: Arc<TenantView>,
    /// What is wanted. Once it is paid, this is what [`crate::actors::subscriptions::change`] is asked for.
    pub wish: ChangeWish,
    /// What that means in terms and prices.
    pub preview: Preview,
    /// Where the browser goes after the payment.
    pub success_url: Option<String>,
    /// Where it goes without one.
    pub cancel_url: Option<String>,
    /// Who wants it.
    pub actor: AuditActor,
    /// From where.
    pub source: AuditSource,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckoutAnswer {
    /// It is to be paid there; nothing is changed before.
    Pay {
        /// The page.
        url: String,
    },
    /// Nothing is asked for now, for instance because the tenant's card is known: the subscription is changed at once.
    Settled,
}

/// Takes an order. There is one where payments are taken online; without it, subscriptions change at once and are invoiced.
pub type Checkout =
    Box<dyn Fn(CheckoutOrder) -> LocalBoxFuture<'static, Result<CheckoutAnswer, Problem>> + Send + Sync>;
