//! A small DNS server on the loopback: it answers from a zone that the test writes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, TXT};
use hickory_resolver::proto::rr::{RData, Record, RecordType};

#[derive(Default)]
struct Zone {
    texts: BTreeMap<String, Vec<String>>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    is_silent: bool,
    is_over: bool,
}

/// A server that runs until this is dropped.
pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl DnsServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let served = Arc::clone(&zone);
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            loop {
                if served.lock().unwrap().is_over {
                    return;
                }
                let Ok((n, peer)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(question) = Message::from_vec(&buffer[..n]) else { continue };
                if let Some(answer) = answer(&served.lock().unwrap(), question) {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        Self { address, zone }
    }

    pub fn set_texts(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.zone.lock().unwrap().texts.insert(name.to_owned(), texts);
    }

    pub fn set_addresses(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.zone.lock().unwrap().addresses.insert(name.to_owned(), addresses);
    }

    /// Answers no more, or again.
    pub fn set_silent(&self, is_silent: bool) {
        self.zone.lock().unwrap().is_silent = is_silent;
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.zone.lock().unwrap().is_over = true;
    }
}

fn answer(zone: &Zone, question: Message) -> Option<Vec<u8>> {
    if zone.is_silent {
        return None;
    }
    let query = question.queries.first()?.clone();
    let name = query.name().to_ascii().to_lowercase();
    let name = name.trim_end_matches('.');
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    let mut is_known = false;
    if let Some(texts) = zone.texts.get(name) {
        is_known = true;
        if query.query_type() == RecordType::TXT {
            for text in texts {
                let data = RData::TXT(TXT::new(vec![text.clone()]));
                message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
        }
    }
    if let Some(addresses) = zone.addresses.get(name) {
        is_known = true;
        for address in addresses {
            let data = match (address, query.query_type()) {
                (IpAddr::V4(address), RecordType::A) => RData::A(A(*address)),
                (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(*address)),
                _ => continue,
            };
            message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        }
    }
    message.metadata.response_code = if is_known { ResponseCode::NoError } else { ResponseCode::NXDomain };
    Some(message.to_vec().unwrap())
}
