//! Import of users with the hashes of their passwords.

use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, Session, spawn_app};

/// argon2i of `PASSWORD`-independent text would need a maker; bcrypt is made here.
fn bcrypt(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

async fn operator(app: &App) -> Session {
    let operator = app.operator().await;
    app.stepped_up("platform", &operator).await
}

fn row(email: &str, hash: &str) -> Value {
    json!({ "tenant": "acme", "email": email, "password_hash": hash })
}

#[tokio::test]
async fn imported_users_sign_in_with_their_old_password_and_get_a_new_hash() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    let operator = operator(&app).await;
    let argon2i = "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$";
    let mut by_id = row("by-id@acme.test", &bcrypt(PASSWORD));
    by_id["tenant"] = tenant.id.into();
    by_id["role"] = "billing".into();
    let rows = json!([
        row("ann@acme.test", &bcrypt(PASSWORD)),
        row("ANN@acme.test", &bcrypt(PASSWORD)),
        row("no address", argon2i),
        by_id,
        { "tenant": "nobody", "email": "a@b.c", "password_hash": bcrypt("x"), "role": "operator" },
        { "tenant": "acme", "email": "a@b.c", "password_hash": bcrypt("x"), "colour": "red" },
        row("costly@acme.test", "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ]);
    let reply = app.post("platform", "/operator/users/import").token(&operator).json(&rows).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let results = reply.json()["results"].clone();
    let statuses: Vec<_> = results.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["imported", "taken", "rejected", "imported", "rejected", "rejected", "rejected"]);
    let pointers = |index: usize| -> Vec<String> {
        let errors = results[index]["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(pointers(2), ["/email", "/password_hash"]);
    assert_eq!(
        (pointers(4), pointers(5)),
        (vec!["/tenant".to_owned(), "/role".to_owned()], vec!["/colour".to_owned()])
    );
    assert_eq!(pointers(6), ["/password_hash"]);
    assert_eq!(app.audited("user.import", "success").await, 2);

    app.try_sign_in("acme", "ann@acme.test", "wrong").await.problem(401, "invalid-credentials");
    app.sign_in("acme", "ann@acme.test").await;
    let ours = "SELECT count(*) FROM auth.users WHERE email = 'ann@acme.test' AND password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'";
    assert_eq!(app.count(ours).await, 1);
    app.sign_in("acme", "ann@acme.test").await;
}

#[tokio::test]
async fn lines_are_read_as_well_and_too_many_are_refused() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    let operator = operator(&app).await;
    let hash = bcrypt(PASSWORD);
    let post = |kind: &str, body: String| {
        app.post("platform", "/operator/users/import").token(&operator).header("content-type", kind).body(body)
    };
    let lines = format!("{}\n\n{}\nnonsense\n", row("a@acme.test", &hash), row("b@acme.test", &hash));
    let reply = post("application/x-ndjson", lines).await;
    let results = reply.json()["results"].clone();
    let statuses: Vec<_> = results.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["imported", "imported", "rejected"], "{reply:?}");
    post("text/plain", "[]".to_owned()).await.problem(415, "unsupported-media-type");
    let many = vec!["1"; 1_001].join(",");
    assert_eq!(post("application/json", format!("[{many}]")).await.pointers(), [""]);
    post("application/json", format!("[\"{}\"]", "x".repeat(1 << 20))).await.problem(413, "payload-too-large");
}

#[tokio::test]
async fn an_import_asks_an_operator_for_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let operator = app.operator().await;
    let reply = app.post("platform", "/operator/users/import").token(&operator).json(&json!([])).await;
    reply.problem(401, "insufficient_user_authentication");
}
