//! The actor kernel: what the framework really does, and what our own delivery and supervision promise on top of it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod framework;
mod mailbox;
mod saboteur;
mod supervision;
