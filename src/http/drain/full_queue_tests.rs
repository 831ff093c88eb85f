//! What is read from the kernel's table, held against sockets of our own.

use std::net::TcpStream;

use super::*;

/// A listening socket that nobody accepts from, of the shortened queue.
fn listener(ip: &str) -> TcpListener {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    SockRef::from(&listener).listen(BACKLOG).unwrap();
    listener
}

#[test]
fn connecting_fills_the_queue_and_everybody_in_it_is_ours() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let listener = listener(ip);
        let address = listener.local_addr().unwrap();
        assert!(Queue::look(address).unwrap().is_empty());
        let own = connect(address).unwrap();
        let queue = Queue::look(address).unwrap();
        assert_eq!((own.len(), queue.waiting.len(), queue.n_others(&own)), (PLACES + 1, PLACES, 0), "{ip}");
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
    // The last of our own may still be at its handshake, which counts as another's.
    let deadline = Instant::now() + Duration::from_secs(10);
    while Queue::look(address).unwrap().n_others(&own) != 2 {
        assert!(Instant::now() < deadline, "{:?}", Queue::look(address));
    }
    let _accepted = (listener.accept().unwrap(), listener.accept().unwrap());
    assert_eq!(Queue::look(address).unwrap().n_others(&own), 0);
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
    assert_eq!(queue, Queue { waiting: Vec::new(), n_handshakes: 1 });
    assert!(!queue.is_empty());
    assert_eq!(queue.n_others(&[]), 1);
}
