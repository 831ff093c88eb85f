//! A mistake in the body or the query is told only to those who may make the call.

use super::*;

/// The credential may be in the body, so a body that cannot be read is the mistake.
const BODY_IS_CREDENTIAL: &[(&str, &str)] = &[
    ("POST /auth/mfa/totp", "the token of a waiting sign-in may be in the body"),
    ("POST /auth/mfa/webauthn/register", "the token of a waiting sign-in may be in the body"),
    ("POST /auth/mfa/webauthn/challenge", "the token of a waiting sign-in may be in the body"),
];

/// What is wrong with a request: its kind of body, the body, its query.
type Mistake = (&'static str, &'static str, &'static str);

const MISTAKES: &[Mistake] = &[
    ("application/json", "{", ""),
    ("application/json", r#"{"no such field":1}"#, ""),
    ("application/json", "[[]]", ""),
    ("text/plain", "hello", ""),
    ("application/json", "{}", "?limit=none&no_such=1"),
];

impl Operation {
    fn has_input(&self, document: &Value) -> bool {
        let method = self.method.as_str().to_lowercase();
        let operation = &document["paths"][&self.path][&method];
        let parameters = operation["parameters"].as_array();
        operation["requestBody"].is_object()
            || parameters.into_iter().flatten().any(|parameter| parameter["in"] == "query")
    }

    async fn send_mistake(
        &self,
        app: &App,
        host: &str,
        id: &str,
        session: Option<&Session>,
        mistake: &Mistake,
    ) -> Reply {
        let (kind, body, query) = *mistake;
        let path = self.path.replace("{id}", id).replace("{tenant_id}", id).replace("{name}", "openai") + query;
        let mut request = app.request(self.method.clone(), host, &path).header("if-match", "\"1\"");
        if let Some(session) = session {
            request = request.token(session);
        }
        if self.method != Method::GET {
            request = request.header("content-type", kind).body(body);
        }
        let reply = request.await;
        assert!(self.statuses.contains(&reply.status.to_string()), "{}: undocumented: {reply:?}", self.name);
        reply
    }
}

fn with_input(document: &Value) -> Vec<Operation> {
    let mut operations = operations(document);
    operations.retain(|operation| operation.has_input(document));
    assert!(operations.len() > 20, "the bodies have moved");
    operations
}

#[tokio::test]
async fn nobody_learns_what_is_wrong_with_the_input_of_a_call_that_needs_a_caller() {
    let app = spawn_app(with_stripe).await;
    let (tenant, _) = app.tenant_with_owner("acme").await;
    let operations = with_input(&document(&app).await);
    assert_eq!(strangers(BODY_IS_CREDENTIAL, &operations), Vec::<&str>::new());
    for operation in &operations {
        let host = if operation.is_operators() { "platform" } else { "acme" };
        let mut statuses = BTreeSet::new();
        for mistake in MISTAKES {
            statuses.insert(operation.send_mistake(&app, host, &tenant.id, None, mistake).await.status);
        }
        if is_on(PUBLIC, &operation.name) || is_on(BODY_IS_CREDENTIAL, &operation.name) {
            assert!(statuses.contains(&400), "{}: {statuses:?}", operation.name);
        } else {
            assert_eq!(statuses, BTreeSet::from([401]), "{}", operation.name);
        }
    }
}

#[tokio::test]
async fn a_member_learns_what_is_wrong_with_the_input_only_where_every_user_may_call() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    for slug in ["acme", "platform"] {
        app.user(slug, "member").await;
    }
    let mut n_refused = 0;
    for operation in with_input(&document(&app).await).iter().filter(|operation| !is_on(PUBLIC, &operation.name)) {
        let host = if operation.is_operators() { "platform" } else { "acme" };
        let member = app.sign_in(host, &format!("member@{host}.test")).await;
        for mistake in MISTAKES {
            let reply = operation.send_mistake(&app, host, &tenant.id, Some(&member), mistake).await;
            if operation.is_scim() {
                scim::assert_error(&reply, 401);
            } else if is_on(ANY_USER, &operation.name) {
                assert_ne!(reply.status, 403, "{}: {reply:?}", operation.name);
            } else {
                assert_eq!(reply.status, 403, "{}: {mistake:?}: {reply:?}", operation.name);
                n_refused += 1;
            }
        }
    }
    assert!(n_refused >= 12 * MISTAKES.len(), "the admins' operations have moved: {n_refused}");
}
