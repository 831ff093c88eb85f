//! What the platform's mails say: a subject, plain text, and the same as HTML.
//!
//! Names come from users. In HTML they are escaped; in a subject they cannot end the line, because names hold no control characters
//! and what does is replaced here all the same.

mod domain;
mod invoice;
mod usage;

use serde_json::Value;

use super::mail::MailKind;

/// What a mail is made from.
#[derive(Debug, Clone, Copy)]
pub struct MailFacts<'a> {
    /// What it is about.
    pub kind: MailKind,
    /// Display name of the tenant.
    pub tenant_name: &'a str,
    /// The link to follow, for kinds that have one.
    pub link: Option<&'a str>,
    /// How long the link works.
    pub link_life_s: u64,
    /// What else the template says.
    pub detail: &'a Value,
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailText {
    /// Subject, one line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
}

/// The words of one kind of mail.
struct Words<'a> {
    subject: String,
    /// What happened, or what is asked.
    paragraphs: Vec<String>,
    /// Where the button leads; it is shown after the first paragraph.
    link: Option<&'a str>,
    /// What the button says.
    button: &'static str,
    /// What to do if it was not the reader.
    closing: &'static str,
}

const IGNORE: &str = "If you did not expect this mail, you can ignore it.";
const ACT: &str = "If this was not you, set a new password now and tell your administrator.";

/// Writes a mail.
#[must_use]
pub fn write(facts: &MailFacts<'_>) -> MailText {
    let Words { subject, mut paragraphs, link, button, closing } = words(facts);
    if facts.link.is_some() {
        paragraphs.push(format!("The link works once, for {}.", duration(facts.link_life_s)));
    }
    let mut text = String::new();
    for (index, paragraph) in paragraphs.iter().enumerate() {
        text.push_str(paragraph);
        text.push_str("\n\n");
        if let (0, Some(link)) = (index, link) {
            text.push_str(&format!("{link}\n\n"));
        }
    }
    text.push_str(&format!("{closing}\n\n-- \n{}\n", facts.tenant_name));
    MailText { subject: one_line(&subject), text, html: html(facts.tenant_name, &paragraphs, link, button, closing) }
}

fn words<'a>(facts: &MailFacts<'a>) -> Words<'a> {
    let tenant = facts.tenant_name;
    let told = |key: &str| facts.detail.get(key).and_then(Value::as_str);
    let (subject, paragraph, button, closing) = match facts.kind {
        MailKind::Invitation => {
            let who = told("invited_by");
            let says = who.map_or_else(|| "You are invited".to_owned(), |name| format!("{name} has invited you"));
            (format!("You are invited to {tenant}"), format!("{says} to {tenant}."), "Accept the invitation", IGNORE)
        }
        MailKind::OnboardingInvitation => (
            "You are invited to set up your organisation".to_owned(),
            "You are invited to set up your organisation and to become its owner.".to_owned(),
            "Set up your organisation",
            IGNORE,
        ),
        MailKind::EmailVerification => (
            format!("Confirm your e-mail address for {tenant}"),
            format!("Please confirm that this address belongs to your account at {tenant}."),
            "Confirm the address",
            IGNORE,
        ),
        MailKind::PasswordReset => (
            format!("Set a new password for {tenant}"),
            format!("Somebody, hopefully you, asked for a new password for your account at {tenant}."),
            "Set a new password",
            "If this was not you, you can ignore this mail: your password stays as it is.",
        ),
        MailKind::PasswordChanged => (
            format!("Your password for {tenant} was changed"),
            format!("The password of your account at {tenant} was changed, and other sessions were ended."),
            "",
            ACT,
        ),
        MailKind::EmailChanged if told("state") == Some("requested") => (
            format!("Your e-mail address at {tenant} is to be changed"),
            format!(
                "Another address was named for your account at {tenant}. It counts once its owner has confirmed it."
            ),
            "",
            ACT,
        ),
        MailKind::EmailChanged => (
            format!("Your e-mail address at {tenant} was changed"),
            format!("Your account at {tenant} has another e-mail address now. This is the last mail to the old one."),
            "",
            "If this was not you, tell your administrator now.",
        ),
        MailKind::FactorChanged => (
            format!("Your sign-in to {tenant} was changed"),
            format!("A second factor of your account at {tenant} was added or removed."),
            "",
            ACT,
        ),
        MailKind::SessionReuse => (
            format!("A session at {tenant} was ended"),
            format!(
                "A session of your account at {tenant} was ended, because its credentials were used twice: somebody may \
                 have copied them. Please sign in again."
            ),
            "",
            ACT,
        ),
        MailKind::CodeGuessing => (
            format!("Somebody is guessing codes of your account at {tenant}"),
            format!(
                "Your password for {tenant} was given correctly, and then many wrong codes. Somebody may know your \
                 password. They are not in, and further codes have to wait longer each time."
            ),
            "",
            ACT,
        ),
        MailKind::UsageThreshold => return usage::words(tenant, facts.detail),
        MailKind::Invoice => return invoice::words(tenant, facts.detail),
        MailKind::DomainLost => return domain::words(tenant, facts.detail),
    };
    Words { subject, paragraphs: vec![paragraph], link: facts.link, button, closing }
}

fn html(tenant_name: &str, paragraphs: &[String], link: Option<&str>, button: &str, closing: &str) -> String {
    let mut body = String::new();
    for (index, paragraph) in paragraphs.iter().enumerate() {
        body.push_str(&format!("<p style=\"margin:0 0 16px\">{}</p>", escape(paragraph)));
        if let (0, Some(link)) = (index, link) {
            let link = escape(link);
            body.push_str(&format!(
                "<p style=\"margin:24px 0\"><a href=\"{link}\" style=\"background:#1f4b99;color:#ffffff;padding:12px 20px;\
                 border-radius:6px;text-decoration:none;display:inline-block\">{}</a></p>\
                 <p style=\"margin:0 0 16px;font-size:13px;color:#555555;word-break:break-all\">{link}</p>",
                escape(button)
            ));
        }
    }
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"></head><body style=\"margin:0;background:#f4f5f7\"><div style=\"max-width:560px;\
         margin:32px auto;padding:32px;background:#ffffff;border-radius:8px;font:16px/1.5 -apple-system,'Segoe UI',Roboto,\
         Helvetica,Arial,sans-serif;color:#1c1e21\"><p style=\"margin:0 0 24px;font-weight:600\">{name}</p>{body}\
         <p style=\"margin:24px 0 0;font-size:13px;color:#555555\">{closing}</p></div></body></html>\n",
        name = escape(tenant_name),
        closing = escape(closing)
    )
}

/// Text as HTML, also inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn duration(seconds: u64) -> String {
    let (n, unit) = match seconds {
        0..7_200 => (seconds.div_ceil(60), "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "mail_text_tests.rs"]
mod tests;
