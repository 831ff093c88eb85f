//! What wraps every request, outermost first: the edge, CORS, the limit for each client address.

mod cors;
pub mod edge;
pub mod ip_limit;
mod measured;
mod security_headers;
