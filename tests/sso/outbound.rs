//! What a tenant cannot have the server call.

use std::cell::Cell;

use futures_util::future::{join, join_all};
use serde_json::json;

use crate::browser::Browser;
use crate::dns::DnsServer;
use crate::helpers::until;
use crate::liar::Liar;
use crate::world::{World, at_home};

async fn outside(dns: &DnsServer) -> World {
    let server = dns.address;
    World::with(move |settings| {
        settings.sso.dns_server = Some(server);
        settings.sso.timeout_ms = 3_000;
    })
    .await
}

#[tokio::test]
async fn addresses_of_its_own_network_are_refused_when_a_connection_is_made() {
    let dns = DnsServer::start();
    let world = outside(&dns).await;
    for bad in [
        "http://idp.example",
        "https://127.0.0.1",
        "https://127.0.0.1:8443/x",
        "https://169.254.169.254/latest",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://10.0.0.1",
        "https://user:password@idp.example",
        "https://",
        "file:///etc/passwd",
        "https://idp.example?x=1",
        "https://idp.example#x",
    ] {
        assert_eq!(world.try_connect(bad, json!({})).await.pointers(), ["/oidc/issuer"], "{bad}");
    }
}

#[tokio::test]
async fn names_that_point_into_its_own_network_are_not_called() {
    let dns = DnsServer::start();
    let world = outside(&dns).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (name, addresses) in [
        ("loopback.example", &["127.0.0.1"][..]),
        ("metadata.example", &["169.254.169.254"]),
        ("six.example", &["::1"]),
        ("private.example", &["10.1.2.3"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        // One that is public beside it changes nothing: which of them is called would be a matter of luck.
        ("mixed.example", &["203.0.114.1", "127.0.0.1"]),
    ] {
        dns.set_addresses(name, addresses);
        let connection = world.connect(&format!("https://{name}:{port}"), json!({})).await;
        let path = format!("/sso/connections/{connection}/test");
        let body = world.app.post("acme", &path).token(&world.owner).await.json();
        assert_eq!(body["ok"], false);
        assert!(body.to_string().contains("not one of the public internet"), "{name}: {body}");
        let reply = Browser::new().get(&world.url("acme", &format!("/auth/sso/{connection}"))).await;
        reply.problem(503, "identity-provider-unavailable");
    }
    assert!(listener.accept().is_err(), "somebody called");
}

#[tokio::test]
async fn a_name_that_dns_does_not_know_is_said_to_be() {
    let dns = DnsServer::start();
    let world = outside(&dns).await;
    let connection = world.connect("https://nowhere.example", json!({})).await;
    let path = format!("/sso/connections/{connection}/test");
    let body = world.app.post("acme", &path).token(&world.owner).await.json();
    assert!(body.to_string().contains("has no address"), "{body}");
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let world = World::new().await;
    let (liar, honest) = (Liar::start(), Liar::start());
    let connection = world.connect(&liar.issuer, json!({})).await;
    let start = world.url("acme", &format!("/auth/sso/{connection}"));
    liar.redirect("/.well-known/openid-configuration", &format!("{}/.well-known/openid-configuration", honest.issuer));
    Browser::new().get(&start).await.problem(503, "identity-provider-unavailable");
    assert!(honest.asked("/.well-known/openid-configuration").is_empty());
}

#[tokio::test]
async fn a_document_does_not_name_endpoints_that_would_not_be_called_themselves() {
    let world = World::new().await;
    let liar = Liar::start();
    let connection = world.connect(&liar.issuer, json!({})).await;
    let start = world.url("acme", &format!("/auth/sso/{connection}"));
    for document in [
        json!({"authorization_endpoint": "javascript:alert(1)"}),
        json!({"token_endpoint": "file:///etc/passwd"}),
        json!({"jwks_uri": "gopher://127.0.0.1:6379/"}),
        json!({"userinfo_endpoint": "https://user@127.0.0.1/"}),
        json!({"end_session_endpoint": "data:text/html,x"}),
        json!({"issuer": "https://other.example"}),
    ] {
        liar.set_discovery(document.clone());
        let reply = Browser::new().get(&start).await;
        reply.problem(403, "sso-failed");
    }
    // An answer without an end is cut off.
    liar.set_discovery(json!({"x": "y".repeat(600 << 10)}));
    Browser::new().get(&start).await.problem(503, "identity-provider-unavailable");
}

#[tokio::test]
async fn a_tenant_whose_providers_never_answer_keeps_nobody_elses_people_out() {
    let dns = DnsServer::start();
    let server = dns.address;
    let world = World::with(move |settings| {
        at_home(settings);
        settings.sso.dns_server = Some(server);
        settings.sso.timeout_ms = 30_000;
    })
    .await;
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    slow.set_nonblocking(true).unwrap();
    let port = slow.local_addr().unwrap().port();
    // As many hosts as it takes for all places, were it not for the tenant's own bound.
    let (mut urls, n_refused) = (Vec::new(), Cell::new(0));
    for host in 0..8 {
        dns.set_addresses(&format!("slow{host}.example"), &["127.0.0.1"]);
        let connection = world.connect(&format!("http://slow{host}.example:{port}"), json!({})).await;
        urls.extend(vec![world.url("acme", &format!("/auth/sso/{connection}")); 8]);
    }
    let calls = urls.iter().map(async |url| {
        let reply = Browser::new().get(url).await;
        n_refused.set(n_refused.get() + 1);
        reply.status
    });
    let meanwhile = async {
        let mut held = Vec::new();
        until("each call waits for the silence or was refused", async || {
            held.extend(std::iter::from_fn(|| slow.accept().ok()));
            held.len() + n_refused.get() == urls.len()
        })
        .await;
        let liar = Liar::start();
        let (_, owner) = world.app.tenant_with_owner("globex").await;
        let owner = world.app.stepped_up("globex", &owner).await;
        let body = json!({"name": "theirs", "kind": "oidc", "oidc": {"issuer": liar.issuer, "client_id": "bos"}});
        let made = world.app.post("globex", "/sso/connections").token(&owner).json(&body).await.json();
        let start = world.url("globex", &format!("/auth/sso/{}", made["id"].as_str().unwrap()));
        assert_eq!(Browser::new().get(&start).await.status, 303, "another tenant's people leave for their provider");
        // The tenant itself has had its share, and is told so at once.
        dns.set_addresses("fine.example", &["127.0.0.1"]);
        let own = world.connect(&liar.issuer.replace("127.0.0.1", "fine.example"), json!({})).await;
        let reply = Browser::new().get(&world.url("acme", &format!("/auth/sso/{own}"))).await;
        reply.problem(503, "identity-provider-unavailable");
        assert_eq!(held.len() + n_refused.get(), urls.len(), "the silence has lasted so long");
        drop((held, slow));
    };
    let (statuses, ()) = join(join_all(calls), meanwhile).await;
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
}
