//! Usage, limits and plans of a tenant.

mod events;
mod limits;
mod plans;
mod usage;

pub(super) use events::*;
pub(super) use limits::{__path_resume, resume};
pub(super) use plans::{__path_list_plans, __path_subscription, list_plans, subscription};
pub(super) use usage::*;
