//! Who sells, who buys, and who is told.

use serde_json::{Value, json};

use crate::config::Settings;
use crate::db::{DbError, TenantTx, billing_profiles, mail_outbox, stripe_customers, tenants, user_admin};
use crate::domain::mail::MailKind;

/// The two parties of an invoice as they are now, and who gets it by mail.
pub(super) struct Parties {
    /// Who sells, as the configuration has it.
    pub(super) seller: Value,
    /// Who buys: the tenant's profile, or what is known of it.
    pub(super) buyer: Value,
    /// Addresses; none, and nobody is told by mail.
    pub(super) recipients: Vec<String>,
    /// A card is known that Stripe charges for what is issued now.
    pub(super) has_card: bool,
}

/// Of the transaction's tenant.
pub(super) async fn of(tx: &mut TenantTx, settings: &Settings) -> Result<Parties, DbError> {
    let profile = billing_profiles::find(tx).await?;
    let (buyer, recipients) = match profile {
        Some(profile) => (json!(profile), profile.emails),
        None => {
            let name = tenants::find(tx).await?.map(|tenant| tenant.name);
            // An invoice names a country, and with it a tax: until the tenant has said otherwise, the seller's own (ADR 50).
            let country = &settings.billing.seller.country;
            let buyer = json!({ "legal_name": name, "address_lines": [], "city": "", "postcode": "", "country": country,
                                "tax_id": null, "emails": [] });
            (buyer, Vec::new())
        }
    };
    let recipients = if recipients.is_empty() { user_admin::list_admins_mail(tx).await? } else { recipients };
    let customer = stripe_customers::find(tx).await?;
    let has_card = settings.stripe.secret_key.is_some()
        && customer.is_some_and(|customer| customer.payment_method.is_some() && !customer.is_gone);
    Ok(Parties { seller: json!(settings.billing.seller), buyer, recipients, has_card })
}

/// Mails the facts of an invoice, and the invoice with them, after the commit.
pub(super) async fn announce(tx: &mut TenantTx, facts: &Value, recipients: &[String]) -> Result<(), DbError> {
    mail_outbox::insert_for_all(tx, MailKind::Invoice, recipients, facts).await
}
