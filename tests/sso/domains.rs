//! Domains: claimed, proved by a record in DNS, looked at again.

use serde_json::{Value, json};

use crate::dns::DnsServer;
use crate::helpers::{Reply, Session, Tenant, until};
use crate::world::World;

const RECORD: &str = "_businessos-challenge.acme.example";

async fn world_with(dns: &DnsServer) -> World {
    let server = dns.address;
    World::with(move |settings| settings.sso.dns_server = Some(server)).await
}

async fn claim(world: &World, slug: &str, tenant: &Tenant, session: &Session, domain: &str) -> Reply {
    let body = json!({ "domain": domain });
    world.app.post(slug, &format!("/tenants/{}/domains", tenant.id)).token(session).json(&body).await
}

async fn verify(world: &World, slug: &str, tenant: &Tenant, session: &Session, domain: &str) -> Reply {
    world.app.post(slug, &format!("/tenants/{}/domains/{domain}/verify", tenant.id)).token(session).await
}

fn record(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{reply:?}");
    let record = &reply.json()["record"];
    assert_eq!((&record["type"], &record["name"]), (&json!("TXT"), &json!(RECORD)));
    record["value"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_domain_is_proved_by_its_record_and_by_nothing_else() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (tenant, owner) = (&world.tenant, &world.owner);
    let value = record(&claim(&world, "acme", tenant, owner, "ACME.example.").await);
    assert_eq!(record(&claim(&world, "acme", tenant, owner, "acme.example").await), value, "claimed again, it stays");
    verify(&world, "acme", tenant, owner, "acme.example").await.problem(409, "conflict");
    dns.set_texts(RECORD, &["businessos-domain-verification=0000", "v=spf1 -all"]);
    verify(&world, "acme", tenant, owner, "acme.example").await.problem(409, "conflict");
    dns.set_silent(true);
    verify(&world, "acme", tenant, owner, "acme.example").await.problem(503, "unavailable");
    dns.set_silent(false);
    dns.set_texts(RECORD, &["v=spf1 -all", &value]);
    let proved = verify(&world, "acme", tenant, owner, "acme.example").await;
    assert_eq!((proved.status, &proved.json()["state"]), (200, &json!("verified")), "{proved:?}");
    verify(&world, "acme", tenant, owner, "unclaimed.example").await.problem(404, "not-found");
    let list = world.app.get("acme", &format!("/tenants/{}/domains", tenant.id)).token(owner).await.json();
    assert_eq!(list["domains"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_domain_is_one_tenants() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let (globex, session) = world.app.tenant_with_owner("globex").await;
    let theirs = record(&claim(&world, "globex", &globex, &session, "acme.example").await);
    let ours = record(&claim(&world, "acme", &world.tenant, &world.owner, "acme.example").await);
    assert_ne!(ours, theirs, "one tenant's record proves nothing for another");
    dns.set_texts(RECORD, &[&ours]);
    verify(&world, "globex", &globex, &session, "acme.example").await.problem(409, "conflict");
    assert_eq!(verify(&world, "acme", &world.tenant, &world.owner, "acme.example").await.status, 200);
    dns.set_texts(RECORD, &[&ours, &theirs]);
    verify(&world, "globex", &globex, &session, "acme.example").await.problem(409, "domain-taken");
    // Given up, it is free; that asks for a second factor, which the other tenant's owner has not shown.
    let path = format!("/tenants/{}/domains/acme.example", world.tenant.id);
    assert_eq!(world.app.delete("acme", &path).token(&world.owner).await.status, 204);
    assert_eq!(verify(&world, "globex", &globex, &session, "acme.example").await.status, 200);
    let path = format!("/tenants/{}/domains/acme.example", globex.id);
    world.app.delete("globex", &path).token(&session).await.problem(401, "insufficient_user_authentication");
}

#[tokio::test]
async fn what_is_everybodys_or_the_platforms_cannot_be_claimed() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    for bad in ["gmail.com", "Outlook.COM", "acme.localhost", "nonsense", "*.acme.example", "127.0.0.1", "a..b", ""] {
        let reply = claim(&world, "acme", &world.tenant, &world.owner, bad).await;
        assert_eq!(reply.pointers(), ["/domain"], "{bad}");
    }
}

#[tokio::test]
async fn a_claim_that_is_not_proved_runs_out() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let value = record(&claim(&world, "acme", &world.tenant, &world.owner, "acme.example").await);
    dns.set_texts(RECORD, &[&value]);
    world.app.db.as_admin("UPDATE auth.email_domains SET expires_at = now() - interval '1 second'").await;
    verify(&world, "acme", &world.tenant, &world.owner, "acme.example").await.problem(404, "not-found");
    let again = record(&claim(&world, "acme", &world.tenant, &world.owner, "acme.example").await);
    assert_ne!(again, value, "an old record proves no new claim");
}

#[tokio::test]
async fn a_domain_whose_record_is_gone_is_let_go_after_a_week_and_not_because_dns_is_away() {
    let dns = DnsServer::start();
    let world = world_with(&dns).await;
    let operator = world.app.operator().await;
    let operator = world.app.stepped_up("platform", &operator).await;
    let value = record(&claim(&world, "acme", &world.tenant, &world.owner, "acme.example").await);
    dns.set_texts(RECORD, &[&value]);
    assert_eq!(verify(&world, "acme", &world.tenant, &world.owner, "acme.example").await.status, 200);
    let connection = world.connect("https://idp.example", json!({"domains": ["acme.example"]})).await;
    let look = async |missed: i64| -> Value {
        let is_due = "UPDATE auth.email_domains SET checked_at = checked_at - interval '2 days'";
        world.app.db.as_admin(is_due).await;
        let before = "SELECT count(*) FROM auth.email_domains WHERE checked_at > now() - interval '1 hour'";
        // The run before may not have said yet that it is over.
        let path = "/operator/jobs/recheck_domains/run";
        until("the job runs", async || world.app.post("platform", path).token(&operator).await.status < 300).await;
        if missed >= 0 {
            until("the domain was looked at", async || world.app.count(before).await == 1).await;
            let n = format!("SELECT count(*) FROM auth.email_domains WHERE n_missed = {missed}");
            assert_eq!(world.app.count(&n).await, 1);
        }
        let path = format!("/tenants/{}/domains", world.tenant.id);
        world.app.get("acme", &path).token(&world.owner).await.json()["domains"][0].clone()
    };
    for missed in 1..7 {
        dns.set_texts(RECORD, &[]);
        let domain = look(missed).await;
        assert_eq!((&domain["state"], &domain["connection"]), (&json!("verified"), &json!(connection)), "{missed}");
    }
    dns.set_texts(RECORD, &[&value]);
    assert_eq!(look(0).await["state"], "verified", "found again, the count begins anew");
    dns.set_texts(RECORD, &[]);
    for missed in 1..7 {
        look(missed).await;
    }
    let domain = look(7).await;
    assert_eq!((&domain["state"], &domain["connection"]), (&json!("pending"), &Value::Null));
    assert_eq!(world.app.count("SELECT count(*) FROM auth.verified_domains").await, 0);
    let lost = "SELECT count(*) FROM platform.audit_log WHERE action = 'email_domain.lose'";
    assert_eq!(world.app.count(lost).await, 1);
}
