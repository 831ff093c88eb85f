//! The customer that stands for a tenant.

use serde_json::json;

use super::{Desk, PaymentError, text};
use crate::db::{TenantTx, stripe_customers};
use crate::domain::ids::TenantId;
use crate::domain::stripe::intent::{Intent, Operation};

/// What Stripe is told of a tenant when its customer is made. Later changes are made on Stripe's own pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerFacts {
    /// Its name.
    pub name: String,
    /// Where Stripe's receipts go.
    pub email: String,
}

impl Desk {
    /// Id of the tenant's customer, which is made if there is none, or none any more.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn ensure_customer(&self, tenant: TenantId, facts: &CustomerFacts) -> Result<String, PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let known = stripe_customers::find(&mut tx).await?;
        tx.finish();
        let key = match known {
            None => "customer".to_owned(),
            Some(gone) if gone.is_gone => format!("customer:{}", gone.n_customers),
            Some(known) => return Ok(known.customer_id),
        };
        let intent = Intent {
            operation: Operation::CreateCustomer,
            target: None,
            params: json!({
                "name": facts.name, "email": facts.email, "metadata": { "tenant_id": tenant.to_string() },
            }),
            key,
        };
        let made = match self.perform(tenant, &intent).await {
            // It was begun under another name or address: that one goes on.
            Err(PaymentError::KeyTaken(key)) => self.resume(tenant, &key).await?,
            other => other?,
        };
        let customer = text(&made, "id", "customer")?;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_customers::insert(&mut tx, &customer).await?;
        tx.commit().await?;
        Ok(customer)
    }

    /// A page on which the tenant changes its cards and addresses, and sees its invoices; returns its URL. It works for minutes,
    /// so each `attempt` (any text of at most 64 characters) has a page of its own.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn portal_session(
        &self,
        tenant: TenantId,
        customer: &str,
        return_url: &str,
        attempt: &str,
    ) -> Result<String, PaymentError> {
        let intent = Intent {
            operation: Operation::CreatePortalSession,
            target: None,
            params: json!({ "customer": customer, "return_url": return_url }),
            key: format!("portal:{attempt}"),
        };
        text(&self.perform(tenant, &intent).await?, "url", "portal session")
    }
}
