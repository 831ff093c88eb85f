//! Usage, limits and plans of a tenant.

mod limits;
mod plans;

pub(super) use limits::{__path_resume, resume};
pub(super) use plans::{__path_list_plans, __path_subscription, list_plans, subscription};
