//! WebSockets through the gateway (RFC 6455): the handshake is an exchange like any other, and after it bytes go both ways.
//!
//! What is checked of a request is checked of a handshake. The connection to the service is the tunnel's own and never goes back to a
//! pool. A tunnel holds its route and what counts it, so a reload of the routes changes nothing for it; it ends with either
//! side, with silence for longer than the route's `idle_timeout_ms`, or when it is told to.

mod frames;
mod handshake;
mod open;
mod pump;

pub use handshake::{HandshakeError, check, is_upgrade};
pub use open::{TunnelRequest, open};
pub use pump::Farewell;
