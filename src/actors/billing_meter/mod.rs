//! Metering: what was used is taken in, counted once and compared with the limits.

pub mod limits;
pub mod reservations;
pub mod spool;
