//! The gateway's data plane seen from outside: raw bytes in, raw bytes out, services written by hand.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod failures;
mod framing;
mod harness;
mod headers;
mod streaming;
