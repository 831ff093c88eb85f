//! Usage, limits, plans and subscription of a tenant.

mod events;
pub(super) mod invoices;
mod limits;
mod plans;
mod portal;
mod profile;
mod subscribe;
mod subscription;
mod usage;

pub(super) use events::*;
pub(super) use invoices::{
    __path_get_invoice, __path_get_pdf, __path_list_invoices, __path_upcoming_invoice, get_invoice, get_pdf,
    list_invoices, upcoming_invoice,
};
pub(super) use limits::{__path_resume, resume};
pub(super) use plans::{__path_list_plans, list_plans};
pub(super) use portal::{__path_portal, portal};
pub(super) use profile::{__path_get_profile, __path_put_profile, get_profile, put_profile};
pub(super) use subscribe::{__path_cancel, __path_subscribe, cancel, subscribe};
pub(super) use subscription::{__path_subscription, subscription};
pub(super) use usage::*;
