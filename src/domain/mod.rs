//! The rules of the business: no actix, SQL, clock, randomness or I/O. Parse, don't validate: a value of one of these types is
//! known to be well formed.

pub mod assurance;
pub mod audit;
pub mod common_passwords;
pub mod envelope;
pub mod identity;
pub mod ids;
pub mod imported_hash;
pub mod mail;
pub mod mail_text;
pub mod plan;
pub mod rate_limit;
pub mod refresh_token;
pub mod row_token;
pub mod tenant;
pub mod throttle;
pub mod token;
pub mod user_admin;
