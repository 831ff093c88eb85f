//! Requests to Stripe that change something, and how to find out whether one that got no answer was done.

use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What is asked of Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A product: a plan, a module.
    CreateProduct,
    /// A price of a product, which never changes.
    CreatePrice,
    /// The customer that stands for a tenant.
    CreateCustomer,
    /// A change of that customer: the card that is charged.
    UpdateCustomer,
    /// A page on which a tenant pays, or shows its card.
    CreateCheckoutSession,
    /// The end of such a page.
    ExpireCheckoutSession,
    /// The subscription that drafts a tenant's invoices.
    CreateSubscription,
    /// A change of a subscription, its end at the period's end included.
    UpdateSubscription,
    /// The end of a subscription at once.
    CancelSubscription,
    /// A page on which a tenant changes its cards and addresses.
    CreatePortalSession,
    /// A draft of an invoice that no subscription drafts.
    CreateInvoice,
    /// A line on a draft invoice.
    CreateInvoiceItem,
    /// The end of the draft: from then on the invoice is owed.
    FinalizeInvoice,
    /// Money back.
    CreateRefund,
    /// A credit note.
    CreateCreditNote,
}

/// HTTP method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes and changes; repeated under the same key it is done once.
    Post,
    /// Ends; Stripe knows no keys for it.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::CreateProduct,
        Self::CreatePrice,
        Self::CreateCustomer,
        Self::UpdateCustomer,
        Self::CreateCheckoutSession,
        Self::ExpireCheckoutSession,
        Self::CreateSubscription,
        Self::UpdateSubscription,
        Self::CancelSubscription,
        Self::CreatePortalSession,
        Self::CreateInvoice,
        Self::CreateInvoiceItem,
        Self::FinalizeInvoice,
        Self::CreateRefund,
        Self::CreateCreditNote,
    ];

    /// Its name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateProduct => "create_product",
            Self::CreatePrice => "create_price",
            Self::CreateCustomer => "create_customer",
            Self::UpdateCustomer => "update_customer",
            Self::CreateCheckoutSession => "create_checkout_session",
            Self::ExpireCheckoutSession => "expire_checkout_session",
            Self::CreateSubscription => "create_subscription",
            Self::UpdateSubscription => "update_subscription",
            Self::CancelSubscription => "cancel_subscription",
            Self::CreatePortalSession => "create_portal_session",
            Self::CreateInvoice => "create_invoice",
            Self::CreateInvoiceItem => "create_invoice_item",
            Self::FinalizeInvoice => "finalize_invoice",
            Self::CreateRefund => "create_refund",
            Self::CreateCreditNote => "create_credit_note",
        }
    }

    /// The operation of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// Method and path; `target` is the object that it is done to, for those that need one.
    #[must_use]
    pub fn call(self, target: &str) -> (Method, String) {
        match self {
            Self::CreateProduct => (Method::Post, "/v1/products".to_owned()),
            Self::CreatePrice => (Method::Post, "/v1/prices".to_owned()),
            Self::CreateCustomer => (Method::Post, "/v1/customers".to_owned()),
            Self::UpdateCustomer => (Method::Post, format!("/v1/customers/{target}")),
            Self::CreateCheckoutSession => (Method::Post, "/v1/checkout/sessions".to_owned()),
            Self::ExpireCheckoutSession => (Method::Post, format!("/v1/checkout/sessions/{target}/expire")),
            Self::CreateSubscription => (Method::Post, "/v1/subscriptions".to_owned()),
            Self::UpdateSubscription => (Method::Post, format!("/v1/subscriptions/{target}")),
            Self::CancelSubscription => (Method::Delete, format!("/v1/subscriptions/{target}")),
            Self::CreatePortalSession => (Method::Post, "/v1/billing_portal/sessions".to_owned()),
            Self::CreateInvoice => (Method::Post, "/v1/invoices".to_owned()),
            Self::CreateInvoiceItem => (Method::Post, "/v1/invoiceitems".to_owned()),
            Self::FinalizeInvoice => (Method::Post, format!("/v1/invoices/{target}/finalize")),
            Self::CreateRefund => (Method::Post, "/v1/refunds".to_owned()),
            Self::CreateCreditNote => (Method::Post, "/v1/credit_notes".to_owned()),
        }
    }

    /// Whether what it makes carries `metadata`, and in it the request's id.
    #[must_use]
    pub fn is_tagged(self) -> bool {
        match self {
            Self::CreateProduct
            | Self::CreatePrice
            | Self::CreateCustomer
            | Self::UpdateCustomer
            | Self::CreateCheckoutSession
            | Self::CreateSubscription
            | Self::UpdateSubscription
            | Self::CreateInvoice
            | Self::CreateInvoiceItem
            | Self::CreateRefund
            | Self::CreateCreditNote => true,
            Self::ExpireCheckoutSession
            | Self::CancelSubscription
            | Self::CreatePortalSession
            | Self::FinalizeInvoice => false,
        }
    }
}

/// A request, in the words of the business.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// What is to be done.
    pub operation: Operation,
    /// To which object, where there is one.
    pub target: Option<String>,
    /// The parameters, as Stripe names them: an object.
    pub params: Value,
    /// The fact of the business that it stands for, 1 to 150 characters: the same fact, the same key.
    pub key: String,
}

/// How to see whether an operation was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// One of a list carries the request's id.
    List {
        /// Path of the list.
        path: &'static str,
        /// What narrows it down.
        query: Value,
    },
    /// The object itself tells.
    Object {
        /// Its path.
        path: String,
        /// How.
        sign: Sign,
    },
    /// Doing it twice does no harm.
    None,
}

/// How an object tells that something was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It carries the request's id.
    Tagged,
    /// Its `status` has become this.
    StatusIs(&'static str),
    /// Its `status` is not this any more.
    StatusIsNot(&'static str),
}

/// How to see whether an operation was done that was first sent at `sent_s`, in seconds since 1970. Lists are asked and not
/// searches, because Stripe's search may lag behind by minutes.
#[must_use]
pub fn probe(operation: Operation, target: &str, params: &Value, sent_s: i64) -> Probe {
    let since = json!({ "created": { "gte": sent_s - CLOCK_SKEW_S } });
    let of = |names: &[&str]| {
        let named = names.iter().filter_map(|name| params.get(*name).map(|value| ((*name).to_owned(), value.clone())));
        Value::Object(named.collect::<Map<_, _>>())
    };
    let list = |path, query| Probe::List { path, query };
    match operation {
        Operation::CreateProduct => list("/v1/products", since),
        Operation::CreatePrice => list("/v1/prices", since),
        Operation::CreateCustomer => list("/v1/customers", since),
        Operation::CreateCheckoutSession => list("/v1/checkout/sessions", of(&["customer"])),
        Operation::CreateSubscription => {
            list("/v1/subscriptions", json!({ "customer": params.get("customer"), "status": "all" }))
        }
        Operation::CreateInvoice => list("/v1/invoices", of(&["customer"])),
        Operation::CreateInvoiceItem => list("/v1/invoiceitems", of(&["invoice"])),
        Operation::CreateRefund => list("/v1/refunds", of(&["charge", "payment_intent"])),
        Operation::CreateCreditNote => list("/v1/credit_notes", of(&["invoice"])),
        Operation::ExpireCheckoutSession => {
            Probe::Object { path: format!("/v1/checkout/sessions/{target}"), sign: Sign::StatusIsNot("open") }
        }
        Operation::UpdateCustomer => Probe::Object { path: format!("/v1/customers/{target}"), sign: Sign::Tagged },
        Operation::UpdateSubscription => {
            Probe::Object { path: format!("/v1/subscriptions/{target}"), sign: Sign::Tagged }
        }
        Operation::CancelSubscription => {
            Probe::Object { path: format!("/v1/subscriptions/{target}"), sign: Sign::StatusIs("canceled") }
        }
        Operation::FinalizeInvoice => {
            Probe::Object { path: format!("/v1/invoices/{target}"), sign: Sign::StatusIsNot("draft") }
        }
        Operation::CreatePortalSession => Probe::None,
    }
}

/// Our clock and Stripe's may differ by so much, in seconds.
const CLOCK_SKEW_S: i64 = 600;

/// Name of the request's id in an object's metadata.
pub const TAG: &str = "intent_id";

/// Whether an object carries a request's id.
#[must_use]
pub fn is_tagged_with(object: &Value, id: Uuid) -> bool {
    object.pointer("/metadata/intent_id").and_then(Value::as_str).is_some_and(|tag| tag == id.to_string())
}

/// Whether an object tells that request `id` was done to it.
#[must_use]
pub fn tells(object: &Value, sign: Sign, id: Uuid) -> bool {
    let status = object.get("status").and_then(Value::as_str);
    match sign {
        Sign::Tagged => is_tagged_with(object, id),
        Sign::StatusIs(wanted) => status == Some(wanted),
        Sign::StatusIsNot(former) => status.is_some_and(|status| status != former),
    }
}

/// The parameters as they are sent: with the request's id among the metadata.
#[must_use]
pub fn tagged(operation: Operation, params: &Value, id: Uuid) -> Value {
    let mut params = params.clone();
    if operation.is_tagged()
        && let Some(map) = params.as_object_mut()
        && let Some(metadata) = map.entry("metadata").or_insert_with(|| json!({})).as_object_mut()
    {
        metadata.insert(TAG.to_owned(), Value::String(id.to_string()));
    }
    params
}

/// What is kept of an answer: what later steps need and nothing about people.
#[must_use]
pub fn kept(object: &Value) -> Value {
    const KEPT: [&str; 19] = [
        "id",
        "object",
        "status",
        "url",
        "created",
        "currency",
        "amount",
        "amount_due",
        "amount_paid",
        "subtotal",
        "total",
        "unit_amount",
        "customer",
        "subscription",
        "invoice",
        "charge",
        "payment_intent",
        "expires_at",
        "lookup_key",
    ];
    let kept = KEPT.iter().filter_map(|name| object.get(*name).map(|value| ((*name).to_owned(), value.clone())));
    Value::Object(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_known_by_its_name() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
        assert_eq!(Operation::parse("create_coffee"), None);
    }

    #[test]
    fn whatever_can_be_done_twice_with_harm_can_be_looked_for() {
        for operation in Operation::ALL {
            let probe = probe(operation, "x_1", &json!({"customer": "c", "invoice": "i", "charge": "ch"}), 1_000_000);
            match probe {
                // A list is searched for the tag.
                Probe::List { query, .. } => {
                    assert!(operation.is_tagged(), "{operation:?}");
                    assert!(query.as_object().is_some_and(|query| !query.is_empty()), "{operation:?}: the whole list");
                }
                Probe::Object { path, sign } => {
                    assert!(path.ends_with("/x_1"), "{path}");
                    assert!(sign != Sign::Tagged || operation.is_tagged(), "{operation:?}");
                }
                Probe::None => assert_eq!(operation, Operation::CreatePortalSession),
            }
        }
    }

    #[test]
    fn the_tag_is_put_beside_the_callers_own_metadata() {
        let id = Uuid::from_u128(7);
        let params = json!({"email": "a@b.test", "metadata": {"tenant_id": "t"}});
        let sent = tagged(Operation::CreateCustomer, &params, id);
        assert_eq!(sent["metadata"], json!({"tenant_id": "t", "intent_id": id.to_string()}));
        assert!(is_tagged_with(&sent, id) && !is_tagged_with(&sent, Uuid::from_u128(8)));
        assert_eq!(tagged(Operation::FinalizeInvoice, &json!({}), id), json!({}));
    }

    #[test]
    fn nothing_about_people_is_kept() {
        let kept = kept(&json!({"id": "cus_1", "email": "a@b.test", "name": "A", "amount": 5, "url": "https://x"}));
        assert_eq!(kept, json!({"id": "cus_1", "amount": 5, "url": "https://x"}));
    }
}
