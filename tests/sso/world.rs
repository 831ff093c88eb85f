//! A tenant with an owner and a connection, and the walk of a browser through it.

use businessos::config::Settings;
use serde_json::{Value, json};

use crate::browser::{Browser, location, parameter};
use crate::helpers::{App, Reply, Session, Tenant, spawn_app};
use crate::liar::Liar;

/// Test providers are on the loopback.
pub fn at_home(settings: &mut Settings) {
    settings.sso.allow_private_addresses = true;
}

/// A tenant and its owner, who has just shown two factors.
pub struct World {
    pub app: App,
    pub tenant: Tenant,
    pub owner: Session,
}

impl World {
    pub async fn new() -> Self {
        Self::with(at_home).await
    }

    pub async fn with(tweak: impl FnOnce(&mut Settings)) -> Self {
        let app = spawn_app(tweak).await;
        let (tenant, owner) = app.tenant_with_owner("acme").await;
        let owner = app.stepped_up("acme", &owner).await;
        Self { app, tenant, owner }
    }

    /// URL of a path on a tenant's host.
    pub fn url(&self, slug: &str, path: &str) -> String {
        format!("http://{slug}.localhost:{}{path}", self.app.port)
    }

    pub fn redirect_uri(&self) -> String {
        self.url("acme", "/auth/sso/callback")
    }

    /// Connects a provider; `more` is merged into the request.
    pub async fn connect(&self, issuer: &str, more: Value) -> String {
        let reply = self.try_connect(issuer, more).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn try_connect(&self, issuer: &str, more: Value) -> Reply {
        let mut body = json!({
            "name": format!("idp {}", uuid::Uuid::new_v4()), "kind": "oidc",
            "oidc": {"issuer": issuer, "client_id": "bos", "client_secret": "s3cret"},
        });
        merge(&mut body, more);
        self.app.post("acme", "/sso/connections").token(&self.owner).json(&body).await
    }

    pub async fn change(&self, connection: &str, body: Value) -> Reply {
        self.app.patch("acme", &format!("/sso/connections/{connection}")).token(&self.owner).json(&body).await
    }

    /// A domain that a tenant has proved; how, has tests of its own.
    pub async fn prove(&self, tenant: &Tenant, domain: &str) {
        let id = &tenant.id;
        self.app
            .db
            .as_admin(&format!(
                "INSERT INTO auth.email_domains (tenant_id, domain, challenge, expires_at, verified_at, checked_at)
                 VALUES ('{id}', '{domain}', 'x', now(), now(), now())"
            ))
            .await;
    }

    /// A liar whose people have addresses of the tenant's own domain, and whose strangers become users.
    pub async fn with_liar(&self) -> (Liar, String) {
        let liar = Liar::start();
        self.prove(&self.tenant, "acme.test").await;
        let connection = self.connect(&liar.issuer, json!({"jit": true, "domains": ["acme.test"]})).await;
        (liar, connection)
    }

    /// Sends a browser off; returns the provider's URL that it is sent to.
    pub async fn leave(&self, browser: &mut Browser, connection: &str) -> String {
        self.leave_with(browser, connection, "").await
    }

    pub async fn leave_with(&self, browser: &mut Browser, connection: &str, query: &str) -> String {
        let url = self.url("acme", &format!("/auth/sso/{connection}{query}"));
        let reply = browser.get(&url).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        location(&url, &reply)
    }

    /// Brings a browser back; the error that the client is told, or its code.
    pub async fn come_back(&self, browser: &mut Browser, url: &str) -> Result<String, String> {
        let reply = browser.get(url).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        let onward = location(url, &reply);
        match (parameter(&onward, "code"), parameter(&onward, "error")) {
            (Some(code), None) => Ok(code),
            (None, Some(error)) => Err(error),
            _ => panic!("neither a code nor an error: {onward}"),
        }
    }

    pub async fn redeem(&self, browser: &mut Browser, code: &str) -> Reply {
        browser.post_json(&self.url("acme", "/auth/sso/token"), &json!({ "code": code })).await
    }

    /// The whole walk: there, in as a person of the liar's, back, and the tokens.
    pub async fn sign_in(&self, liar: &Liar, connection: &str, sub: &str, email: &str) -> Reply {
        let mut browser = Browser::new();
        let there = self.leave(&mut browser, connection).await;
        let back = liar.admit(&there, &liar.claims(&there, sub, email));
        let code = self.come_back(&mut browser, &back).await.expect("a code");
        self.redeem(&mut browser, &code).await
    }

    /// The walk up to the answer for the client, with claims that were changed.
    pub async fn try_sign_in(
        &self,
        liar: &Liar,
        connection: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<String, String> {
        let mut browser = Browser::new();
        let there = self.leave(&mut browser, connection).await;
        let mut claims = liar.claims(&there, "ann", "ann@acme.test");
        change(&mut claims);
        self.come_back(&mut browser, &liar.admit(&there, &claims)).await
    }

    /// Why the last sign-in failed, as admins read it.
    pub async fn reason(&self) -> String {
        let path = "/audit?action=sso.sign_in&order=desc";
        let rows = self.app.get("acme", path).token(&self.owner).await.json();
        rows["events"][0]["detail"]["reason"].as_str().unwrap_or_else(|| panic!("{rows}")).to_owned()
    }

    /// How many sessions there are besides those of passwords.
    pub async fn n_sessions(&self) -> i64 {
        self.app.count("SELECT count(*) FROM auth.sessions s JOIN auth.sso_sessions o ON o.session_id = s.id").await
    }

    /// Nobody was let in, made or linked, and nothing waits to be redeemed.
    pub async fn assert_nobody_in(&self) {
        assert_eq!(self.n_sessions().await, 0);
        assert_eq!(self.app.count("SELECT count(*) FROM auth.sso_codes").await, 0);
        assert_eq!(self.app.count("SELECT count(*) FROM auth.sso_identities").await, 0);
        assert_eq!(self.app.count("SELECT count(*) FROM auth.users WHERE email_norm = 'ann@acme.test'").await, 0);
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
