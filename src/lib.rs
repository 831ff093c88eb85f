//! BusinessOS core: gateway, sign-in, tenants and billing of a B2B SaaS in one program.
//!
//! The rooms, in reading order. Arrows point down only, and `tests/architecture.rs` checks them:
//! `main → app → http → actors → db → domain`; `config`, `clock` and `telemetry` serve all of them.

pub mod actors;
pub mod app;
pub mod clients;
pub mod db;
pub mod domain;
pub mod http;

pub mod cli;
pub mod clock;
pub mod config;
pub mod telemetry;
