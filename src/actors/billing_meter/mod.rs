//! Metering: what was used is taken in, counted once and compared with the limits.

pub mod limits;
mod news;
pub mod plan_change;
pub mod reservations;
pub mod resume;
pub mod spool;
