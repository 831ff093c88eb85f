//! The words of a mail with an invoice.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Words;
use crate::domain::money::Currency;
use crate::domain::period::Period;

/// What `detail` says: `number`, `total_minor`, `currency`, `period`, `due_at`, `settling` (`paid`, `card` or `transfer`); for a credit note `credits`, `reason`, `is_whole`,
/// `refund_minor` and `transfer_minor`. What is missing is not told.
pub(super) fn words<'a>(tenant: &str, detail: &'a Value) -> Words<'a> {
    let text = |key: &str| detail.get(key).and_then(Value::as_str);
    let number = text("number").unwrap_or_default();
    let total = detail.get("total_minor").and_then(Value::as_i64);
    let currency = text("currency").and_then(|code| Currency::parse(code).ok());
    let amount = total.zip(currency).map_or_else(String::new, |(minor, currency)| currency.format(minor));
    let paragraphs = match text("credits") {
        Some(credited) => {
            let reason = text("reason").map(|reason| format!(" {reason}")).unwrap_or_default();
            let is_part = detail.get("is_whole").and_then(Value::as_bool) == Some(false);
            let first = if is_part {
                format!("Of invoice {credited} of {tenant}, {amount} is taken back.{reason}")
            } else {
                format!("Invoice {credited} of {tenant} over {amount} is taken back.{reason}")
            };
            let is_above_zero = |key: &str| detail.get(key).and_then(Value::as_i64).is_some_and(|minor| minor > 0);
            let back = match (is_above_zero("refund_minor"), is_above_zero("transfer_minor")) {
                (true, _) => Some("The money goes back to the card that was charged."),
                (false, true) => Some("The money is paid back to you."),
                (false, false) => None,
            };
            std::iter::once(first).chain(back.map(str::to_owned)).collect()
        }
        None => {
            let month = text("period").and_then(Period::parse);
            let month = month.map_or_else(String::new, |period| period.start.format(" for %B %Y").to_string());
            let due = text("due_at").and_then(|at| at.parse::<DateTime<Utc>>().ok());
            let then = match text("settling") {
                Some("paid") if total == Some(0) => " There is nothing to pay.".to_owned(),
                Some("paid") => " It is paid, with thanks.".to_owned(),
                Some("card") => " The card on file is charged, so there is nothing to do.".to_owned(),
                _ => due.map_or_else(String::new, |at| at.format(" It is due on %-d %B %Y.").to_string()),
            };
            vec![format!("Here is the invoice of {tenant}{month} over {amount}.{then}")]
        }
    };
    let what = if text("credits").is_some() { "Credit note" } else { "Invoice" };
    Words {
        subject: format!("{what} {number} for {tenant}"),
        paragraphs,
        link: None,
        button: "",
        closing: "The document is attached. You get this mail because you are a billing contact.",
    }
}
