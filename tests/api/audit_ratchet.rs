//! Every operation that changes something × the row that it leaves in the audit log. An operation is in the table, or this fails; and
//! each is called, and its row is found by the id of its request.

mod sso;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dns::DnsServer;
use crate::helpers::{App, PASSWORD, Reply, Session, onboard_body, spawn_app, stripe_signature, until, with_stripe};
use crate::soft_key::SoftKey;

/// What a success leaves, or why nothing.
enum Trail {
    /// A row of this action.
    Leaves(&'static str),
    /// A row that another test looks for: here, there is nothing that could answer.
    Elsewhere(&'static str),
    /// Nothing, for this reason.
    Nothing(#[expect(dead_code, reason = "for whoever reads the table")] &'static str),
}

use Trail::{Elsewhere, Leaves, Nothing};

const TABLE: &[(&str, Trail)] = &[
    ("POST /tenants/onboard", Leaves("tenant.onboard")),
    ("POST /webhooks/stripe", Nothing("stores what Stripe says; each fact that follows from it has a row")),
    ("POST /auth/login", Leaves("session.create")),
    ("POST /auth/refresh", Nothing("every few minutes of every session; what is refused has a row")),
    ("POST /auth/logout", Leaves("session.end")),
    ("DELETE /auth/sessions/{id}", Leaves("session.end")),
    ("POST /auth/validate", Nothing("changes nothing; a POST for clients that cannot send a GET")),
    ("POST /auth/mfa/totp", Leaves("factor.enrol")),
    ("DELETE /auth/mfa/totp", Leaves("factor.remove")),
    ("POST /auth/mfa/totp/confirm", Leaves("factor.confirm")),
    ("POST /auth/mfa/recovery-codes", Leaves("recovery_codes.renew")),
    ("POST /auth/mfa/verify", Leaves("mfa.verify")),
    ("POST /auth/mfa/webauthn/register", Leaves("factor.enrol")),
    ("POST /auth/mfa/webauthn/register/finish", Leaves("factor.confirm")),
    ("POST /auth/mfa/webauthn/challenge", Nothing("a question; the answer leaves a row")),
    ("POST /auth/mfa/webauthn/verify", Leaves("session.step_up")),
    ("DELETE /auth/mfa/webauthn/{id}", Leaves("factor.remove")),
    ("POST /auth/webauthn/login", Nothing("a question; the answer leaves a row")),
    ("POST /auth/webauthn/login/finish", Leaves("session.create")),
    ("POST /auth/invitations/accept", Leaves("invitation.accept")),
    ("POST /auth/password", Leaves("password.change")),
    ("POST /auth/password/forgot", Leaves("password.forgot")),
    ("POST /auth/password/reset", Leaves("password.reset")),
    ("POST /auth/email", Leaves("email.change.request")),
    ("POST /auth/email/verify", Leaves("email.change")),
    ("POST /auth/email/verify/resend", Leaves("email.verification.send")),
    ("POST /invitations", Leaves("invitation.create")),
    ("POST /invitations/{id}/resend", Leaves("invitation.resend")),
    ("DELETE /invitations/{id}", Leaves("invitation.revoke")),
    ("POST /users", Leaves("user.create")),
    ("PATCH /users/{id}", Leaves("user.update")),
    ("DELETE /users/{id}/factors", Leaves("user.factors.remove")),
    ("POST /users/{id}/sessions/end", Leaves("user.sessions.end")),
    ("DELETE /users/{id}", Leaves("user.delete")),
    ("PATCH /tenants/{id}", Leaves("tenant.update")),
    ("PUT /tenants/{id}/config", Leaves("tenant_config.replace")),
    ("POST /tenants/{id}/keys/rotate", Leaves("signing_key.replace_all")),
    ("PUT /tenants/{id}/secrets/{name}", Leaves("tenant_secret.put")),
    ("DELETE /tenants/{id}/secrets/{name}", Leaves("tenant_secret.delete")),
    ("POST /tenants/{id}/domains", Leaves("email_domain.claim")),
    ("POST /tenants/{id}/domains/{domain}/verify", Leaves("email_domain.verify")),
    ("DELETE /tenants/{id}/domains/{domain}", Leaves("email_domain.delete")),
    ("POST /sso/connections", Leaves("sso_connection.create")),
    ("PATCH /sso/connections/{id}", Leaves("sso_connection.update")),
    ("DELETE /sso/connections/{id}", Leaves("sso_connection.delete")),
    ("POST /sso/connections/{id}/refresh", Leaves("sso_connection.refresh")),
    ("POST /sso/connections/{id}/keys", Leaves("sso_connection.key_add")),
    ("POST /sso/connections/{id}/keys/activate", Leaves("sso_connection.key_activate")),
    ("POST /sso/connections/{id}/test", Nothing("asks the provider, and changes nothing")),
    ("POST /auth/sso/callback", Nothing("becomes a link; what follows it leaves rows")),
    ("POST /auth/sso/token", Leaves("session.create")),
    ("POST /auth/sso/step-up", Nothing("a question; the code that answers it leaves a row")),
    ("POST /auth/sso/link", Nothing("a question; the code that answers it leaves a row")),
    ("DELETE /auth/sso/identities/{connection}", Leaves("sso.unlink")),
    ("POST /api-keys", Leaves("api_key.create")),
    ("DELETE /api-keys/{id}", Leaves("api_key.revoke")),
    (
        "POST /billing/usage/events",
        Nothing("each event is a row of its own, with source, key and time, which nobody may change"),
    ),
    ("POST /billing/usage/stream-ticket", Leaves("usage_stream.ticket")),
    ("POST /operator/tenants/{id}/suspend", Leaves("tenant.suspend")),
    ("POST /operator/tenants/{id}/resume", Leaves("tenant.resume")),
    ("POST /operator/tenants/{id}/delete", Leaves("tenant.delete")),
    ("POST /billing/usage/{meter}/resume", Leaves("usage.resume")),
    ("POST /billing/subscribe", Leaves("subscription.change")),
    ("POST /billing/cancel", Leaves("subscription.cancel")),
    ("POST /billing/portal", Elsewhere("tests/stripe, which has a Stripe: `billing.portal`")),
    ("PUT /billing/profile", Leaves("billing.profile")),
    ("POST /operator/invoices/{id}/paid", Leaves("invoice.paid")),
    ("POST /operator/invoices/{id}/credit", Leaves("invoice.credited")),
    ("POST /scim/tokens", Leaves("scim.token.create")),
    ("DELETE /scim/tokens/{id}", Leaves("scim.token.revoke")),
    ("PUT /scim/groups/{id}/role", Leaves("scim.group.map")),
    ("POST /scim/v2/Users", Leaves("scim.user.create")),
    ("PUT /scim/v2/Users/{id}", Leaves("scim.user.update")),
    ("PATCH /scim/v2/Users/{id}", Leaves("scim.user.deactivate")),
    ("DELETE /scim/v2/Users/{id}", Leaves("scim.user.delete")),
    ("POST /scim/v2/Groups", Leaves("scim.group.create")),
    ("PUT /scim/v2/Groups/{id}", Leaves("scim.group.update")),
    ("PATCH /scim/v2/Groups/{id}", Leaves("scim.group.update")),
    ("DELETE /scim/v2/Groups/{id}", Leaves("scim.group.delete")),
    ("POST /scim/v2/Bulk", Leaves("scim.user.create")),
    ("POST /scim/v2/Users/.search", Nothing("a question")),
    ("POST /scim/v2/Groups/.search", Nothing("a question")),
    ("POST /scim/v2/.search", Nothing("a question")),
    ("POST /operator/tenants/{id}/plan", Leaves("tenant.plan")),
    ("POST /operator/tenants/{id}/rebuild", Leaves("tenant.rebuild")),
    ("POST /operator/invitations", Leaves("onboarding.invite")),
    ("POST /operator/jobs/{name}/run", Leaves("job.run")),
    ("POST /operator/mail/{tenant_id}/{id}/retry", Leaves("mail.retry")),
    ("POST /operator/users/import", Leaves("user.import")),
    ("POST /operator/reload", Leaves("gateway.reload")),
];

/// Calls operations and remembers which.
struct Caller {
    app: App,
    called: BTreeSet<&'static str>,
}

impl Caller {
    /// Calls an operation of the table on a host and looks for its row. `{id}` of the path is the first of `ids`, and so on.
    async fn call(
        &mut self,
        name: &'static str,
        host: &str,
        ids: &[&str],
        by: Option<&Session>,
        body: Option<Value>,
    ) -> Reply {
        let (_, trail) = TABLE.iter().find(|(operation, _)| *operation == name).unwrap_or_else(|| panic!("{name}"));
        let (method, template) = name.split_once(' ').unwrap();
        let mut ids = ids.iter();
        let parts = template.split('/').map(|part| if part.starts_with('{') { *ids.next().unwrap() } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        // A provider's resource has another version after each call.
        let version = if template.starts_with("/scim/v2/") { "*" } else { "\"1\"" };
        let mut request = self.app.request(method.parse().unwrap(), host, &path).header("if-match", version);
        if let Some(session) = by {
            request = request.token(session);
        }
        if let Some(body) = &body {
            request = request.header("stripe-signature", &stripe_signature(&body.to_string())).json(body);
        }
        let reply = request.await;
        assert!((200..300).contains(&reply.status), "{name}: {reply:?}");
        let request_id = reply.header("x-request-id");
        let of_request = format!("SELECT count(*) FROM platform.audit_log WHERE request_id = '{request_id}'");
        match trail {
            // Where the work is done after the answer, the row comes later.
            Leaves(action) => {
                let row = format!("{of_request} AND action = '{action}' AND outcome = 'success'");
                until(&format!("{name} leaves {action}"), async || self.app.count(&row).await == 1).await;
            }
            Elsewhere(test) => panic!("{name} is {test}'s"),
            Nothing(_) => assert_eq!(self.app.count(&of_request).await, 0, "{name} leaves a row (now)"),
        }
        self.called.insert(name);
        reply
    }
}

#[tokio::test]
async fn every_operation_that_changes_something_is_in_the_table() {
    let app = spawn_app(|_| {}).await;
    let document = app.get("localhost", "/openapi.json").await.json();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if ["post", "put", "patch", "delete"].contains(&method.as_str()) {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let known: BTreeSet<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), TABLE.len(), "twice in the table");
    assert_eq!(known, documented);
}

#[tokio::test]
async fn every_change_leaves_the_row_that_the_table_names() {
    let dns = DnsServer::start();
    let server = dns.address;
    let app = spawn_app(move |settings| {
        settings.sso.allow_private_addresses = true;
        settings.sso.dns_server = Some(server);
    })
    .await;
    let mut caller = Caller { app, called: BTreeSet::new() };
    let body = onboard_body("acme");
    let made = caller.call("POST /tenants/onboard", "localhost", &[], None, Some(body)).await.json();
    let tenant = made["tenant"]["id"].as_str().unwrap().to_owned();
    let owner = caller.app.sign_in("acme", "owner@acme.test").await;
    let owner = caller.app.stepped_up("acme", &owner).await;
    call_for_users(&mut caller, &owner).await;
    call_for_oneself(&mut caller).await;
    call_for_factors(&mut caller).await;
    call_for_passkeys(&mut caller).await;
    call_for_the_provider(&mut caller, &owner).await;
    sso::call(&mut caller, &dns, &tenant, &owner).await;
    call_for_the_tenant(&mut caller, &tenant, &owner).await;
    call_as_operator(&mut caller, &tenant).await;
    // Where there is an account at Stripe, subscribing leads there.
    let mut caller = Caller { app: spawn_app(with_stripe).await, ..caller };
    let event = json!({ "id": "evt_1", "type": "coffee.made" });
    caller.call("POST /webhooks/stripe", "localhost", &[], None, Some(event)).await;
    let here = TABLE.iter().filter(|(_, trail)| !matches!(trail, Elsewhere(_)));
    let table: BTreeSet<_> = here.map(|(name, _)| *name).collect();
    assert_eq!(caller.called, table, "nobody called these");
}

fn id_in(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

async fn call_for_users(caller: &mut Caller, owner: &Session) {
    let wish = |email: &str| Some(json!({ "email": email, "role": "member" }));
    let invited = caller.call("POST /invitations", "acme", &[], Some(owner), wish("ann@acme.test")).await;
    caller.call("POST /invitations/{id}/resend", "acme", &[&id_in(&invited)], Some(owner), None).await;
    let token = caller.app.mail("invitation", "ann@acme.test").await.token();
    let accept = json!({ "token": token, "password": PASSWORD });
    caller.call("POST /auth/invitations/accept", "acme", &[], None, Some(accept)).await;
    let invited = caller.call("POST /invitations", "acme", &[], Some(owner), wish("bob@acme.test")).await;
    caller.call("DELETE /invitations/{id}", "acme", &[&id_in(&invited)], Some(owner), None).await;
    let id = id_in(&caller.call("POST /users", "acme", &[], Some(owner), wish("eve@acme.test")).await);
    let name = Some(json!({ "name": "Eve" }));
    caller.call("PATCH /users/{id}", "acme", &[&id], Some(owner), name).await;
    caller.call("POST /users/{id}/sessions/end", "acme", &[&id], Some(owner), None).await;
    caller.call("DELETE /users/{id}/factors", "acme", &[&id], Some(owner), None).await;
    caller.call("DELETE /users/{id}", "acme", &[&id], Some(owner), None).await;
}

/// Sessions, password and address of ann.
async fn call_for_oneself(caller: &mut Caller) {
    let by_password = |password: &str| Some(json!({ "email": "ann@acme.test", "password": password }));
    let ann = Session::of(&caller.call("POST /auth/login", "acme", &[], None, by_password(PASSWORD)).await);
    let other = caller.app.sign_in("acme", "ann@acme.test").await;
    let id = caller.app.get("acme", "/auth/validate").token(&other).await.json()["session_id"].clone();
    caller.call("DELETE /auth/sessions/{id}", "acme", &[id.as_str().unwrap()], Some(&ann), None).await;
    let refresh = Some(json!({ "refresh_token": ann.refresh }));
    let ann = Session::of(&caller.call("POST /auth/refresh", "acme", &[], None, refresh).await);
    caller.call("POST /auth/validate", "acme", &[], Some(&ann), None).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "a whole new sentence" });
    caller.call("POST /auth/password", "acme", &[], Some(&ann), Some(change)).await;
    let email = Some(json!({ "email": "ann@acme.test" }));
    caller.call("POST /auth/password/forgot", "acme", &[], None, email).await;
    let token = caller.app.mail("password_reset", "ann@acme.test").await.token();
    let reset = json!({ "token": token, "password": PASSWORD });
    caller.call("POST /auth/password/reset", "acme", &[], None, Some(reset)).await;
    let ann = Session::of(&caller.call("POST /auth/login", "acme", &[], None, by_password(PASSWORD)).await);
    let email = Some(json!({ "email": "anna@acme.test" }));
    caller.call("POST /auth/email", "acme", &[], Some(&ann), email).await;
    let token = caller.app.mail("email_verification", "anna@acme.test").await.token();
    caller.call("POST /auth/email/verify", "acme", &[], None, Some(json!({ "token": token }))).await;
    caller.call("POST /auth/logout", "acme", &[], Some(&ann), None).await;
    let unproven = caller.app.user("acme", "member").await;
    caller.call("POST /auth/email/verify/resend", "acme", &[], Some(&unproven), None).await;
}

async fn call_for_factors(caller: &mut Caller) {
    let user = caller.app.user("acme", "billing").await;
    let begun = caller.call("POST /auth/mfa/totp", "acme", &[], Some(&user), None).await;
    let authenticator = crate::second_factor::Authenticator::new(&begun.json());
    let code = |authenticator: &crate::second_factor::Authenticator| json!({ "code": authenticator.code() });
    caller.call("POST /auth/mfa/totp/confirm", "acme", &[], Some(&user), Some(code(&authenticator))).await;
    caller.app.let_steps_pass().await;
    let (mfa_token, _) = caller.app.challenge("acme", "billing@acme.test").await;
    let body = json!({ "mfa_token": mfa_token, "code": authenticator.code() });
    let user = Session::of(&caller.call("POST /auth/mfa/verify", "acme", &[], None, Some(body)).await);
    caller.call("POST /auth/mfa/recovery-codes", "acme", &[], Some(&user), None).await;
    caller.call("DELETE /auth/mfa/totp", "acme", &[], Some(&user), None).await;
}

async fn call_for_passkeys(caller: &mut Caller) {
    let user = caller.app.user("acme", "admin").await;
    let begun = caller.call("POST /auth/mfa/webauthn/register", "acme", &[], Some(&user), None).await.json();
    let mut key = SoftKey::new(&caller.app.origin("acme"));
    let body = json!({ "ceremony_id": begun["ceremony_id"], "credential": key.create(&begun["publicKey"]) });
    caller.call("POST /auth/mfa/webauthn/register/finish", "acme", &[], Some(&user), Some(body)).await;
    let asked = caller.call("POST /auth/webauthn/login", "acme", &[], None, None).await.json();
    let body = json!({ "ceremony_id": asked["ceremony_id"], "credential": key.get(&asked["publicKey"]) });
    let reply = caller.call("POST /auth/webauthn/login/finish", "acme", &[], None, Some(body)).await;
    let user = Session::of(&reply);
    let asked = caller.call("POST /auth/mfa/webauthn/challenge", "acme", &[], Some(&user), None).await.json();
    let body = json!({ "ceremony_id": asked["ceremony_id"], "credential": key.get(&asked["publicKey"]) });
    let user = Session::of(&caller.call("POST /auth/mfa/webauthn/verify", "acme", &[], Some(&user), Some(body)).await);
    let listed = caller.app.get("acme", "/auth/mfa/webauthn").token(&user).await.json();
    let id = listed["passkeys"][0]["id"].as_str().unwrap();
    caller.call("DELETE /auth/mfa/webauthn/{id}", "acme", &[id], Some(&user), None).await;
}

async fn call_for_the_tenant(caller: &mut Caller, tenant: &str, owner: &Session) {
    let key = json!({ "name": "robot", "scopes": ["gateway:*"] });
    let made = caller.call("POST /api-keys", "acme", &[], Some(owner), Some(key)).await;
    caller.call("DELETE /api-keys/{id}", "acme", &[&id_in(&made)], Some(owner), None).await;
    let event = json!({ "id": "a", "meter": "workflow_runs", "quantity": 1 });
    caller.call("POST /billing/usage/events", "acme", &[], Some(owner), Some(json!({ "events": [event] }))).await;
    caller.call("POST /billing/usage/stream-ticket", "acme", &[], Some(owner), None).await;
    caller.call("PUT /tenants/{id}/config", "acme", &[tenant], Some(owner), Some(json!({}))).await;
    let name = Some(json!({ "name": "Acme" }));
    caller.call("PATCH /tenants/{id}", "acme", &[tenant], Some(owner), name).await;
    let paused = format!(
        "INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end, used)
         VALUES ('{tenant}', 'ai_tokens', date_trunc('month', now(), 'UTC'),
                 date_trunc('month', now(), 'UTC') + interval '1 month', 10000)"
    );
    caller.app.db.as_admin(&paused).await;
    caller.call("POST /billing/usage/{meter}/resume", "acme", &["ai_tokens"], Some(owner), None).await;
    caller.call("POST /billing/subscribe", "acme", &[], Some(owner), Some(json!({ "plan": "pro" }))).await;
    caller.call("POST /billing/cancel", "acme", &[], Some(owner), None).await;

    let profile = Some(json!({ "legal_name": "Acme Ltd", "country": "GB" }));
    caller.call("PUT /billing/profile", "acme", &[], Some(owner), profile).await;
    let secret = Some(json!({ "value": "sk-1" }));
    caller.call("PUT /tenants/{id}/secrets/{name}", "acme", &[tenant, "openai"], Some(owner), secret).await;
    caller.call("DELETE /tenants/{id}/secrets/{name}", "acme", &[tenant, "openai"], Some(owner), None).await;
    caller.call("POST /tenants/{id}/keys/rotate", "acme", &[tenant], Some(owner), None).await;
}

async fn call_for_the_provider(caller: &mut Caller, owner: &Session) {
    let name = Some(json!({ "name": "provider" }));
    let made = caller.call("POST /scim/tokens", "acme", &[], Some(owner), name).await;
    let provider = Session { access: made.json()["secret"].as_str().unwrap().to_owned(), refresh: String::new() };
    let by = Some(&provider);
    let user = |name: &str| Some(json!({ "userName": format!("{name}@acme.test"), "title": "Engineer" }));
    let id = id_in(&caller.call("POST /scim/v2/Users", "acme", &[], by, user("lea")).await);
    let changed = Some(json!({ "userName": "lea@acme.test", "title": "Director" }));
    caller.call("PUT /scim/v2/Users/{id}", "acme", &[&id], by, changed).await;
    let off = json!({ "Operations": [{ "op": "replace", "value": { "active": false } }] });
    caller.call("PATCH /scim/v2/Users/{id}", "acme", &[&id], by, Some(off)).await;
    let group = |name: &str| Some(json!({ "displayName": name, "members": [{ "value": id }] }));
    let sales = id_in(&caller.call("POST /scim/v2/Groups", "acme", &[], by, group("Sales")).await);
    caller.call("PUT /scim/v2/Groups/{id}", "acme", &[&sales], by, group("Selling")).await;
    let role = Some(json!({ "role": "billing" }));
    caller.call("PUT /scim/groups/{id}/role", "acme", &[&sales], Some(owner), role).await;
    let nobody = Some(json!({ "Operations": [{ "op": "remove", "path": "members" }] }));
    caller.call("PATCH /scim/v2/Groups/{id}", "acme", &[&sales], by, nobody).await;
    caller.call("DELETE /scim/v2/Groups/{id}", "acme", &[&sales], by, None).await;
    let bulk = json!({ "Operations": [{ "method": "POST", "path": "/Users", "bulkId": "1", "data": user("leo") }] });
    caller.call("POST /scim/v2/Bulk", "acme", &[], by, Some(bulk)).await;
    for search in ["POST /scim/v2/Users/.search", "POST /scim/v2/Groups/.search", "POST /scim/v2/.search"] {
        caller.call(search, "acme", &[], by, Some(json!({ "filter": "id pr" }))).await;
    }
    caller.call("DELETE /scim/v2/Users/{id}", "acme", &[&id], by, None).await;
    caller.call("DELETE /scim/tokens/{id}", "acme", &[&id_in(&made)], Some(owner), None).await;
}

async fn call_as_operator(caller: &mut Caller, tenant: &str) {
    let operator = caller.app.operator().await;
    let operator = caller.app.stepped_up("platform", &operator).await;
    let by = Some(&operator);
    let email = Some(json!({ "email": "founder@initech.test" }));
    caller.call("POST /operator/invitations", "platform", &[], by, email).await;
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let rows = json!([{ "tenant": "acme", "email": "old@acme.test", "password_hash": hash }]);
    caller.call("POST /operator/users/import", "platform", &[], by, Some(rows)).await;
    caller.call("POST /operator/reload", "platform", &[], by, None).await;
    let mail = uuid::Uuid::new_v4().to_string();
    caller
        .app
        .db
        .as_admin(&format!(
            "INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient, dead_at)
             VALUES ('{tenant}', '{mail}', 'password_changed', 'gone@acme.test', now())"
        ))
        .await;
    caller.call("POST /operator/mail/{tenant_id}/{id}/retry", "platform", &[tenant, &mail], by, None).await;
    caller.call("POST /operator/jobs/{name}/run", "platform", &["forget_ended_sessions"], by, None).await;
    let invoices = [uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string()];
    for (n, id) in invoices.iter().enumerate() {
        caller
            .app
            .db
            .as_admin(&format!(
                "INSERT INTO billing.invoices (tenant_id, id, number, kind, status, period_start, period_end, currency,
                     subtotal_minor, discount_minor, tax_minor, total_minor, issued_at, due_at, seller, buyer)
                 VALUES ('{tenant}', '{id}', 'T-{n}', 'cycle', 'open', '2025-0{month}-01', '2025-0{month}-28', 'USD',
                         1, 0, 0, 1, now(), now(), '{{}}', '{{}}');
                 INSERT INTO billing.invoice_lines (tenant_id, invoice_id, position, key, kind, description, quantity, unit_price,
                     amount_minor, period_start, period_end, tax_category, tax_rate)
                 VALUES ('{tenant}', '{id}', 1, 'plan:basic', 'plan', 'Plan', 1, '1', 1, '2025-0{month}-01',
                         '2025-0{month}-28', 'O', 0);
                 INSERT INTO billing.invoice_taxes (tenant_id, invoice_id, category, rate, basis_minor, amount_minor)
                 VALUES ('{tenant}', '{id}', 'O', 0, 1, 0)",
                month = n + 1
            ))
            .await;
    }
    let [paid, wrong] = &invoices;
    caller.call("POST /operator/invoices/{id}/paid", "platform", &[paid], by, Some(json!({}))).await;
    let reason = Some(json!({ "reason": "a test" }));
    caller.call("POST /operator/invoices/{id}/credit", "platform", &[wrong], by, reason).await;
    let plan = Some(json!({ "plan": "basic" }));
    caller.call("POST /operator/tenants/{id}/plan", "platform", &[tenant], by, plan).await;
    for name in [
        "POST /operator/tenants/{id}/rebuild",
        "POST /operator/tenants/{id}/suspend",
        "POST /operator/tenants/{id}/resume",
        "POST /operator/tenants/{id}/delete",
    ] {
        caller.call(name, "platform", &[tenant], by, None).await;
    }
}
