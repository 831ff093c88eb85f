//! Every operation of the API document × nobody, the wrong role, the wrong tenant. An operation is on a list of exceptions with a
//! reason, or it is refused; an entry that no longer applies fails, so that the lists only shrink.

mod bodies;
mod scim;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::api_keys::make_key;
use crate::helpers::{App, Reply, Session, spawn_app, with_stripe};

/// Anybody may call these.
const PUBLIC: &[(&str, &str)] = &[
    ("GET /healthz", "load balancers have no account"),
    ("GET /readyz", "load balancers have no account"),
    ("GET /openapi.json", "the document is no secret"),
    ("GET /docs", "the document is no secret"),
    ("GET /docs/{file}", "scripts and styles of the page"),
    (
        "POST /tenants/onboard",
        "whoever onboards has no account yet; onboarding.mode closes it, which has a test of its own",
    ),
    ("GET /.well-known/jwks.json", "public keys"),
    ("GET /.well-known/openid-configuration", "clients find the keys through it"),
    ("POST /auth/login", "whoever signs in has no token yet"),
    ("POST /auth/mfa/totp/confirm", "the token of a waiting sign-in in the body may be the credential"),
    ("POST /auth/mfa/verify", "the token of a waiting sign-in in the body may be the credential"),
    ("POST /auth/invitations/accept", "the token of the mail is the credential"),
    ("POST /auth/password/forgot", "whoever forgot their password cannot sign in"),
    ("POST /auth/password/reset", "the token of the mail is the credential"),
    ("POST /auth/email/verify", "the token of the mail is the credential"),
    ("POST /auth/mfa/webauthn/register/finish", "the token of a waiting sign-in in the body may be the credential"),
    ("POST /auth/mfa/webauthn/verify", "the token of a waiting sign-in in the body may be the credential"),
    ("POST /auth/webauthn/login", "whoever signs in has no token yet"),
    ("POST /auth/webauthn/login/finish", "the passkey is the credential"),
    ("GET /auth/sso", "whoever signs in asks where; the answer is about a domain"),
    ("GET /auth/sso/{connection}", "whoever signs in has no token yet"),
    ("GET /auth/sso/callback", "the state is the credential, and the browser's cookie"),
    ("GET /auth/sso/{connection}/metadata", "public keys and addresses, for the provider to read"),
    ("POST /auth/sso/callback", "the provider's signature is the credential, or it becomes a link to the same by GET"),
    ("POST /auth/sso/token", "the code in the body is the credential"),
    ("POST /webhooks/stripe", "the signature is the credential"),
    ("POST /auth/refresh", "the refresh token in the body is the credential"),
];

/// Every signed-in user may call these.
const ANY_USER: &[(&str, &str)] = &[
    ("POST /auth/logout", "ends the caller's own sessions"),
    ("GET /auth/sessions", "shows the caller's own sessions"),
    ("DELETE /auth/sessions/{id}", "ends one of the caller's own sessions"),
    ("GET /auth/validate", "says what the caller's own token says"),
    ("POST /auth/validate", "says what the caller's own token says"),
    ("GET /auth/me", "shows the caller themselves"),
    ("POST /auth/mfa/totp", "the caller's own second factor"),
    ("DELETE /auth/mfa/totp", "the caller's own second factor"),
    ("GET /auth/mfa/webauthn", "the caller's own passkeys"),
    ("POST /auth/mfa/webauthn/register", "the caller's own passkeys"),
    ("POST /auth/mfa/webauthn/challenge", "the caller's own passkeys"),
    ("DELETE /auth/mfa/webauthn/{id}", "the caller's own passkeys"),
    ("POST /auth/mfa/recovery-codes", "the caller's own recovery codes"),
    ("POST /auth/password", "changes the caller's own password"),
    ("POST /auth/email", "changes the caller's own address"),
    ("POST /auth/email/verify/resend", "mails the caller themselves"),
    ("POST /auth/sso/step-up", "the caller's own session"),
    ("POST /auth/sso/link", "the caller's own identity"),
    ("GET /auth/sso/identities", "the caller's own identities"),
    ("DELETE /auth/sso/identities/{connection}", "the caller's own identity"),
    ("GET /billing/plans", "shows what everybody may buy"),
    ("GET /billing/subscription", "says what the tenant's users may use"),
    ("GET /billing/usage", "everybody may see what the tenant has used"),
];

/// Every API key may call these.
const ANY_KEY: &[(&str, &str)] =
    &[("GET /auth/validate", "says what the key may do"), ("POST /auth/validate", "says what the key may do")];

/// Error answers that are no problems.
const OTHER_ERRORS: &[(&str, &str)] = &[("GET /readyz 503", "monitoring reads the failing parts from it")];

/// An operation of the document.
struct Operation {
    /// `GET /tenants/{id}`
    name: String,
    method: Method,
    path: String,
    statuses: BTreeSet<String>,
}

impl Operation {
    fn is_operators(&self) -> bool {
        self.path.starts_with("/operator/")
    }

    /// For a tenant's identity provider alone, and told in SCIM's shape. `scim.rs` has the tests of who may.
    fn is_scim(&self) -> bool {
        self.path.starts_with("/scim/v2/")
    }

    /// Sends it with a body that a handler could read, and checks that the document has the answer's status.
    async fn send(&self, app: &App, host: &str, id: &str, session: Option<&Session>) -> Reply {
        let path = self.path.replace("{id}", id).replace("{tenant_id}", id).replace("{file}", "index.html");
        let path = path.replace("{name}", "forget_sent_mail");
        let path = path.replace("{meter}", id).replace("{connection}", id).replace("{domain}", "acme.example");
        assert!(!path.contains('{'), "{}: the ratchet knows no value for a parameter", self.name);
        let mut request = app.request(self.method.clone(), host, &path).header("if-match", "\"1\"");
        if let Some(session) = session {
            request = request.token(session);
        }
        if self.method != Method::GET {
            request = request.raw_json("{}");
        }
        let reply = request.await;
        assert!(self.statuses.contains(&reply.status.to_string()), "{}: undocumented: {reply:?}", self.name);
        assert!(!reply.body.contains("\"no-route\""), "{}: not served: {reply:?}", self.name);
        reply
    }
}

async fn document(app: &App) -> Value {
    app.get("localhost", "/openapi.json").await.json()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            operations.push(Operation {
                name: format!("{method} {path}"),
                method,
                path: path.clone(),
                statuses: operation["responses"].as_object().unwrap().keys().cloned().collect(),
            });
        }
    }
    assert!(operations.len() > 20, "the document was not understood");
    operations
}

fn is_on(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(entry, _)| *entry == name)
}

/// Entries of a list that name no operation.
fn strangers<'a>(list: &[(&'a str, &str)], operations: &[Operation]) -> Vec<&'a str> {
    let known: BTreeSet<_> = operations.iter().map(|operation| &*operation.name).collect();
    list.iter().map(|(entry, _)| *entry).filter(|entry| !known.contains(entry)).collect()
}

#[tokio::test]
async fn nobody_is_let_in_but_where_everybody_is() {
    let app = spawn_app(|_| {}).await;
    let (tenant, _) = app.tenant_with_owner("acme").await;
    let operations = operations(&document(&app).await);
    assert_eq!(strangers(PUBLIC, &operations), Vec::<&str>::new());
    for operation in &operations {
        let host = if operation.is_operators() { "platform" } else { "acme" };
        // The platform's tenant is loaded at its first request.
        app.get(host, "/.well-known/jwks.json").await;
        let reply = operation.send(&app, host, &tenant.id, None).await;
        if is_on(PUBLIC, &operation.name) {
            assert_ne!(reply.status, 401, "{} is not public (any more): {reply:?}", operation.name);
        } else {
            assert_eq!(reply.status, 401, "{} is open to everybody: {reply:?}", operation.name);
            if operation.is_scim() {
                scim::assert_error(&reply, 401);
            } else {
                reply.problem(401, "authentication-required");
            }
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{}", operation.name);
        }
    }
}

#[tokio::test]
async fn a_member_is_let_in_only_where_every_user_is() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    for slug in ["acme", "platform"] {
        app.user(slug, "member").await;
    }
    let operations = operations(&document(&app).await);
    assert_eq!(strangers(ANY_USER, &operations), Vec::<&str>::new());
    for operation in operations.iter().filter(|operation| !is_on(PUBLIC, &operation.name)) {
        let host = if operation.is_operators() { "platform" } else { "acme" };
        let member = app.sign_in(host, &format!("member@{host}.test")).await;
        let reply = operation.send(&app, host, &tenant.id, Some(&member)).await;
        if operation.is_scim() {
            scim::assert_error(&reply, 401);
        } else if is_on(ANY_USER, &operation.name) {
            assert_ne!(reply.status, 403, "{} is not for every user (any more): {reply:?}", operation.name);
        } else {
            assert_eq!(reply.status, 403, "{} is open to every user: {reply:?}", operation.name);
            reply.problem(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn an_api_key_is_let_in_only_where_keys_are() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let operator = app.operator().await;
    let (admin, operator) = (app.stepped_up("acme", &owner).await, app.stepped_up("platform", &operator).await);
    let (_, of_acme) = make_key("acme", &app, &admin, &["gateway:*"]).await;
    let (_, of_platform) = make_key("platform", &app, &operator, &["gateway:*"]).await;
    let operations = operations(&document(&app).await);
    assert_eq!(strangers(ANY_KEY, &operations), Vec::<&str>::new());
    for operation in operations.iter().filter(|operation| !is_on(PUBLIC, &operation.name)) {
        let (host, key) = if operation.is_operators() { ("platform", &of_platform) } else { ("acme", &of_acme) };
        let session = Session { access: key.clone(), refresh: String::new() };
        let reply = operation.send(&app, host, &tenant.id, Some(&session)).await;
        if operation.is_scim() {
            scim::assert_error(&reply, 401);
        } else if is_on(ANY_KEY, &operation.name) {
            assert_eq!(reply.status, 200, "{} is not for every key (any more): {reply:?}", operation.name);
        } else {
            assert_eq!(reply.status, 403, "{} is open to every key: {reply:?}", operation.name);
            reply.problem(403, "insufficient-scope");
        }
    }
}

#[tokio::test]
async fn a_tenants_admin_is_no_operator() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let impostor = app.user("acme", "operator").await;
    let operations = operations(&document(&app).await);
    let of_operators: Vec<_> = operations.iter().filter(|operation| operation.is_operators()).collect();
    assert!(of_operators.len() >= 6, "the operators' operations have moved");
    for operation in of_operators {
        for session in [&owner, &impostor] {
            operation.send(&app, "acme", &tenant.id, Some(session)).await.problem(403, "forbidden");
            operation.send(&app, "platform", &tenant.id, Some(session)).await.problem(403, "tenant-mismatch");
        }
    }
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.status, 200);
}

#[tokio::test]
async fn another_tenants_things_are_as_unknown_as_things_that_are_not() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // Some of them ask for a step-up before they look.
    let owner = app.stepped_up("acme", &owner).await;
    let globex = app.onboard("globex").await;
    let mut n_checked = 0;
    for operation in operations(&document(&app).await) {
        let is_of_others = operation.is_operators() || operation.is_scim();
        if is_on(PUBLIC, &operation.name) || is_of_others || !operation.path.contains('{') {
            continue;
        }
        let theirs = operation.send(&app, "acme", &globex.id, Some(&owner)).await;
        let nobodys = operation.send(&app, "acme", &uuid::Uuid::new_v4().to_string(), Some(&owner)).await;
        theirs.problem(404, "not-found");
        assert_eq!(theirs.anonymous(), nobodys.anonymous(), "{}", operation.name);
        n_checked += 1;
    }
    assert!(n_checked >= 4, "the operations on things have moved");
}

#[tokio::test]
async fn every_documented_error_is_a_problem() {
    let app = spawn_app(|_| {}).await;
    let document = document(&app).await;
    let mut unused: BTreeSet<_> = OTHER_ERRORS.iter().map(|(entry, _)| (*entry).to_owned()).collect();
    for operation in operations(&document) {
        let method = operation.method.as_str().to_lowercase();
        for (status, response) in document["paths"][&operation.path][&method]["responses"].as_object().unwrap() {
            let is_error = status.starts_with(['4', '5']);
            let name = format!("{} {status}", operation.name);
            let types: Vec<_> =
                response["content"].as_object().into_iter().flatten().map(|(kind, _)| kind.as_str()).collect();
            let is_problem =
                types == [if operation.is_scim() { "application/scim+json" } else { "application/problem+json" }];
            if is_error && !is_problem {
                assert!(unused.remove(&name), "{name}: {types:?}");
            }
            assert!(is_error || !is_problem || operation.is_scim(), "{name}: a success that is a problem");
        }
    }
    assert!(unused.is_empty(), "these are problems now: {unused:?}");
}

#[tokio::test]
async fn the_document_has_every_route_and_no_other() {
    let app = spawn_app(|_| {}).await;
    let documented: BTreeSet<_> =
        operations(&document(&app).await).into_iter().map(|operation| operation.path).collect();
    let table = include_str!("../../src/http/mod.rs");
    let routed: BTreeSet<_> =
        table.split("resource(service, \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert!(routed.len() > 15, "the route table was not understood");
    assert_eq!(routed, documented);
    let list = table.split_once("const OWN: ").and_then(|(_, rest)| rest.split_once("];")).unwrap().0;
    let in_order: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert!(in_order.is_sorted(), "they are searched by halves");
    let own: BTreeSet<_> = in_order.into_iter().collect();
    let first: BTreeSet<_> = routed.iter().map(|path| path.split('/').nth(1).unwrap()).collect();
    assert_eq!(own, first, "the first segments of the platform's own paths");
}
