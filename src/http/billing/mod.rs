//! Usage, limits, plans and subscription of a tenant.

mod events;
mod limits;
mod plans;
mod subscribe;
mod subscription;
mod usage;

pub(super) use events::*;
pub(super) use limits::{__path_resume, resume};
pub(super) use plans::{__path_list_plans, list_plans};
pub(super) use subscribe::{__path_cancel, __path_subscribe, cancel, subscribe};
pub(super) use subscription::{__path_subscription, subscription};
pub(super) use usage::*;
