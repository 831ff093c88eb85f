//! Outbound adapters: what the program reaches beyond the database.

pub mod dns;
pub mod invoice_pdf;
pub mod kms;
pub mod mailer;
pub mod oidc;
pub mod outbound;
pub mod redis;
pub mod saml;
pub mod stripe;
