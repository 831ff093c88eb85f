//! Sign-in by tenants' identity providers: `/auth/sso` for people, `/sso/connections` for admins.

mod browser;
mod callback;
mod connections;
mod fields;
mod flow;
mod identities;
mod own_host;
mod problem;
mod saml;
mod saml_fields;
mod saml_views;
mod token;
mod views;

pub(super) use callback::{__path_callback, __path_callback_by_post, callback, callback_by_post};
pub(super) use connections::{
    __path_create, __path_delete, __path_get, __path_list, __path_test, __path_update, create, delete, get, list, test,
    update,
};
pub(super) use flow::{__path_discover, __path_start, discover, start};
pub(super) use identities::{__path_list_identities, __path_unlink, list_identities, unlink};
pub(super) use saml::{
    __path_activate_key, __path_add_key, __path_metadata, __path_refresh, activate_key, add_key, metadata, refresh,
};
pub(super) use token::{__path_link, __path_redeem_code, __path_step_up, link, redeem_code, step_up};

use super::problem::{Problem, kinds};
use crate::domain::ids::ConnectionId;

/// A path's id; what is none is as unknown as another tenant's.
fn id_of(text: &str) -> Result<ConnectionId, Problem> {
    text.parse().map_err(|_malformed: uuid::Error| Problem::new(&kinds::NOT_FOUND, "there is no such connection"))
}
