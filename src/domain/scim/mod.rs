//! SCIM 2.0 (RFC 7643, RFC 7644): resources as trees of JSON, and one table of attributes that everything follows.
//!
//! [`schema`] says which attributes there are. What is read ([`input`]), changed ([`patch`]), asked for ([`filter`], [`list`]),
//! answered ([`project`]) and announced ([`discovery`]) is looked up there, so that nothing is announced that is not kept, and the
//! other way round.

pub mod bulk;
pub mod discovery;
pub mod error;
pub mod filter;
pub mod group;
pub mod input;
pub mod list;
pub mod patch;
pub mod path;
pub mod project;
pub mod role;
pub mod schema;
pub mod standing;
pub mod token;
pub mod user;
mod values;

pub use error::{ScimError, ScimType};
pub use schema::ResourceKind;

/// A resource, or a part of one: attribute names, as the schemas spell them, and values.
pub type Tree = serde_json::Map<String, serde_json::Value>;

/// Media type of requests and answers (RFC 7644 §8.1).
pub const MEDIA_TYPE: &str = "application/scim+json";
/// Largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Most resources on a page.
pub const MAX_PAGE: usize = 200;
/// Most resources that are looked at one by one for one question.
pub const MAX_EXAMINED: usize = 20_000;
/// Most members that one request names: providers that replace whole groups send all of them at once.
pub const MAX_MEMBERS_NAMED: usize = 5_000;
/// Most members of one group.
pub const MAX_MEMBERS: usize = 20_000;
/// Most operations in one PATCH.
pub const MAX_PATCH_OPERATIONS: usize = 1_000;
/// Most operations in one bulk request.
pub const MAX_BULK_OPERATIONS: usize = 100;
/// Groups of one tenant.
pub const MAX_GROUPS: i64 = 5_000;

/// The form in which names are compared: NFKC, lower case.
#[must_use]
pub fn fold(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    text.nfkc().collect::<String>().to_lowercase()
}
