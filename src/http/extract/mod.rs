//! Extractors: a handler's signature is its policy.

mod json;
mod page;
mod principal;
mod provisioner;
mod step_up;
mod tenant;
mod then;
mod user_or_key;

pub use json::{Json, LargeJson, OptionalJson, check_fields, parse_field, parse_json, parse_part, read_body};
pub use page::{Page, PageQuery};
pub use principal::{AdminOfTenant, AnyUser, BillingUser, Operator, OptionalUser, Principal, SignedIn};
pub use provisioner::Provisioner;
pub use step_up::{SteppedUp, demand};
pub use tenant::{Caller, TenantScope};
pub use then::{Input, RawBody, Then};
pub use user_or_key::{Anyone, AuditReader, Policy, UsageReporter, UserOrKey};
