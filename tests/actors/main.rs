//! The actor kernel: what the framework really does, and what our own delivery and supervision promise on top of it.

mod framework;
mod mailbox;
mod saboteur;
mod supervision;
