//! Extractors: a handler's signature is its policy.

mod json;
mod page;
mod principal;
mod step_up;
mod tenant;

pub use json::{Json, OptionalJson, check_fields, parse_field, parse_json, read_body};
pub use page::{Page, PageQuery};
pub use principal::{AdminOfTenant, AnyUser, Operator, OptionalUser, Principal, SignedIn};
pub use step_up::{SteppedUp, check_step_up};
pub use tenant::{Caller, TenantScope};
