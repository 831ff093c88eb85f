//! Closing a listening socket without resetting a client's connection, and without a privilege.
//!
//! The kernel finishes handshakes on its own and keeps the connections in a queue until somebody accepts them; closing the
//! socket resets what is in there. There is always a moment between the last look into the queue and the close, so the queue
//! must be one that nothing can enter: a full one. It is made short, and while the framework does not accept it is filled with
//! connections of our own. As long as it is full the kernel drops what asks for a connection. Then we look at who is in it, and
//! at handshakes that have begun. If there is anybody but ourselves, the framework takes them and we try again.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use socket2::{Domain, SockRef, Socket, Type};

use super::{PAUSE, POLL};

/// The kernel lets one more into the queue than the number it is given. Few, since others come in while we fill it; not one,
/// since with so many handshakes under way the kernel goes over to SYN cookies, of which it keeps no list.
const BACKLOG: i32 = 15;
/// Places in the queue.
const PLACES: usize = 16;
/// Connections that we try to open: the first ones may still be accepted.
const MAX_CONNECTS: usize = 256;
/// How often we try. Each try has a fair chance even on a busy server, as those who met a full queue stay away for a second.
const TRIES: usize = 20;
/// Longest time for the framework to take others' connections between two tries.
const TAKE: Duration = Duration::from_millis(300);

/// Fills the queue of `listener`, which `server` accepts from, and leaves the server paused. The queue is full, of nobody else's
/// connections, until what is returned is dropped; where that cannot be had, the log says so.
pub async fn fill(listener: &TcpListener, server: &ServerHandle) -> Vec<Socket> {
    match try_to_fill(listener, server).await {
        Ok(Filled { own, n_others, is_full }) => {
            if n_others > 0 {
                tracing::warn!(n_others, "connections are reset: more arrive than can be let in first");
            } else if !is_full {
                tracing::warn!(
                    "connections that arrive in this moment may be reset: the queue was not seen to be full"
                );
            }
            own
        }
        Err(error) => {
            tracing::warn!(%error, "connections that arrive in this moment may be reset");
            server.pause().await;
            tokio::time::sleep(PAUSE).await;
            Vec::new()
        }
    }
}

/// How far filling it came.
struct Filled {
    /// Our connections.
    own: Vec<Socket>,
    /// How many of others wait beside them or have begun their handshake.
    n_others: usize,
    /// Whether ours were seen in all of its places.
    is_full: bool,
}

async fn try_to_fill(listener: &TcpListener, server: &ServerHandle) -> io::Result<Filled> {
    let address = listener.local_addr()?;
    SockRef::from(listener).listen(BACKLOG)?;
    let mut tries = 1;
    loop {
        server.pause().await;
        let own = connect(address)?;
        tokio::time::sleep(PAUSE).await;
        let queue = Queue::look(address)?;
        let n_others = queue.n_others(&own);
        let is_full = queue.waiting.len() == PLACES;
        if is_full && n_others == 0 || tries == TRIES {
            tracing::info!(tries, n_others, "the port is closed");
            return Ok(Filled { own, n_others, is_full });
        }
        tries += 1;
        drop(own);
        server.resume().await;
        let resumed = Instant::now();
        loop {
            tokio::time::sleep(POLL).await;
            if resumed.elapsed() > TAKE || Queue::look(address)?.is_empty() {
                break;
            }
        }
    }
}

/// Connects until the queue takes no more.
fn connect(listener: SocketAddr) -> io::Result<Vec<Socket>> {
    let target = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let target = SocketAddr::new(target, listener.port());
    let mut own = Vec::with_capacity(PLACES);
    while own.len() < MAX_CONNECTS {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // Within a machine a handshake has ended when this returns, although it says that it is under way.
        let _ = socket.connect(&target.into());
        let is_connected = socket.peer_addr().is_ok();
        own.push(socket);
        if !is_connected {
            break;
        }
    }
    Ok(own)
}

/// What the kernel holds for a listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Queue {
    /// The far ends of connections that nobody has accepted, as the kernel writes them. A set, since the table is read page by
    /// page, and while connections come and go the kernel may begin a page with what it has listed already. It may also leave
    /// some out: the queue is sure to be full of our own only if each of its places is seen to hold one of them.
    waiting: BTreeSet<String>,
    /// Handshakes that lack the client's last packet.
    n_handshakes: usize,
}

impl Queue {
    /// Reads the kernel's table of connections.
    fn look(listener: SocketAddr) -> io::Result<Self> {
        let table = if listener.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
        Ok(Self::read(&std::fs::read_to_string(table)?, listener))
    }

    /// The format is that of proc(5): local and remote address, state, ..., inode of the descriptor or 0 if there is none.
    fn read(table: &str, listener: SocketAddr) -> Self {
        const ESTABLISHED: &str = "01";
        const HANDSHAKE: &str = "03";
        const CLOSED_BY_CLIENT: &str = "08";
        // A socket for all addresses gets connections to any.
        let local =
            if listener.ip().is_unspecified() { format!(":{:04X}", listener.port()) } else { kernel_form(listener) };
        let mut queue = Self { waiting: BTreeSet::new(), n_handshakes: 0 };
        for line in table.lines() {
            let mut columns = line.split_whitespace().skip(1);
            let (Some(near), Some(far), Some(state), inode) =
                (columns.next(), columns.next(), columns.next(), columns.nth(5))
            else {
                continue;
            };
            match state {
                _ if !near.ends_with(&local) => {}
                HANDSHAKE => queue.n_handshakes += 1,
                ESTABLISHED | CLOSED_BY_CLIENT if inode == Some("0") => {
                    queue.waiting.insert(far.to_owned());
                }
                _ => {}
            }
        }
        queue
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.n_handshakes == 0
    }

    /// Connections that are not ours.
    fn n_others(&self, own: &[Socket]) -> usize {
        let addresses = own.iter().filter_map(|socket| socket.local_addr().ok()?.as_socket());
        let own: Vec<String> = addresses.map(kernel_form).collect();
        self.waiting.iter().filter(|far| !own.contains(far)).count() + self.n_handshakes
    }
}

/// An address as the kernel writes it: words of 32 bits as they lie in memory, and the port.
fn kernel_form(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _rest) = bytes.as_chunks::<4>();
    let words: String = words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
#[path = "full_queue_tests.rs"]
mod tests;
