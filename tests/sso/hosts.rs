//! Hosts that tenants bring: claimed, proved, and another name of their tenant in the gateway until they are lost.

use std::sync::Arc;

use businessos::config::Settings;
use serde_json::{Value, json};

use crate::browser::{Browser, location, parameter};
use crate::dns::DnsServer;
use crate::helpers::{App, Reply, Session, Tenant, assert_soon, spawn_app_on, until};
use crate::world::{World, at_home};

const HOST: &str = "app.customer.example";
const RECORD: &str = "_businessos-challenge.app.customer.example";

async fn world_with(dns: &DnsServer) -> World {
    world_tweaked(dns, |_| {}).await
}

async fn world_tweaked(dns: &DnsServer, tweak: impl FnOnce(&mut Settings)) -> World {
    let server = dns.address;
    World::with(move |settings| {
        at_home(settings);
        settings.sso.dns_server = Some(server);
        tweak(settings);
    })
    .await
}

fn domains_of(tenant: &Tenant) -> String {
    format!("/tenants/{}/domains", tenant.id)
}

async fn claim(app: &App, slug: &str, tenant: &Tenant, session: &Session, host: &str) -> Reply {
    app.post(slug, &domains_of(tenant)).token(session).json(&json!({"domain": host, "use": "host"})).await
}

async fn verify(app: &App, slug: &str, tenant: &Tenant, session: &Session, host: &str) -> Reply {
    app.post(slug, &format!("{}/{host}/verify?use=host", domains_of(tenant))).token(session).await
}

/// Claims and proves a host for the world's tenant.
async fn bring(world: &World, dns: &DnsServer, host: &str) {
    let claimed = claim(&world.app, "acme", &world.tenant, &world.owner, host).await;
    assert_eq!(claimed.status, 201, "{claimed:?}");
    let record = &claimed.json()["record"];
    dns.set_texts(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    let proved = verify(&world.app, "acme", &world.tenant, &world.owner, host).await;
    assert_eq!((proved.status, &proved.json()["state"]), (200, &json!("verified")), "{proved:?}");
}

/// The tenant that a host leads to, by what the server says of itself there.
async fn issuer_at(app: &App, host: &str) -> Option<String> {
    let reply = app.get(host, "/.well-known/openid-configuration").await;
    match reply.status {
        200 => Some(reply.json()["issuer"].as_str().unwrap().to_owned()),
        _ => {
            reply.problem(404, "unknown-tenant");
            None
        }
    }
}

/// Has every proved host looked at once more, as the daily job does.
async fn look_again(world: &World, operator: &Session) {
    let is_due = "UPDATE platform.custom_hosts SET checked_at = checked_at - interval '2 days'";
    world.app.db.as_admin(is_due).await;
    let job = "/operator/jobs/recheck_domains/run";
    until("the job runs", async || world.app.post("platform", job).token(operator).await.status < 300).await;
    let waiting = "SELECT count(*) FROM platform.custom_hosts
                   WHERE verified_at IS NOT NULL AND checked_at < now() - interval '1 day'";
    until("the hosts were looked at", async || world.app.count(waiting).await == 0).await;
}

#[tokio::test]
async fn a_proved_host_leads_to_its_tenant_as_the_subdomain_does() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (app, owner) = (&world.app, &world.owner);
    let claimed = claim(app, "acme", &world.tenant, owner, "App.Customer.Example.").await;
    assert_eq!(claimed.status, 201, "{claimed:?}");
    let shown = claimed.json();
    assert_eq!((&shown["domain"], &shown["use"], &shown["state"]), (&json!(HOST), &json!("host"), &json!("pending")));
    assert_eq!(shown["target"], json!({"type": "CNAME", "name": HOST, "value": "acme.localhost"}));
    let record = &shown["record"];
    assert_eq!((&record["type"], &record["name"]), (&json!("TXT"), &json!(RECORD)));
    assert_eq!(issuer_at(app, HOST).await, None, "claimed is not proved");
    verify(app, "acme", &world.tenant, owner, HOST).await.problem(409, "conflict");
    dns.set_texts(RECORD, &["businessos-domain-verification=0000", record["value"].as_str().unwrap()]);
    assert_eq!(verify(app, "acme", &world.tenant, owner, HOST).await.status, 200);
    let issuer = issuer_at(app, "acme").await;
    for way in [HOST, "APP.Customer.EXAMPLE", "app.customer.example."] {
        assert_eq!(issuer_at(app, way).await, issuer, "{way}, with the server's port");
    }
    // Signing in there gives the same tokens as elsewhere, good at both names.
    let there = app.sign_in(HOST, "owner@acme.test").await;
    assert_eq!(app.get("acme", "/auth/me").token(&there).await.status, 200);
    assert_eq!(app.get(HOST, "/auth/me").token(owner).await.status, 200);
    assert_eq!(Session::of(&app.refresh(HOST, &there.refresh).await).access.split('.').count(), 3);
    assert_eq!(app.get(HOST, "/auth/me").token(owner).header("x-tenant", "acme").await.status, 200);
    // What is near it is nobody's.
    for other in
        ["customer.example", "www.customer.example", "x.app.customer.example", "app.customer.example.evil.example"]
    {
        assert_eq!(issuer_at(app, other).await, None, "{other}");
    }
    let list = app.get("acme", &domains_of(&world.tenant)).token(owner).await.json();
    assert_eq!(list["domains"].as_array().map(Vec::len), Some(1), "{list}");
    // Whoever gets certificates for the hosts of tenants asks whether one is.
    for (host, status) in
        [(HOST, 200), ("acme.localhost", 200), ("globex.localhost", 404), ("www.customer.example", 404)]
    {
        assert_eq!(app.admin(&format!("/hosts?domain={host}")).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_host_is_its_own_tenants_and_serves_no_other_one() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let app = &world.app;
    let (globex, theirs) = app.tenant_with_owner("globex").await;
    bring(&world, &dns, HOST).await;
    app.get(HOST, "/auth/me").token(&theirs).await.problem(403, "tenant-mismatch");
    app.get(HOST, "/auth/me").token(&theirs).header("x-tenant", "globex").await.problem(403, "tenant-mismatch");
    app.get(HOST, "/healthz").await;
    app.try_sign_in(HOST, "owner@globex.test", crate::helpers::PASSWORD).await.problem(401, "invalid-credentials");
    // Its claim is none of theirs.
    let path = format!("{}/{HOST}", domains_of(&world.tenant));
    app.delete("globex", &path).token(&theirs).await.problem(404, "not-found");
    app.post("globex", &format!("{path}/verify")).token(&theirs).await.problem(404, "not-found");
    app.delete("globex", &format!("{}/{HOST}", domains_of(&globex))).token(&theirs).await.problem(404, "not-found");
    assert_eq!(app.get(HOST, "/auth/me").token(&world.owner).await.status, 200);
    // A tenant that is switched off is so at all its names.
    let operator = app.operator().await;
    let suspend = format!("/operator/tenants/{}/suspend", world.tenant.id);
    assert_eq!(app.post("platform", &suspend).token(&operator).await.status, 200);
    app.get(HOST, "/.well-known/openid-configuration").await.problem(403, "tenant-suspended");
}

#[tokio::test]
async fn a_host_is_one_tenants_whoever_else_claims_it() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let app = &world.app;
    let (globex, session) = app.tenant_with_owner("globex").await;
    let session = app.stepped_up("globex", &session).await;
    let theirs = claim(app, "globex", &globex, &session, HOST).await.json();
    let theirs = theirs["record"]["value"].as_str().unwrap();
    bring(&world, &dns, HOST).await;
    let ours = app.get("acme", &domains_of(&world.tenant)).token(&world.owner).await.json();
    let ours = ours["domains"][0]["record"]["value"].as_str().unwrap().to_owned();
    verify(app, "globex", &globex, &session, HOST).await.problem(409, "conflict");
    // Both records at once: who has it keeps it.
    dns.set_texts(RECORD, &[&ours, theirs]);
    for name in [HOST, "APP.customer.example.", "app.customer.example"] {
        verify(app, "globex", &globex, &session, name).await.problem(409, "domain-taken");
    }
    assert_eq!(app.get(HOST, "/auth/me").token(&world.owner).await.status, 200);
    world.app.db.as_admin("UPDATE auth.users SET email_verified_at = now() WHERE email_norm = 'owner@acme.test'").await;
    // The zone is somebody else's now: the record of before is gone. The host is not theirs before it is lost.
    dns.set_texts(RECORD, &[theirs]);
    verify(app, "globex", &globex, &session, HOST).await.problem(409, "domain-taken");
    let operator = app.operator().await;
    let operator = app.stepped_up("platform", &operator).await;
    for _ in 0..6 {
        look_again(&world, &operator).await;
        assert_eq!(app.get(HOST, "/auth/me").token(&world.owner).await.status, 200);
    }
    look_again(&world, &operator).await;
    until("the host is nobody's", async || issuer_at(app, HOST).await.is_none()).await;
    assert_eq!(verify(app, "globex", &globex, &session, HOST).await.status, 200);
    assert_eq!(app.get(HOST, "/auth/me").token(&session).await.status, 200);
    app.get(HOST, "/auth/me").token(&world.owner).await.problem(403, "tenant-mismatch");
    verify(app, "acme", &world.tenant, &world.owner, HOST).await.problem(409, "conflict");
    // The admins have been told, once.
    let mails = "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'domain_lost' AND recipient = 'owner@acme.test'
                 AND detail->>'domain' = 'app.customer.example' AND detail->>'use' = 'host'";
    assert_eq!(app.count(mails).await, 1);
    assert_eq!(app.count("SELECT count(*) FROM platform.audit_log WHERE action = 'custom_host.lose'").await, 1);
}

#[tokio::test]
async fn a_host_that_is_given_up_leads_nowhere_and_its_record_proves_no_new_claim() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (app, owner) = (&world.app, &world.owner);
    bring(&world, &dns, HOST).await;
    assert_eq!(app.get(HOST, "/auth/me").token(owner).await.status, 200);
    let path = format!("{}/{HOST}", domains_of(&world.tenant));
    let weak = app.sign_in("acme", "owner@acme.test").await;
    app.delete("acme", &path).token(&weak).await.problem(401, "insufficient_user_authentication");
    assert_eq!(app.delete("acme", &path).token(owner).await.status, 204);
    assert_eq!(issuer_at(app, HOST).await, None, "at once, on this node");
    verify(app, "acme", &world.tenant, owner, HOST).await.problem(404, "not-found");
    assert_eq!(claim(app, "acme", &world.tenant, owner, HOST).await.status, 201);
    verify(app, "acme", &world.tenant, owner, HOST).await.problem(409, "conflict");
    assert_eq!(issuer_at(app, HOST).await, None);
    for action in ["claim", "verify", "delete"] {
        let n = format!("SELECT count(*) FROM platform.audit_log WHERE action = 'custom_host.{action}'");
        assert_eq!(app.count(&n).await, if action == "claim" { 2 } else { 1 }, "{action}");
    }
}

#[tokio::test]
async fn a_host_that_is_known_costs_no_query_nor_does_one_that_nobody_has() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (app, owner) = (&world.app, &world.owner);
    bring(&world, &dns, HOST).await;
    assert_eq!(app.get(HOST, "/auth/me").token(owner).await.status, 200);
    assert_eq!(issuer_at(app, "www.customer.example").await, None);
    // Whoever asks the database about a host from now on is refused.
    app.db.as_admin("REVOKE EXECUTE ON FUNCTION platform.find_tenant_by_host FROM app_auth").await;
    app.get("never.customer.example", "/.well-known/openid-configuration").await.problem(503, "unavailable");
    assert_eq!(app.get(HOST, "/auth/me").token(owner).await.status, 200);
    assert_eq!(issuer_at(app, "www.customer.example").await, None);
    let named = app.get("www.customer.example", "/auth/me").token(owner).header("x-tenant", "acme");
    assert_eq!(named.await.status, 200, "a host that is nobody's may be the platform's own within its network");
    // Addresses and names of one label are nobody's, whatever the database says.
    for host in ["127.0.0.1", "10.0.0.1", "gateway"] {
        let authorization = format!("Authorization: Bearer {}\r\nConnection: close", owner.access);
        let answer = app.raw(format!("GET /auth/me HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}

#[tokio::test]
async fn hosts_change_hands_on_every_node_soon() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (here, server) = (&world.app, dns.address);
    let there = spawn_app_on(Arc::clone(&here.db), None, |settings| {
        at_home(settings);
        settings.sso.dns_server = Some(server);
        settings.gateway.public_port = here.port;
    })
    .await;
    let (globex, theirs) = here.tenant_with_owner("globex").await;
    let theirs = here.stepped_up("globex", &theirs).await;
    assert_eq!(there.get("acme", "/auth/me").token(&world.owner).await.status, 200);
    assert_eq!(issuer_at(&there, HOST).await, None, "and the other node remembers that");
    bring(&world, &dns, HOST).await;
    assert_eq!(here.get(HOST, "/auth/me").token(&world.owner).await.status, 200, "at once, on this node");
    let delay = until("the other node knows", async || issuer_at(&there, HOST).await.is_some()).await;
    assert_soon(delay);
    assert_eq!(there.get(HOST, "/auth/me").token(&world.owner).await.status, 200);
    let path = format!("{}/{HOST}", domains_of(&world.tenant));
    assert_eq!(here.delete("acme", &path).token(&world.owner).await.status, 204);
    let delay = until("the other node forgets", async || issuer_at(&there, HOST).await.is_none()).await;
    assert_soon(delay);
    let record = claim(&there, "globex", &globex, &theirs, HOST).await.json();
    dns.set_texts(RECORD, &[record["record"]["value"].as_str().unwrap()]);
    assert_eq!(verify(&there, "globex", &globex, &theirs, HOST).await.status, 200);
    let delay = until("the first node knows its new tenant", async || {
        here.get(HOST, "/auth/me").token(&theirs).await.status == 200
    })
    .await;
    assert_soon(delay);
    here.get(HOST, "/auth/me").token(&world.owner).await.problem(403, "tenant-mismatch");
}

#[tokio::test]
async fn what_is_the_platforms_own_or_no_host_cannot_be_claimed() {
    let dns = DnsServer::start();
    let given = |settings: &mut Settings| {
        settings.gateway.base_domain = "saas.example".to_owned();
        settings.gateway.hosts.insert("app.globex.example".to_owned(), "globex".to_owned());
    };
    let server = dns.address;
    let app = crate::helpers::spawn_app(move |settings| {
        settings.sso.dns_server = Some(server);
        given(settings);
    })
    .await;
    let tenant = app.onboard("acme").await;
    let body = json!({"email": "owner@acme.test", "password": crate::helpers::PASSWORD});
    let owner = Session::of(&app.post("acme.saas.example", "/auth/login").json(&body).await);
    for bad in [
        "saas.example",
        "SAAS.example.",
        "acme.saas.example",
        "globex.saas.example",
        "a.b.saas.example",
        "ＳＡＡＳ.example",
        "app.globex.example",
        "localhost",
        "127.0.0.1",
        "0x7f.0.0.1",
        "app.customer.example:443",
        "https://app.customer.example",
        "*.customer.example",
        "",
    ] {
        let reply = claim(&app, "acme.saas.example", &tenant, &owner, bad).await;
        assert_eq!(reply.pointers(), ["/domain"], "{bad}");
    }
    let list = json!({"domain": "app.customer.example", "use": "both"});
    let reply = app.post("acme.saas.example", &domains_of(&tenant)).token(&owner).json(&list).await;
    assert_eq!(reply.pointers(), ["/use"], "{reply:?}");
    // Whatever is in the table, the platform's own names go first.
    app.db
        .as_admin(&format!(
            "INSERT INTO platform.custom_hosts (tenant_id, host, challenge, expires_at, verified_at, checked_at)
             SELECT '{}', host, 'x', now(), now(), now()
             FROM unnest('{{saas.example, other.saas.example, app.globex.example, www.acme.example}}'::text[]) AS host",
            tenant.id
        ))
        .await;
    until("the rows are seen", async || issuer_at(&app, "www.acme.example").await.is_some()).await;
    for host in ["saas.example", "other.saas.example", "app.globex.example"] {
        assert_eq!(issuer_at(&app, host).await, None, "{host}");
    }
}

#[tokio::test]
async fn an_international_host_has_one_form_and_one_tenant() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (globex, theirs) = world.app.tenant_with_owner("globex").await;
    bring(&world, &dns, "MÜNCHEN.example").await;
    assert!(issuer_at(&world.app, "xn--mnchen-3ya.example").await.is_some());
    for name in ["m%C3%BCnchen.example", "XN--MNCHEN-3YA.example"] {
        let claimed = claim(&world.app, "globex", &globex, &theirs, &name.replace("%C3%BC", "ü")).await;
        assert_eq!(claimed.json()["domain"], "xn--mnchen-3ya.example", "{claimed:?}");
        let record = &claimed.json()["record"];
        dns.set_texts(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
        verify(&world.app, "globex", &globex, &theirs, name).await.problem(409, "domain-taken");
    }
}

#[tokio::test]
async fn a_name_may_be_claimed_for_both_uses_and_then_the_caller_says_which() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (app, owner) = (&world.app, &world.owner);
    bring(&world, &dns, "acme.example").await;
    let as_domain = app.post("acme", &domains_of(&world.tenant)).token(owner).json(&json!({"domain": "acme.example"}));
    let as_domain = as_domain.await.json();
    assert_eq!((&as_domain["use"], &as_domain["target"]), (&json!("email"), &Value::Null));
    let path = format!("{}/acme.example", domains_of(&world.tenant));
    assert_eq!(app.post("acme", &format!("{path}/verify")).token(owner).await.pointers(), ["/use"]);
    assert_eq!(app.delete("acme", &path).token(owner).await.pointers(), ["/use"]);
    app.post("acme", &format!("{path}/verify?use=email")).token(owner).await.problem(409, "conflict");
    let record = as_domain["record"]["value"].as_str().unwrap();
    dns.set_texts("_businessos-challenge.acme.example", &[record]);
    assert_eq!(app.post("acme", &format!("{path}/verify?use=email")).token(owner).await.status, 200);
    assert_eq!(app.delete("acme", &format!("{path}?use=host")).token(owner).await.status, 204);
    assert_eq!(issuer_at(app, "acme.example").await, None);
    assert_eq!(app.delete("acme", &path).token(owner).await.status, 204, "only one is left");
}

#[tokio::test]
async fn a_tenant_has_at_most_twenty_hosts() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    for n in 0..20 {
        let host = format!("app{n}.customer.example");
        assert_eq!(claim(&world.app, "acme", &world.tenant, &world.owner, &host).await.status, 201);
    }
    claim(&world.app, "acme", &world.tenant, &world.owner, HOST).await.problem(409, "conflict");
    assert_eq!(claim(&world.app, "acme", &world.tenant, &world.owner, "app7.customer.example").await.status, 201);
}

#[tokio::test]
async fn a_sign_in_that_begins_at_an_own_host_ends_there() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (liar, connection) = world.with_liar().await;
    dns.set_addresses("localhost", &["127.0.0.1"]);
    bring(&world, &dns, HOST).await;
    let own = format!("http://{HOST}:{}", world.app.port);
    let mut browser = Browser::new();
    let found = browser.get(&format!("{own}/auth/sso?email=ann@acme.test")).await.json();
    assert_eq!(found["connections"][0]["start_url"], format!("{own}/auth/sso/{connection}"));
    // SHA-256 of the verifier, as RFC 7636 appendix B has them.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let query = format!("return_to=/in%3Fa=b&state=s&code_challenge={challenge}&code_challenge_method=S256");
    let start = format!("{own}/auth/sso/{connection}?{query}");
    let first = browser.get(&start).await;
    let canonical = location(&start, &first);
    assert!(canonical.starts_with(&world.url("acme", "/auth/sso/")), "by way of the subdomain: {canonical}");
    let there = location(&canonical, &browser.get(&canonical).await);
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let onward = location(&back, &browser.get(&back).await);
    assert!(onward.starts_with(&format!("{own}/in?a=b&code=")), "{onward}");
    assert_eq!(parameter(&onward, "state").as_deref(), Some("s"));
    let body = json!({"code": parameter(&onward, "code"), "code_verifier": verifier});
    let session = Session::of(&browser.post_json(&format!("{own}/auth/sso/token"), &body).await);
    assert_eq!(world.app.get(HOST, "/auth/me").token(&session).await.json()["email"], "ann@acme.test");
    // Hosts that are not the tenant's are no place to return to.
    for elsewhere in ["https://evil.example/", &format!("{own}.evil.example/"), "//evil.example/"] {
        let start = world.url("acme", &format!("/auth/sso/{connection}?return_to={elsewhere}"));
        assert_eq!(browser.get(&start).await.pointers(), ["/return_to"], "{elsewhere}");
    }
}
