//! What is read from the kernel's table, held against sockets of our own.

use std::net::TcpStream;

use super::*;

/// A listening socket that nobody accepts from, of the shortened queue.
fn listener(ip: &str) -> TcpListener {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    SockRef::from(&listener).listen(BACKLOG).unwrap();
    listener
}

/// A listening socket whose queue is filled, and with what. A busy kernel may end a handshake late, and `connect` stops there as if the
/// queue were full.
fn full(ip: &str) -> (TcpListener, SocketAddr, Vec<Socket>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let listener = listener(ip);
        let address = listener.local_addr().unwrap();
        assert!(Queue::look(address).unwrap().is_empty());
        let own = connect(address).unwrap();
        if own.len() > PLACES {
            return (listener, address, own);
        }
        assert!(Instant::now() < deadline, "{ip}: {} connections fill it", own.len());
    }
}

/// What the kernel holds once it is as expected: other tests' connections may disturb one look, and the last of our own may
/// still be at its handshake.
fn look_until(address: SocketAddr, is_expected: impl Fn(&Queue) -> bool) -> Queue {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let queue = Queue::look(address).unwrap();
        if is_expected(&queue) {
            return queue;
        }
        assert!(Instant::now() < deadline, "{queue:?}");
    }
}

#[test]
fn connecting_fills_the_queue_and_everybody_in_it_is_ours() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let (_listener, address, own) = full(ip);
        let queue = look_until(address, |queue| (queue.waiting.len(), queue.n_others(&own)) == (PLACES, 0));
        assert_eq!(queue.n_others(&own[1..]), 1);
    }
}

#[test]
fn another_client_is_seen_also_when_it_has_gone_and_no_more_once_it_is_accepted() {
    let listener = listener("127.0.0.1");
    let address = listener.local_addr().unwrap();
    let stays = TcpStream::connect(address).unwrap();
    drop(TcpStream::connect(address).unwrap());
    let own = connect(address).unwrap();
    look_until(address, |queue| queue.n_others(&own) == 2);
    let _accepted = (listener.accept().unwrap(), listener.accept().unwrap());
    look_until(address, |queue| queue.n_others(&own) == 0);
    drop(stays);
}

#[test]
fn a_handshake_that_has_begun_counts_as_another_client() {
    let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1673 1 0 100 0 0 10 0
   1: 0100007F:0BB8 0200007F:C350 03 00000000:00000000 01:00000063 00000000     0        0 0 1 0
   2: 0100007F:0BB9 0200007F:C350 03 00000000:00000000 01:00000063 00000000     0        0 0 1 0
";
    let queue = Queue::read(table, "127.0.0.1:3000".parse().unwrap());
    assert_eq!(queue, Queue { waiting: BTreeSet::new(), n_handshakes: 1 });
    assert!(!queue.is_empty());
    assert_eq!(queue.n_others(&[]), 1);
}

#[test]
fn a_connection_that_the_kernel_lists_twice_takes_one_place() {
    let line = "0: 0100007F:0BB8 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0\n";
    let queue = Queue::read(&format!("{line}{line}"), "127.0.0.1:3000".parse().unwrap());
    assert_eq!(queue.waiting.len(), 1);
}
