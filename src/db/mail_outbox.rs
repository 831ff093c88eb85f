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

/// Adds one mail without a link to each recipient; they are sent after the commit.
///
/// # Errors
/// [`DbError`].
pub async fn insert_for_all(
    tx: &mut TenantTx,
    kind: MailKind,
    recipients: &[String],
    detail: &Value,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = recipients.iter().map(|_| clock::new_id::<MailId>().uuid()).collect();
    sqlx::query!(
        "INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient, detail)
         SELECT $1, mail.id, $2, mail.recipient, $5 FROM unnest($3::uuid[], $4::text[]) AS mail (id, recipient)",
        tenant,
        kind.as_str(),
        &ids,
        recipients,
        detail
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// How much mail of a kind was made lately.
#[derive(Debug, Clone, Copy)]
pub struct MailCount {
    /// For one recipient within the last hour.
    pub to_recipient_in_an_hour: i64,
    /// For anybody within the last day.
    pub in_a_day: i64,
}

/// Counts the transaction's tenant's mail of a kind.
///
/// # Errors
/// [`DbError`].
pub async fn count_lately(tx: &mut TenantTx, kind: MailKind, recipient: &str) -> Result<MailCount, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        MailCount,
        r#"SELECT count(*) AS "in_a_day!",
                  count(*) FILTER (WHERE lower(recipient) = lower($3) AND created_at > now() - interval '1 hour')
                  AS "to_recipient_in_an_hour!"
           FROM platform.mail_outbox WHERE tenant_id = $1 AND kind = $2 AND created_at > now() - interval '1 day'"#,
        tenant,
        kind.as_str(),
        recipient
    )
    .fetch_one(tx.connection()?)
    .await?)
}
