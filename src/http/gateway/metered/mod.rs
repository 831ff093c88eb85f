//! Metering of proxied calls: what a call used is written down before its answer is complete.
//!
//! A [`MeteredCall`] goes along with a call, from what was set aside for it to its record, and gives back what was set aside
//! however the call ends. A [`MeteredBody`] carries it through the answer: the record is in the spool before the last byte is handed
//! on, so a client never has a complete answer that was not counted; if it cannot be written, the answer is broken off.
//!
//! Calls are counted by the piece ([`MeteredCall::count`]) or by the tokens that an answer of OpenAI's API says it used
//! ([`TokenWatch`]). Neither holds up what passes.

mod answer;
mod background;
mod body;
mod call;
mod copy;
mod fields;
mod hide;
mod operation;
mod request;
mod rest;
mod sse;
mod usage;

pub(in crate::http) use answer::{Answer, TokenWatch};
pub(in crate::http) use background::spawn;
pub(in crate::http) use body::MeteredBody;
pub(in crate::http) use call::{Held, MeteredCall};
pub(in crate::http) use fields::FieldsError;
pub(in crate::http) use operation::Operation;
pub(in crate::http) use request::{BodyError, TokenRequest, prepare};
