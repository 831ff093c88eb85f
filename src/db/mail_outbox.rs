//! Mail to be sent: `platform.mail_outbox`, written in the transaction of what it tells.

use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::MailId;
use crate::domain::mail::MailKind;

/// A mail to be.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// What it is about.
    pub kind: MailKind,
    /// Address.
    pub recipient: &'a str,
    /// What the template says besides the tenant's name; never a secret.
    pub detail: Value,
    /// The row that the link's token stands for, where the kind has a link.
    pub row: Option<Uuid>,
}

/// Adds a mail to the transaction's tenant; it is sent after the commit.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewMail<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient, detail, row_id) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        clock::new_id::<MailId>().uuid(),
        new.kind.as_str(),
        new.recipient,
        new.detail,
        new.row
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
