//! The words of a mail about a limit.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Words;
use crate::domain::money::grouped;
use crate::domain::period::Period;
use crate::domain::quota::QuotaState;

/// What `detail` says: `meter`, `threshold`, `used`, `limit`, `state`, `period`, `until`, `upgrade_url`. What is missing is not told.
pub(super) fn words<'a>(tenant: &str, detail: &'a Value) -> Words<'a> {
    let text = |key: &str| detail.get(key).and_then(Value::as_str);
    let number = |key: &str| detail.get(key).and_then(Value::as_i64);
    let meter = text("meter").unwrap_or("a meter");
    let subject = match number("threshold") {
        Some(threshold) => format!("{tenant} has used {threshold} % of its {meter}"),
        None => format!("{tenant} has used much of its {meter}"),
    };
    let month = text("period").and_then(Period::parse).map(|period| period.start.format(" in %B %Y").to_string());
    let figures = match (number("used"), number("limit")) {
        (Some(used), Some(limit)) => format!("{} of {} {meter}", grouped(used, 0), grouped(limit, 0)),
        _ => format!("much of its {meter}"),
    };
    let what = format!("{tenant} has used {figures}{}.", month.unwrap_or_default());
    let until = text("until").and_then(|until| until.parse::<DateTime<Utc>>().ok());
    let until = until.map_or_else(|| "the month ends".to_owned(), |until| until.format("%-d %B %Y (UTC)").to_string());
    let so = match text("state").and_then(QuotaState::parse) {
        Some(QuotaState::Hard) => {
            format!("The plan allows no more: further calls are refused until {until} or until the plan changes.")
        }
        Some(QuotaState::Paused) => format!(
            "Workflows that need it are paused until {until}, until the plan changes, or until an administrator resumes them."
        ),
        Some(QuotaState::Throttled) => {
            format!("Calls that use it are slowed down until {until} or until the plan changes.")
        }
        Some(QuotaState::Soft) => "This is as much as the plan includes. Nothing is switched off for it.".to_owned(),
        Some(QuotaState::Ok | QuotaState::Warn) | None => "Nothing changes for now.".to_owned(),
    };
    Words {
        subject,
        paragraphs: vec![what, so],
        link: text("upgrade_url"),
        button: "See the plans",
        closing: "You get this mail because you are an owner or an admin.",
    }
}
