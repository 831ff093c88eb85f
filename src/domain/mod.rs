//! The rules of the business: no actix, SQL, clock, randomness or I/O. Parse, don't validate: a value of one of these types is
//! known to be well formed.

pub mod api_key;
pub mod assurance;
pub mod audit;
pub mod audit_seal;
pub mod common_passwords;
pub mod envelope;
pub mod factor;
pub mod identity;
pub mod ids;
pub mod imported_hash;
pub mod key_rotation;
pub mod mail;
pub mod mail_text;
pub mod merkle;
pub mod meter;
pub mod period;
pub mod plan;
pub mod qr;
pub mod quota;
pub mod rate_limit;
pub mod recovery_code;
pub mod refresh_token;
pub mod row_token;
pub mod schedule;
pub mod scope;
pub mod tenant;
pub mod tenant_secret;
pub mod throttle;
pub mod token;
pub mod totp;
pub mod usage;
pub mod usage_header;
pub mod usage_intake;
pub mod usage_tally;
pub mod user_admin;
