//! What wraps every request, outermost first: the edge, the limit for each client address, CORS.

pub mod cors;
pub mod edge;
pub mod ip_limit;
mod measured;
mod security_headers;
