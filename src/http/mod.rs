//! actix-web: route table, extractors, middleware.
