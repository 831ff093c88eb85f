//! Mail as its reader sees it.

use std::path::Path;

use base64::Engine as _;

use crate::helpers::{App, until};

/// A mail that was delivered.
#[derive(Debug, Clone)]
pub struct Mail {
    pub raw: String,
    pub to: String,
    pub subject: String,
    /// The body's parts, decoded.
    pub body: String,
}

impl Mail {
    pub fn parse(raw: &str) -> Self {
        let header = |name: &str| {
            let lines = raw.split("\r\n").take_while(|line| !line.is_empty());
            let line = lines.into_iter().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name}: {raw}")).to_owned()
        };
        let body = raw.split_once("\r\n\r\n").unwrap().1;
        Self { raw: raw.to_owned(), to: header("To"), subject: header("Subject"), body: unquoted(body) }
    }

    /// The token of the mail's link.
    #[track_caller]
    pub fn token(&self) -> String {
        self.link().split_once("token=").unwrap().1.to_owned()
    }

    /// Name and bytes of the PDF that is attached.
    #[track_caller]
    pub fn pdf(&self) -> (String, Vec<u8>) {
        let part = self.raw.split("\r\n--").find(|part| part.contains("Content-Type: application/pdf"));
        let (head, body) = part.and_then(|part| part.split_once("\r\n\r\n")).expect("a PDF");
        assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
        let name = head.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
        let body: String = body.split_ascii_whitespace().collect();
        (name.to_owned(), base64::engine::general_purpose::STANDARD.decode(body).unwrap())
    }

    /// The mail's link.
    #[track_caller]
    pub fn link(&self) -> String {
        let at = self.body.find("http").unwrap_or_else(|| panic!("no link: {self:?}"));
        self.body[at..].split(['\r', '\n', '"', '<']).next().unwrap().to_owned()
    }
}

/// Quoted-printable text (RFC 2045 §6.7).
fn unquoted(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'=' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// All mail in a directory of files, the oldest first.
pub fn mails_in(directory: &Path) -> Vec<(String, Mail)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.') && name.ends_with(".eml"));
    names.sort_unstable();
    let read = |name: String| {
        let mail = Mail::parse(&std::fs::read_to_string(directory.join(&name)).unwrap());
        (name, mail)
    };
    names.into_iter().map(read).collect()
}

impl App {
    /// All mail of a kind to an address so far, the oldest first.
    pub fn mails(&self, kind: &str, to: &str) -> Vec<Mail> {
        let all = mails_in(&self.data_dir.path().join("mail"));
        let wanted = all.into_iter().filter(|(name, mail)| name.contains(&format!("-{kind}-")) && mail.to == to);
        wanted.map(|(_, mail)| mail).collect()
    }

    /// Waits for the `n`th mail of a kind to an address.
    pub async fn nth_mail(&self, n: usize, kind: &str, to: &str) -> Mail {
        until(&format!("{kind} to {to}"), async || self.mails(kind, to).len() >= n).await;
        self.mails(kind, to)[n - 1].clone()
    }

    pub async fn mail(&self, kind: &str, to: &str) -> Mail {
        self.nth_mail(1, kind, to).await
    }

    /// Waits until the outbox has nothing left to send.
    pub async fn all_mail_sent(&self) {
        let sql = "SELECT count(*) FROM platform.mail_outbox WHERE sent_at IS NULL";
        until("all mail is sent", async || self.count(sql).await == 0).await;
    }

    /// Rows of the audit log with this action and outcome.
    pub async fn audited(&self, action: &str, outcome: &str) -> i64 {
        self.count(&format!(
            "SELECT count(*) FROM platform.audit_log WHERE action = '{action}' AND outcome = '{outcome}'"
        ))
        .await
    }
}
