//! Somebody wants to subscribe: a page to pay on, unless Stripe charges them already.

use std::time::Duration;

use serde_json::json;

use super::{Checkout, CustomerFacts, Desk, PaymentError};
use crate::actors::subscriptions::{self, Preview};
use crate::actors::tenant::{TenantView, canonical_url, upgrade_url};
use crate::clock;
use crate::db::{TenantTx, audit, billing_profiles, stripe_customers, user_admin};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::TenantId;

/// Where the browser goes from a page of Stripe's: a path on the tenant's host, or a URL.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// After the payment.
    pub success_url: Option<String>,
    /// Without one.
    pub cancel_url: Option<String>,
}

impl Desk {
    /// Opens a page on which what is wanted is paid; `None` if the tenant has a subscription at Stripe already: then it can be changed
    /// at once, and its next invoice has what that costs.
    ///
    /// # Errors
    /// [`PaymentError`]; [`PaymentError::Unsettled`] after `stripe.order_timeout_ms`.
    pub async fn take_order(
        &self,
        view: &TenantView,
        preview: &Preview,
        pages: Pages,
    ) -> Result<Option<String>, PaymentError> {
        let patience = Duration::from_millis(self.settings.stripe.order_timeout_ms);
        // As if the process had ended here: what was begun is a row, and whoever asks again goes on with it.
        let taken = tokio::time::timeout(patience, self.open_page(view, preview, pages)).await;
        taken.unwrap_or(Err(PaymentError::Unsettled(None)))
    }

    async fn open_page(
        &self,
        view: &TenantView,
        preview: &Preview,
        pages: Pages,
    ) -> Result<Option<String>, PaymentError> {
        let tenant = view.tenant.id;
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let known = stripe_customers::find(&mut tx).await?;
        tx.finish();
        if known.is_some_and(|customer| customer.subscription_id.is_some()) {
            return Ok(None);
        }
        let order = subscriptions::order(&self.settings, &view.subscription, preview, clock::now())?;
        let title = subscriptions::title(&self.settings, &order.terms);
        let customer = self.ensure_customer_of(view).await?;
        let (success_url, cancel_url) =
            (self.whole_url(view, pages.success_url), self.whole_url(view, pages.cancel_url));
        let checkout = Checkout { customer, order, title, success_url, cancel_url };
        Ok(Some(self.open_checkout(tenant, &checkout).await?))
    }

    /// A page on which the tenant changes its card and its addresses; returns its URL, which works for minutes. The browser comes
    /// back to `return_url`. `actor` wants it, from `source`.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn open_portal(
        &self,
        view: &TenantView,
        return_url: Option<String>,
        actor: AuditActor,
        source: AuditSource,
    ) -> Result<String, PaymentError> {
        let customer = self.ensure_customer_of(view).await?;
        let return_url = self.whole_url(view, return_url);
        let attempt = clock::new_id::<uuid::Uuid>().to_string();
        let url = self.portal_session(view.tenant.id, &customer, &return_url, &attempt).await?;
        let event = AuditEvent {
            actor,
            action: "billing.portal",
            target_kind: "tenant",
            target_id: Some(view.tenant.id.to_string()),
            outcome: AuditOutcome::Success,
            code: None,
            source,
            detail: json!({ "attempt": attempt }),
        };
        let mut tx = TenantTx::begin(&self.db, view.tenant.id).await?;
        audit::insert(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(url)
    }

    /// A whole URL; where none is wanted, the page that sells upgrades.
    fn whole_url(&self, view: &TenantView, wanted: Option<String>) -> String {
        match wanted {
            Some(path) if path.starts_with('/') => {
                format!("{}{path}", canonical_url(&self.settings, &view.tenant.slug))
            }
            Some(url) => url,
            None => upgrade_url(&self.settings, &view.tenant.slug),
        }
    }

    /// The tenant's customer, which is made after its billing profile or, without one, after its name and its first owner.
    async fn ensure_customer_of(&self, view: &TenantView) -> Result<String, PaymentError> {
        let facts = self.facts_of(view.tenant.id, &view.tenant.name).await?;
        self.ensure_customer(view.tenant.id, &facts).await
    }

    async fn facts_of(&self, tenant: TenantId, name: &str) -> Result<CustomerFacts, PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let profile = billing_profiles::find(&mut tx).await?;
        let admins = user_admin::list_admins_mail(&mut tx).await?;
        tx.finish();
        let (name, emails) = match profile {
            Some(profile) => (profile.legal_name, profile.emails),
            None => (name.to_owned(), Vec::new()),
        };
        let email = emails.into_iter().chain(admins).next().unwrap_or_default();
        Ok(CustomerFacts { name, email })
    }
}
