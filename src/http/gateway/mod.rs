//! The reverse proxy's data plane: from an accepted request to a service and back.
//!
//! A worker thread finds the route ([`routes`]), checks the request and prepares its headers ([`hygiene`]), and streams
//! both bodies over a connection of its own pool ([`forward()`], [`pool`]). Nothing here locks or crosses threads
//! except the endpoints' counters ([`balance`]) and the background checks ([`health`]).
//!
//! The client side is hyper's HTTP/1 connection, not awc: awc sends a whole request body before it looks at the answer,
//! takes an interim answer for the final one, and finds no body in an answer that ends with the connection.

pub mod balance;
mod body;
pub mod convert;
pub mod forward;
pub mod health;
pub mod hygiene;
pub(in crate::http) mod metered;
pub mod path;
pub mod pool;
mod retry;
pub mod routes;
pub mod tls;
pub mod transport;
pub mod tunnel;

pub use forward::{ClientBody, ForwardError, ForwardSettings, Forwarded, forward};
pub use routes::{Route, RouteError, RouteMiss, RouteTable};
