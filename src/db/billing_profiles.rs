//! Who a tenant's invoices are for: `billing.profiles`.

use serde::{Deserialize, Serialize};

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::invoice_document::Party;

/// A tenant as a buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingProfile {
    /// Its name in law.
    pub legal_name: String,
    /// Street and the like, in order.
    pub address_lines: Vec<String>,
    /// City.
    pub city: String,
    /// Postcode; empty where there are none.
    pub postcode: String,
    /// Country (ISO 3166-1, two capitals).
    pub country: String,
    /// Its number for value added or sales tax.
    pub tax_id: Option<String>,
    /// Who gets invoices by mail; nobody = the owners.
    pub emails: Vec<String>,
}

impl BillingProfile {
    /// The tenant as documents name it.
    #[must_use]
    pub fn party(&self) -> Party {
        let Self { legal_name, address_lines, city, postcode, country, tax_id, emails } = self.clone();
        let email = emails.into_iter().next().unwrap_or_default();
        let party = Party { name: legal_name, address_lines, city, postcode, country, email, ..Party::default() };
        party.with_tax_id(tax_id.unwrap_or_default())
    }
}

/// The tenant's profile, if it has given one.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx) -> Result<Option<BillingProfile>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        BillingProfile,
        "SELECT legal_name, address_lines, city, postcode, country, tax_id, emails FROM billing.profiles WHERE tenant_id = $1",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Stores the tenant's profile in place of the one it has.
///
/// # Errors
/// [`DbError`].
pub async fn upsert(tx: &mut TenantTx, profile: &BillingProfile) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let BillingProfile { legal_name, address_lines, city, postcode, country, tax_id, emails } = profile;
    sqlx::query!(
        "INSERT INTO billing.profiles (tenant_id, legal_name, address_lines, city, postcode, country, tax_id, emails)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id) DO UPDATE
         SET legal_name = $2, address_lines = $3, city = $4, postcode = $5, country = $6, tax_id = $7, emails = $8, updated_at = now()",
        tenant,
        legal_name,
        address_lines,
        city,
        postcode,
        country,
        tax_id.as_deref(),
        emails
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
