//! The words of a mail about a name in DNS that is the tenant's no more.

use serde_json::Value;

use super::Words;

/// What `detail` says: `domain`, `use`, `record`.
pub(super) fn words<'a>(tenant: &str, detail: &'a Value) -> Words<'a> {
    let text = |key: &str| detail.get(key).and_then(Value::as_str);
    let domain = text("domain").unwrap_or("a domain");
    let record = text("record").map_or_else(String::new, |record| format!(" at {record}"));
    let what = match text("use") {
        Some("host") => format!("{tenant} is not reached at {domain} any more."),
        Some(_) | None => format!(
            "{domain} does not count as a domain of {tenant} any more: its people are not sent to your identity provider by their \
             addresses, and no users are made for them."
        ),
    };
    let why = format!(
        "The TXT record{record} that proves the domain was missing on seven days in a row. To have the domain back, set the record \
         again and verify the domain in the settings."
    );
    Words {
        subject: format!("{domain} is not a domain of {tenant} any more"),
        paragraphs: vec![what, why],
        link: None,
        button: "",
        closing: "You get this mail because you are an owner or an admin.",
    }
}
