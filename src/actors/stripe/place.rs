//! Our lines on Stripe's invoices, so that what is owed there is what ours says, to the last minor unit.

use serde_json::{Value, json};

use super::collect::want_rest;
use super::{Desk, DraftInvoice, InvoiceItem, PaymentError, text};
use crate::db::invoices::{self, InvoiceRow};
use crate::db::stripe_collections::{self, CollectionRow, CollectionState};
use crate::db::{DbError, TenantTx, stripe_customers, subscriptions, tenants};
use crate::domain::ids::{CollectionId, InvoiceId, TenantId};
use crate::domain::invoice::{Line, LineKind};
use crate::domain::period::Period;
use crate::domain::stripe::intent::{Intent, Operation};
use crate::domain::tax::TaxGroup;

/// Longest text of a line at Stripe, in characters.
const MAX_TEXT: usize = 500;

/// An invoice of ours with what is on it.
struct Ours {
    row: InvoiceRow,
    lines: Vec<Line>,
    taxes: Vec<TaxGroup>,
}

impl Desk {
    /// Places every collection of a tenant that is not, and takes back those whose invoice was.
    pub(super) async fn place_all(&self, tenant: TenantId) -> Result<(), PaymentError> {
        // One that is to be taken back may have to be placed before that.
        for _ in 0..2 {
            let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
            let undone = stripe_collections::list_undone(&mut tx).await?;
            tx.finish();
            let mut first_error = None;
            for collection in undone {
                if let Err(error) = self.do_one(tenant, &collection).await {
                    first_error = first_error.or(Some(error));
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn do_one(&self, tenant: TenantId, collection: &CollectionRow) -> Result<(), PaymentError> {
        match collection.state()? {
            CollectionState::Wanted if collection.is_withdrawn => self.note_withdrawn(tenant, collection).await,
            CollectionState::Wanted | CollectionState::Drafted => self.place(tenant, collection).await,
            CollectionState::Placed | CollectionState::Paid if collection.is_withdrawn => {
                self.give_back_excess(tenant, collection).await?;
                // What credit notes took back before goes back by itself.
                let all = collection.amount_minor - collection.refunded_minor;
                self.give_back_of(tenant, collection, all, "all").await?;
                self.note_withdrawn(tenant, collection).await
            }
            CollectionState::Placed | CollectionState::Paid => self.give_back_excess(tenant, collection).await,
            CollectionState::Withdrawn => Ok(()),
        }
    }

    async fn give_back_excess(&self, tenant: TenantId, collection: &CollectionRow) -> Result<(), PaymentError> {
        if collection.excess_minor == 0 {
            return Ok(());
        }
        self.give_back_of(tenant, collection, collection.excess_minor, "excess").await?;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_collections::set_given_back(&mut tx, CollectionId::from(collection.id)).await?;
        Ok(tx.commit().await?)
    }

    async fn give_back_of(
        &self,
        tenant: TenantId,
        collection: &CollectionRow,
        amount_minor: i64,
        what: &str,
    ) -> Result<(), PaymentError> {
        match collection.stripe_invoice_id.as_ref() {
            Some(theirs) if amount_minor > 0 => {
                self.give_back(tenant, theirs, amount_minor, &format!("{}:{what}", collection.id)).await
            }
            _ => Ok(()),
        }
    }

    async fn note_withdrawn(&self, tenant: TenantId, collection: &CollectionRow) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_collections::set_withdrawn(&mut tx, CollectionId::from(collection.id)).await?;
        Ok(tx.commit().await?)
    }

    /// Puts our lines on an invoice of Stripe's, which is made if there is none, and ends its draft.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub(super) async fn place(&self, tenant: TenantId, collection: &CollectionRow) -> Result<(), PaymentError> {
        let id = CollectionId::from(collection.id);
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let customer = stripe_customers::find(&mut tx).await?.ok_or(DbError::Corrupt("stripe_collections"))?;
        if customer.is_gone {
            tx.finish();
            // A refusal now would stand for the one that is made after it, too.
            return Err(PaymentError::Unsettled(None));
        }
        let ours = match collection.invoice_id {
            Some(invoice) => Some(read(&mut tx, InvoiceId::from(invoice)).await?),
            None => None,
        };
        let currency = match &ours {
            Some(ours) => ours.row.currency.clone(),
            None => subscriptions::find(&mut tx).await?.map(|own| own.figures.currency).unwrap_or_default(),
        };
        tx.finish();
        let stripe_invoice = match &collection.stripe_invoice_id {
            Some(known) => known.clone(),
            None => match self.draft(tenant, id, &customer.customer_id, &currency, ours.as_ref()).await? {
                Some(made) => made,
                None => return Ok(()),
            },
        };
        let draft = DraftInvoice {
            items: items(collection, ours.as_ref()),
            invoice: stripe_invoice.clone(),
            customer: customer.customer_id,
            currency,
            number: ours.as_ref().map(|ours| ours.row.number.clone()),
            total_minor: collection.amount_minor,
        };
        let placed = match self.bill(tenant, &draft).await {
            Ok(_) => collection.amount_minor,
            // It was ended by somebody else, with whatever was on it then.
            Err(
                error @ (PaymentError::Refused { .. } | PaymentError::SumsDiffer { .. } | PaymentError::Malformed(_)),
            ) => self.sum_of_ended(&stripe_invoice).await?.ok_or(error)?,
            Err(error) => return Err(error),
        };
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        tenants::lock_plan(&mut tx).await?;
        let (amount, excess) = (placed.min(collection.amount_minor), (placed - collection.amount_minor).max(0));
        let is_open = match &ours {
            Some(ours) => invoices::find(&mut tx, ours.row.invoice_id()).await?.is_some_and(|now| now.status == "open"),
            None => false,
        };
        if stripe_collections::set_placed(&mut tx, id, amount, excess).await? {
            // Of one that was taken back meanwhile, nothing more is wanted.
            let row = ours.as_ref().map(|ours| &ours.row).filter(|_| is_open);
            want_rest(&mut tx, row, &stripe_invoice, collection.amount_minor, placed).await?;
        }
        Ok(tx.commit().await?)
    }

    /// An invoice of Stripe's for one of ours that its subscription drafted none for; `None` if it is not to be gone on with.
    async fn draft(
        &self,
        tenant: TenantId,
        id: CollectionId,
        customer: &str,
        currency: &str,
        ours: Option<&Ours>,
    ) -> Result<Option<String>, PaymentError> {
        let intent = Intent {
            operation: Operation::CreateInvoice,
            target: None,
            params: json!({
                "customer": customer, "currency": currency.to_ascii_lowercase(), "auto_advance": false,
                "collection_method": "charge_automatically", "pending_invoice_items_behavior": "exclude",
                "metadata": { "number": ours.map(|ours| &ours.row.number) },
            }),
            key: format!("inv:create:{id}"),
        };
        let made = text(&self.perform(tenant, &intent).await?, "id", "invoice")?;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        // Somebody else may have gone on with it.
        let is_ours = stripe_collections::set_drafted(&mut tx, id, &made).await?;
        tx.commit().await?;
        Ok(is_ours.then_some(made))
    }

    /// What an invoice comes to that has ended, nothing if it is gone or void; `None` if it is a draft still.
    async fn sum_of_ended(&self, invoice: &str) -> Result<Option<i64>, PaymentError> {
        let Some(theirs) = self.fetch(&format!("/v1/invoices/{invoice}")).await? else { return Ok(Some(0)) };
        match theirs.get("status").and_then(Value::as_str) {
            Some("draft") => Ok(None),
            Some("void") => Ok(Some(0)),
            _ => Ok(Some(theirs.get("total").and_then(Value::as_i64).ok_or(PaymentError::Malformed("invoice"))?)),
        }
    }
}

async fn read(tx: &mut TenantTx, id: InvoiceId) -> Result<Ours, DbError> {
    let row = invoices::find(tx, id).await?.ok_or(DbError::Corrupt("stripe_collections"))?;
    Ok(Ours { row, lines: invoices::list_lines(tx, id).await?, taxes: invoices::list_taxes(tx, id).await? })
}

/// What is to be put on Stripe's invoice, so that with what stands there it comes to what is to be collected.
fn items(collection: &CollectionRow, ours: Option<&Ours>) -> Vec<InvoiceItem> {
    let base = collection.base_minor;
    let item = |line_key: &str, description: &str, amount_minor: i64, period: Option<Period>| InvoiceItem {
        line_key: line_key.chars().take(100).collect(),
        description: description.chars().take(MAX_TEXT).collect(),
        amount_minor,
        period,
    };
    let instead = |text| item("base", text, -base, None);
    let mut items = Vec::new();
    let Some(Ours { row, lines, taxes }) = ours else {
        items.extend((base != 0).then(|| instead("Nothing is due")));
        return items;
    };
    let period = Some(Period { start: row.period_start, end: row.period_end });
    let is_whole = collection.amount_minor == row.total_minor;
    if is_whole {
        let is_recurring = |line: &&Line| matches!(line.kind, LineKind::Plan | LineKind::Module);
        let recurring: i64 = lines.iter().filter(is_recurring).map(|line| line.amount_minor).sum();
        // What Stripe's subscription has drafted are our prices, as a rule.
        let has_prices = base != 0 && base == recurring;
        let missing = lines.iter().filter(|line| !(has_prices && is_recurring(line)));
        items.extend(missing.map(|line| item(&line.key, &line.description, line.amount_minor, Some(line.period))));
        items.push(item("discount", "Discount", -row.discount_minor, period));
        for (n, tax) in taxes.iter().enumerate() {
            let text = format!("Tax of {} %", tax.taxation.rate);
            items.push(item(&format!("tax:{n}"), &text, tax.amount_minor, period));
        }
        if !has_prices {
            items.push(instead("Replaced by the other lines"));
        }
    } else {
        items.push(item("rest", &format!("Rest of invoice {}", row.number), collection.amount_minor, period));
        items.push(instead("Replaced by the other lines"));
    }
    items.retain(|item| item.amount_minor != 0);
    items
}
