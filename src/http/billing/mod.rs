//! Usage and what comes of it.

mod events;
mod usage;

pub(super) use events::*;
pub(super) use usage::*;
