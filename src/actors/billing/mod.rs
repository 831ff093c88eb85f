//! Billing: periods are closed and invoices issued. Transactions that cron and handlers run, not an actor: what makes them happen once
//! is the uniqueness of what they write, so any number of processes may do them at once, and be killed at any instant.

pub mod close;
pub mod credit;
pub mod document;
pub mod dunning;
pub(super) mod issue;
mod parties;
pub mod payment;
