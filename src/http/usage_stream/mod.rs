//! The live stream of usage: a picture first, then what happens, over a WebSocket (RFC 6455).
//!
//! A handler admits the caller, takes a place in the hub and reads the picture, all before the protocol is switched, so that every
//! refusal is an ordinary answer. What is open after that is `serve.rs`.

mod caller;
mod messages;
mod open;
mod serve;
mod ticket;

pub(super) use open::{__path_open, open};
pub(super) use ticket::{__path_make_ticket, make_ticket};
