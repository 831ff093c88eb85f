//! Stripe's objects with all the fields that they always have.

use serde_json::{Value, json};

use super::calendar::month;
use super::form::{list, number, text};

/// Metadata of a request, as an object has it.
pub fn metadata(params: &Value, pointer: &str) -> Value {
    params.pointer(pointer).filter(|map| map.is_object()).cloned().unwrap_or_else(|| json!({}))
}

pub fn product(id: &str, now: i64, params: &Value) -> Value {
    json!({
        "id": id, "object": "product", "active": true, "created": now, "updated": now, "livemode": false, "images": [],
        "marketing_features": [], "metadata": metadata(params, "/metadata"), "name": text(params, "/name"), "type": "service",
    })
}

pub fn price(id: &str, now: i64, params: &Value) -> Value {
    let amount = number(params, "/unit_amount");
    json!({
        "id": id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": now, "livemode": false,
        "currency": text(params, "/currency"), "lookup_key": text(params, "/lookup_key"),
        "metadata": metadata(params, "/metadata"), "product": text(params, "/product"), "type": "recurring",
        "unit_amount": amount, "unit_amount_decimal": amount.map(|amount| amount.to_string()),
        "recurring": {
            "interval": text(params, "/recurring/interval"), "interval_count": 1, "meter": null, "usage_type": "licensed",
            "trial_period_days": null,
        },
    })
}

pub fn customer(id: &str, now: i64, params: &Value) -> Value {
    json!({
        "id": id, "object": "customer", "created": now, "livemode": false, "email": text(params, "/email"),
        "name": text(params, "/name"), "metadata": metadata(params, "/metadata"), "balance": 0, "delinquent": false,
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null,
        },
    })
}

pub fn session(id: &str, now: i64, url: &str, params: &Value, amount: Option<i64>) -> Value {
    let currency = text(params, "/currency").or_else(|| text(params, "/line_items/0/price_data/currency"));
    let message = text(params, "/custom_text/submit/message").map(|message| json!({ "message": message }));
    json!({
        "id": id, "object": "checkout.session", "created": now, "livemode": false, "mode": text(params, "/mode"),
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null }, "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": message, "terms_of_service_acceptance": null,
        },
        "payment_method_types": ["card"], "payment_status": "unpaid", "shipping_options": [], "status": "open",
        "customer": text(params, "/customer"), "client_reference_id": text(params, "/client_reference_id"),
        "success_url": text(params, "/success_url"), "cancel_url": text(params, "/cancel_url"),
        "expires_at": number(params, "/expires_at").unwrap_or(now + 86_400), "url": url,
        "metadata": metadata(params, "/metadata"), "subscription": null, "invoice": null, "payment_intent": null,
        "setup_intent": null, "amount_total": amount, "currency": currency,
    })
}

pub fn payment_intent(id: &str, now: i64, session: &Value, card: &str) -> Value {
    json!({
        "id": id, "object": "payment_intent", "amount": session["amount_total"], "amount_received": session["amount_total"],
        "amount_capturable": 0,
        "created": now, "currency": session["currency"], "customer": session["customer"], "livemode": false,
        "metadata": session["metadata"], "payment_method": card, "payment_method_types": ["card"], "status": "succeeded",
        "capture_method": "automatic", "confirmation_method": "automatic", "setup_future_usage": "off_session",
    })
}

pub fn setup_intent(id: &str, now: i64, session: &Value, card: &str) -> Value {
    json!({
        "id": id, "object": "setup_intent", "created": now, "customer": session["customer"], "livemode": false,
        "metadata": session["metadata"], "payment_method": card, "payment_method_types": ["card"], "status": "succeeded",
        "usage": "off_session",
    })
}

pub fn portal(id: &str, now: i64, url: &str, params: &Value) -> Value {
    json!({
        "id": id, "object": "billing_portal.session", "created": now, "livemode": false, "configuration": "bpc_fake",
        "customer": text(params, "/customer"), "return_url": text(params, "/return_url"), "url": url, "flow": null,
        "locale": null, "on_behalf_of": null, "customer_account": null,
    })
}

pub fn subscription(id: &str, now: i64, params: &Value, items: Vec<Value>) -> Value {
    let currency = items.first().map(|item| item["price"]["currency"].clone());
    json!({
        "id": id, "object": "subscription", "created": now, "livemode": false, "customer": text(params, "/customer"),
        "automatic_tax": { "enabled": false, "liability": null, "disabled_reason": null },
        "billing_cycle_anchor": month(now).1, "billing_mode": { "type": "flexible", "flexible": null }, "billing_schedules": [],
        "billing_cycle_anchor_config": { "day_of_month": 1, "hour": 0, "minute": 0, "second": 0, "month": null },
        "cancel_at_period_end": text(params, "/cancel_at_period_end") == Some("true"), "cancel_at": null, "canceled_at": null, "ended_at": null,
        "collection_method": "charge_automatically", "currency": currency, "discounts": [],
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } },
        "items": { "object": "list", "url": format!("/v1/subscription_items?subscription={id}"), "has_more": false, "data": items },
        "latest_invoice": null, "metadata": metadata(params, "/metadata"), "start_date": now,
        "status": "active", "trial_start": null, "trial_end": null, "default_payment_method": null,
    })
}

pub fn subscription_item(id: &str, now: i64, subscription: &str, price: &Value) -> Value {
    json!({
        "id": id, "object": "subscription_item", "created": now, "subscription": subscription, "price": price, "quantity": 1,
        "current_period_start": now, "current_period_end": month(now).1, "discounts": [], "metadata": {}, "tax_rates": [],
        "billing_thresholds": null, "plan": plan(price),
    })
}

/// The old name of a price, which items still carry.
fn plan(price: &Value) -> Value {
    json!({
        "id": price["id"], "object": "plan", "active": true, "billing_scheme": "per_unit", "created": price["created"],
        "currency": price["currency"], "interval": "month", "interval_count": 1, "livemode": false, "metadata": {},
        "product": price["product"], "amount": price["unit_amount"], "usage_type": "licensed",
    })
}

/// An empty draft.
pub fn invoice(id: &str, now: i64, subscription: &Value, reason: &str, period: (i64, i64)) -> Value {
    json!({
        "id": id, "object": "invoice", "created": now, "livemode": false, "customer": subscription["customer"],
        "currency": subscription["currency"], "status": "draft", "billing_reason": reason, "auto_advance": true,
        "amount_due": 0, "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": 0, "amount_shipping": 0,
        "attempt_count": 0, "attempted": false, "automatic_tax": {
            "enabled": false, "liability": null, "disabled_reason": null, "provider": null, "status": null,
        },
        "collection_method": "charge_automatically", "default_tax_rates": [], "discounts": [], "issuer": { "type": "self" },
        "lines": { "object": "list", "url": format!("/v1/invoices/{id}/lines"), "has_more": false, "data": [] },
        "payment_settings": {
            "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
        },
        "period_start": period.0, "period_end": period.1, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "starting_balance": 0, "subtotal": 0, "total": 0, "number": null,
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
        },
        "parent": {
            "type": "subscription_details", "quote_details": null,
            "subscription_details": { "metadata": subscription["metadata"], "subscription": subscription["id"] },
        },
        "metadata": {}, "next_payment_attempt": now + 3_600,
    })
}

pub fn line(id: &str, invoice: &Value, amount: i64, description: &str, period: (i64, i64)) -> Value {
    json!({
        "id": id, "object": "line_item", "amount": amount, "currency": invoice["currency"], "description": description,
        "discountable": true, "discounts": [], "invoice": invoice["id"], "livemode": false, "metadata": {},
        "period": { "start": period.0, "end": period.1 }, "subtotal": amount, "quantity": 1, "quantity_decimal": "1",
        "discount_amounts": null, "parent": null, "pretax_credit_amounts": null, "pricing": null, "subscription": null,
        "taxes": null,
    })
}

pub fn item(id: &str, now: i64, params: &Value) -> Value {
    json!({
        "id": id, "object": "invoiceitem", "amount": number(params, "/amount"), "currency": text(params, "/currency"),
        "customer": text(params, "/customer"), "date": now, "description": text(params, "/description"), "discountable": true,
        "discounts": null, "invoice": text(params, "/invoice"), "livemode": false, "metadata": metadata(params, "/metadata"),
        "period": {
            "start": number(params, "/period/start").unwrap_or(now), "end": number(params, "/period/end").unwrap_or(now),
        },
        "proration": false, "quantity": 1, "quantity_decimal": "1", "parent": null, "pricing": null, "tax_rates": null,
        "test_clock": null, "net_amount": number(params, "/amount"), "customer_account": null,
    })
}

/// What was charged for an invoice or a session, whose field `amount` says how much.
pub fn charge(id: &str, now: i64, invoice: &Value, amount: &str, payment: &str) -> Value {
    json!({
        "id": id, "object": "charge", "amount": invoice[amount], "amount_captured": invoice[amount],
        "amount_refunded": 0, "billing_details": {
            "address": null, "email": null, "name": null, "phone": null, "tax_id": null,
        },
        "captured": true, "created": now, "currency": invoice["currency"], "customer": invoice["customer"],
        "disputed": false, "livemode": false, "metadata": {}, "paid": true, "refunded": false, "status": "succeeded",
        "payment_intent": payment,
    })
}

pub fn refund(id: &str, now: i64, charge: &Value, params: &Value) -> Value {
    json!({
        "id": id, "object": "refund", "amount": number(params, "/amount"), "charge": charge["id"], "created": now,
        "currency": charge["currency"], "metadata": metadata(params, "/metadata"), "payment_intent": charge["payment_intent"],
        "status": "succeeded", "balance_transaction": null, "reason": null, "receipt_number": null,
        "source_transfer_reversal": null, "transfer_reversal": null,
    })
}

pub fn credit_note(id: &str, now: i64, invoice: &Value, params: &Value, is_paid: bool) -> Value {
    let amount = number(params, "/amount").unwrap_or(0);
    let (before, after) = if is_paid { (0, amount) } else { (amount, 0) };
    json!({
        "id": id, "object": "credit_note", "amount": amount, "amount_shipping": 0, "created": now,
        "currency": invoice["currency"], "customer": invoice["customer"], "discount_amount": 0, "discount_amounts": [],
        "invoice": invoice["id"], "livemode": false, "metadata": metadata(params, "/metadata"),
        "lines": { "object": "list", "url": format!("/v1/credit_notes/{id}/lines"), "has_more": false, "data": [] },
        "number": format!("{id}-CN"), "pdf": format!("https://pay.invalid/{id}.pdf"), "post_payment_amount": after,
        "pre_payment_amount": before, "pretax_credit_amounts": [], "refunds": [], "status": "issued", "subtotal": amount,
        "total": amount, "type": if is_paid { "post_payment" } else { "pre_payment" }, "memo": null, "reason": null,
        "customer_balance_transaction": null, "effective_at": now, "out_of_band_amount": null, "voided_at": null,
        "subtotal_excluding_tax": amount, "total_excluding_tax": amount, "total_taxes": null, "shipping_cost": null,
    })
}

pub fn dispute(id: &str, now: i64, charge: &Value) -> Value {
    json!({
        "id": id, "object": "dispute", "amount": charge["amount"], "balance_transactions": [], "charge": charge["id"],
        "created": now, "currency": charge["currency"], "enhanced_eligibility_types": [],
        "evidence": { "enhanced_evidence": {} }, "evidence_details": {
            "due_by": null, "enhanced_eligibility": {}, "has_evidence": false, "past_due": false, "submission_count": 0,
        },
        "is_charge_refundable": false, "livemode": false, "metadata": {}, "payment_intent": charge["payment_intent"],
        "reason": "fraudulent", "status": "needs_response",
    })
}

/// The lines of a request, by their prices.
pub fn price_ids(params: &Value, pointer: &str) -> Vec<String> {
    list(params, pointer).iter().filter_map(|item| text(item, "/price").map(str::to_owned)).collect()
}
