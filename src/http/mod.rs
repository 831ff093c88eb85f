//! actix-web: route table, extractors, middleware.

pub mod gateway;
