//! Background checks of endpoints whose route names a `health_path`.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{self, Either};
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::balance::Endpoint;
use super::pool;
use super::routes::RouteTable;

/// Time between two checks of an endpoint.
const PERIOD: Duration = Duration::from_secs(5);
/// Time that a check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Checks all endpoints of the current table every five seconds until `shutdown`; once for a process.
///
/// A check passes with a status below 400 within two seconds. Two failures in a row take an endpoint out, one success
/// brings it back. A new table is used from the next round on.
pub async fn run(table: Arc<ArcSwap<RouteTable>>, shutdown: CancellationToken) {
    run_every(PERIOD, table, shutdown).await;
}

async fn run_every(period: Duration, table: Arc<ArcSwap<RouteTable>>, shutdown: CancellationToken) {
    let mut rounds = interval(period);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            rounds.tick().await;
            check_all(&table.load_full()).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn check_all(table: &RouteTable) {
    let mut seen = HashSet::new();
    let endpoints = table.endpoints().filter(|endpoint| endpoint.health_path().is_some() && seen.insert(endpoint.id()));
    future::join_all(endpoints.map(|endpoint| async move {
        let passed = timeout(TIMEOUT, passes(endpoint)).await.is_ok_and(|passed| passed == Some(true));
        endpoint.record_check(passed);
    }))
    .await;
}

/// Asks the endpoint on a connection of its own; `None` if there was no answer.
async fn passes(endpoint: &Endpoint) -> Option<bool> {
    let stream = pool::connect(endpoint, TIMEOUT).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(endpoint.health_path()?)
        .header(header::HOST, endpoint.authority())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = pin!(sender.send_request(request));
    let answer = match future::select(pin!(connection), answer).await {
        Either::Left((_closed, answer)) => answer.await,
        Either::Right((answer, _open)) => answer,
    };
    answer.ok().map(|answer| answer.status().as_u16() < 400)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::RouteSettings;

    #[actix_web::test]
    #[expect(clippy::disallowed_methods, reason = "a test's own tasks")]
    async fn a_failing_endpoint_is_taken_out_and_brought_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(503));
        let served = Arc::clone(&status);
        let server = actix_web::rt::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let n = stream.read(&mut head).await.unwrap();
                assert!(head[..n].starts_with(b"GET /up?x HTTP/1.1\r\n"));
                let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", served.load(Relaxed));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let settings: RouteSettings =
            toml::from_str(&format!("prefix = \"/a\"\nupstreams = [\"{url}\"]\nhealth_path = \"/up?x\"")).unwrap();
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::build(&[settings]).unwrap()));
        let endpoint = Arc::clone(&table.load().routes()[0].endpoints()[0]);
        let shutdown = CancellationToken::new();
        let checks = actix_web::rt::spawn(run_every(Duration::from_millis(5), table, shutdown.clone()));

        let becomes = async |healthy: bool| {
            while endpoint.is_healthy() != healthy {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), becomes(false)).await.expect("taken out");
        status.store(204, Relaxed);
        timeout(Duration::from_secs(10), becomes(true)).await.expect("brought back");
        server.abort();
        timeout(Duration::from_secs(10), becomes(false)).await.expect("taken out when it is gone");

        shutdown.cancel();
        timeout(Duration::from_secs(10), checks).await.expect("stops").unwrap();
    }
}
