//! Handing mail over: to an SMTP server (RFC 5321), or into files where none is configured.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lettre::address::AddressError;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;

use crate::clock;
use crate::config::MailSettings;
use crate::domain::ids::MailId;
use crate::domain::mail::MailKind;
use crate::domain::mail_text::MailText;

/// Connections to the SMTP server that are kept.
const POOL_SIZE: u32 = 4;
/// Codes of refusals that are about us and our credentials, not about the mail (RFC 4954 §6): put right, the mail goes through.
const ABOUT_US: [u16; 4] = [530, 534, 535, 538];

/// The mailer cannot be made from the settings.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// `mail.from` is no mailbox.
    #[error("mail.from is no address such as \"Name <name@example.com>\"")]
    From(#[source] AddressError),
    /// `mail.smtp_url` is no URL of a server, or TLS cannot be set up.
    #[error("mail.smtp_url cannot be used")]
    Url(#[source] lettre::transport::smtp::Error),
    /// `mail.smtp_ca_file` cannot be read.
    #[error("mail.smtp_ca_file cannot be read")]
    CaFile(#[source] io::Error),
}

/// A mail was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The recipient is no address that SMTP knows.
    #[error("not an address")]
    Recipient(#[from] AddressError),
    /// The mail could not be put together.
    #[error("the mail could not be put together")]
    Message(#[from] lettre::error::Error),
    /// The server refused, or could not be talked to.
    #[error("the mail server did not take it")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The server did not answer.
    #[error("the mail server did not take it in time")]
    TimedOut,
    /// The file could not be written.
    #[error("the file could not be written")]
    File(#[from] io::Error),
}

impl SendError {
    /// Whether another attempt would end the same way.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Recipient(_) | Self::Message(_) => true,
            Self::Smtp(error) => {
                error.is_permanent() && !error.status().is_some_and(|code| ABOUT_US.contains(&u16::from(code)))
            }
            Self::TimedOut | Self::File(_) => false,
        }
    }
}

/// A mail, ready to go.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Its id in the outbox: every attempt has the same `Message-ID`, so that a receiver can tell a repetition.
    pub id: MailId,
    /// What it is about.
    pub kind: MailKind,
    /// Address.
    pub recipient: &'a str,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// What it says.
    pub text: MailText,
    /// A document that comes with it.
    pub pdf: Option<AttachedPdf>,
}

/// A PDF that is sent along.
#[derive(Debug)]
pub struct AttachedPdf {
    /// Name of the file.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Transport {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Files(PathBuf),
}

/// Sends mail. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer {
    from: Mailbox,
    timeout: Duration,
    transport: Transport,
}

impl Mailer {
    /// A mailer to the configured server, or into `data_dir/mail` if there is none.
    ///
    /// # Errors
    /// [`MailerError`].
    pub fn new(settings: &MailSettings, data_dir: &Path) -> Result<Self, MailerError> {
        let from = settings.from.parse().map_err(MailerError::From)?;
        let transport = match &settings.smtp_url {
            None => Transport::Files(data_dir.join("mail")),
            Some(url) => Transport::Smtp(smtp(settings, url)?),
        };
        Ok(Self { from, timeout: Duration::from_millis(settings.timeout_ms), transport })
    }

    /// Hands a mail over.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, mail: Outgoing<'_>) -> Result<(), SendError> {
        let Outgoing { id, kind, recipient, written_at, text, pdf } = mail;
        let MailText { subject, text, html } = text;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient.parse::<Address>()?))
            .subject(subject)
            .date(SystemTime::from(written_at))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .multipart(body(text, html, pdf))?;
        match &self.transport {
            Transport::Smtp(transport) => {
                // The library's own timeout is for connecting only.
                let sent = tokio::time::timeout(self.timeout, transport.send(message)).await;
                sent.map_err(|_elapsed: tokio::time::error::Elapsed| SendError::TimedOut)??;
            }
            Transport::Files(directory) => {
                let path = write_file(directory, id, kind, &message.formatted()).await?;
                tracing::info!(path = %path.display(), kind = kind.as_str(), "mail was written to a file: there is no mail.smtp_url");
            }
        }
        Ok(())
    }
}

/// The words in both forms, and the document if there is one.
fn body(text: String, html: String, pdf: Option<AttachedPdf>) -> MultiPart {
    let words = MultiPart::alternative_plain_html(text, html);
    let Some(AttachedPdf { name, bytes }) = pdf else { return words };
    let kind = ContentType::parse("application/pdf").unwrap_or(ContentType::TEXT_PLAIN);
    MultiPart::mixed().multipart(words).singlepart(Attachment::new(name).body(bytes, kind))
}

fn smtp(settings: &MailSettings, url: &SecretString) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailerError> {
    let url = url.expose_secret();
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(MailerError::Url)?;
    if let Some(path) = &settings.smtp_ca_file {
        let pem = std::fs::read(path).map_err(MailerError::CaFile)?;
        builder = builder.tls(own_tls(url, &pem)?);
    }
    let pool = PoolConfig::new().max_size(POOL_SIZE).idle_timeout(Duration::from_secs(30));
    Ok(builder.timeout(Some(Duration::from_millis(settings.timeout_ms))).pool_config(pool).build())
}

/// The TLS that the URL asks for, trusting a certificate of one's own.
fn own_tls(url: &str, pem: &[u8]) -> Result<Tls, MailerError> {
    // User and password stand before the last `@`; the host ends at a port, a path or a query.
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _port)| host);
    let certificate = Certificate::from_pem(pem).map_err(MailerError::Url)?;
    let parameters = TlsParameters::builder(host.to_owned()).add_root_certificate(certificate).build();
    let parameters = parameters.map_err(MailerError::Url)?;
    Ok(if url.starts_with("smtps://") {
        Tls::Wrapper(parameters)
    } else if url.contains("tls=required") {
        Tls::Required(parameters)
    } else if url.contains("tls=opportunistic") {
        Tls::Opportunistic(parameters)
    } else {
        Tls::None
    })
}

/// Writes a whole file, or none, that only its owner may read.
async fn write_file(directory: &Path, id: MailId, kind: MailKind, bytes: &[u8]) -> io::Result<PathBuf> {
    tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).await?;
    let name = format!("{}-{}-{id}.eml", clock::now().format("%Y%m%dT%H%M%S%.3fZ"), kind.as_str());
    let (path, unfinished) = (directory.join(&name), directory.join(format!(".{name}")));
    let mut file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    tokio::fs::rename(&unfinished, &path).await?;
    Ok(path)
}

#[cfg(test)]
#[path = "mailer_tests.rs"]
mod tests;
