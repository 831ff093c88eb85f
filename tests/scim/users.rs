//! Users: made, read, replaced, deleted; versions; refusals.

use serde_json::{Value, json};

use crate::world::{ENTERPRISE, UNKNOWN, World, assert_error, id};

fn full() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "id": "chosen by the client", "meta": { "version": "W/\"99\"" }, "groups": [{ "value": "x" }],
        "userName": "Ann@Acme.Test", "externalId": "00u1", "active": true, "nonsense": 1, "password": "t1meMa$heen",
        "name": { "givenName": "Ann", "familyName": "Smith", "formatted": "Ms Ann Smith" },
        "displayName": "Ann S.", "title": "Engineer", "preferredLanguage": "en-GB",
        "emails": [
            { "value": "ann@home.test", "type": "home" },
            { "value": "ann@acme.test", "type": "work", "primary": true },
        ],
        "phoneNumbers": [{ "value": "+44 1", "type": "work" }],
        "addresses": [{ "locality": "London", "type": "work" }],
        ENTERPRISE: { "employeeNumber": "701984", "department": "R&D", "manager": { "value": "26118915" } },
    })
}

#[tokio::test]
async fn what_is_set_is_kept_as_it_was_and_nothing_else_is() {
    let world = World::new().await;
    let reply = world.post("/Users", &full()).await;
    assert_eq!((reply.status, reply.header("content-type")), (201, "application/scim+json"), "{reply:?}");
    let made = reply.json();
    for kept in
        ["userName", "externalId", "active", "name", "displayName", "title", "emails", "phoneNumbers", ENTERPRISE]
    {
        assert_eq!(made[kept], full()[kept], "{kept}");
    }
    for dropped in ["nonsense", "password", "groups"] {
        assert_eq!(made[dropped], Value::Null, "{dropped}");
    }
    assert_ne!(made["id"], full()["id"]);
    assert_eq!(made["meta"]["resourceType"], "User");
    assert_eq!(made["meta"]["version"], reply.header("etag"));
    assert_eq!(made["meta"]["location"], reply.header("location"));
    assert!(reply.header("location").ends_with(&format!("/scim/v2/Users/{}", id(&made))), "{reply:?}");
    let read = world.get(&format!("/Users/{}", id(&made))).await;
    assert_eq!((read.status, read.json()), (200, made.clone()));
    let row = format!(
        "SELECT email || ' ' || name || ' ' || role || ' ' || state FROM auth.users WHERE id = '{}'",
        id(&made)
    );
    assert_eq!(world.text(&row).await, "ann@acme.test Ann S. member active");
    assert_eq!(world.audited("scim.user.create", &id(&made)).await, 1);
}

#[tokio::test]
async fn names_and_addresses_are_unique_whatever_their_case() {
    let world = World::new().await;
    world.user("ann@acme.test").await;
    assert_error(&world.post("/Users", &json!({ "userName": "ANN@acme.test" })).await, 409, "uniqueness");
    let same_address = json!({ "userName": "other", "emails": [{ "value": "Ann@Acme.Test" }] });
    assert_error(&world.post("/Users", &same_address).await, 409, "uniqueness");
    let eve = id(&world.user("eve@acme.test").await);
    let renamed = world
        .patch(&format!("/Users/{eve}"), json!([{ "op": "replace", "value": { "userName": "ann@acme.test" } }]))
        .await;
    assert_error(&renamed, 409, "uniqueness");
    assert_eq!(world.get(&format!("/Users/{eve}")).await.json()["userName"], "eve@acme.test");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_rfcs_words() {
    let world = World::new().await;
    let refused = async |body: &str, status: u16, scim_type: &str| {
        let request = world.request(reqwest::Method::POST, "/Users").header("content-type", "application/scim+json");
        assert_error(&request.body(body.to_owned()).await, status, scim_type);
    };
    refused("{", 400, "invalidSyntax").await;
    refused("[]", 400, "invalidSyntax").await;
    refused(r#"{"schemas":["urn:other"],"userName":"a@b.c"}"#, 400, "invalidSyntax").await;
    refused(r#"{"userName":"a@b.c","USERNAME":"a@b.d"}"#, 400, "invalidSyntax").await;
    refused("{}", 400, "invalidValue").await;
    refused(r#"{"userName":"no address"}"#, 400, "invalidValue").await;
    refused(r#"{"userName":"a@b.c","active":"perhaps"}"#, 400, "invalidValue").await;
    refused(r#"{"userName":"a@b.c","name":"Ann"}"#, 400, "invalidValue").await;
    refused(
        r#"{"userName":"a@b.c","emails":[{"value":"a@b.c","primary":true},{"value":"b@b.c","primary":true}]}"#,
        400,
        "invalidValue",
    )
    .await;
    refused(&format!(r#"{{"userName":"a@b.c","title":"{}"}}"#, "x".repeat(1_025)), 400, "invalidValue").await;
    refused(&" ".repeat((1 << 20) + 1), 413, "").await;
    let phone = format!(r#"{{"value":"{}"}}"#, "x".repeat(1_000));
    let phones = vec![phone.as_str(); 50].join(",");
    let huge = format!(
        r#"{{"userName":"a@b.c","phoneNumbers":[{phones}],"addresses":[{}]}}"#,
        phones.replace("value", "formatted")
    );
    refused(&huge, 400, "invalidValue").await;
    let plain = world.request(reqwest::Method::POST, "/Users").header("content-type", "text/plain").body("{}").await;
    assert_error(&plain, 415, "");
    assert_error(&world.get(&format!("/Users/{UNKNOWN}")).await, 404, "");
    assert_error(&world.get("/Nothing").await, 404, "");
    assert_error(&world.request(reqwest::Method::DELETE, "/Users").await, 405, "");
    assert_error(&world.get("/Me").await, 501, "");
    assert_eq!(world.find("").await, Vec::<String>::new(), "nothing was made");
}

#[tokio::test]
async fn a_change_can_ask_for_the_version_that_was_read() {
    let world = World::new().await;
    let user = world.user("ann@acme.test").await;
    let path = format!("/Users/{}", id(&user));
    let first = user["meta"]["version"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&path).header("if-none-match", &first).await.status, 304);
    let patch = |title: &str, version: &str| {
        let body = json!({ "Operations": [{ "op": "add", "path": "title", "value": title }] });
        world.request(reqwest::Method::PATCH, &path).header("if-match", version).json(&body)
    };
    let changed = patch("Engineer", &first).await;
    let second = changed.header("etag").to_owned();
    assert_eq!((changed.status, second != first), (200, true), "{changed:?}");
    assert_error(&patch("Director", &first).await, 412, "");
    assert_error(&world.request(reqwest::Method::DELETE, &path).header("if-match", &first).await, 412, "");
    let put = world.request(reqwest::Method::PUT, &path).header("if-match", &first);
    assert_error(&put.json(&json!({ "userName": "ann@acme.test" })).await, 412, "");
    assert_eq!(world.get(&path).header("if-none-match", &first).await.json()["title"], "Engineer");
    assert_eq!(patch("Director", &format!("\"0\", {second}")).await.status, 200);
    assert_eq!(patch("President", "*").await.status, 200);
}

#[tokio::test]
async fn a_change_to_the_same_is_no_change() {
    let world = World::new().await;
    let user = world.post("/Users", &full()).await.json();
    let path = format!("/Users/{}", id(&user));
    let again = world.put(&path, &full()).await;
    assert_eq!((again.status, &again.json()["meta"]), (200, &user["meta"]), "{again:?}");
    assert_eq!(world.audited("scim.user.update", &id(&user)).await, 0);
}

#[tokio::test]
async fn put_leaves_out_what_is_left_out_and_active_is_true_then() {
    let world = World::new().await;
    let user = world.post("/Users", &full()).await.json();
    let path = format!("/Users/{}", id(&user));
    let off = world.put(&path, &json!({ "userName": "Ann@Acme.Test", "active": false })).await;
    assert_eq!((off.status, &off.json()["active"]), (200, &json!(false)), "{off:?}");
    let bare = world.put(&path, &json!({ "userName": "Ann@Acme.Test" })).await.json();
    assert_eq!(bare["active"], json!(true));
    for gone in ["title", "emails", "externalId", "name", ENTERPRISE] {
        assert_eq!(bare[gone], Value::Null, "{gone}");
    }
    assert_eq!(bare["schemas"], json!(["urn:ietf:params:scim:schemas:core:2.0:User"]));
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_can_be_made_again() {
    let world = World::new().await;
    let user = world.user("ann@acme.test").await;
    let path = format!("/Users/{}", id(&user));
    assert_eq!(world.delete(&path).await.status, 204);
    assert_error(&world.get(&path).await, 404, "");
    assert_error(&world.delete(&path).await, 404, "");
    assert_error(&world.patch(&path, json!([{ "op": "add", "path": "title", "value": "x" }])).await, 404, "");
    assert_eq!(world.find("").await, Vec::<String>::new());
    let again = world.user("ann@acme.test").await;
    assert_ne!(id(&again), id(&user));
    assert_eq!(world.audited("scim.user.delete", &id(&user)).await, 1);
}

#[tokio::test]
async fn the_address_to_sign_in_with_follows_the_provider() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let email = format!("SELECT email_norm FROM auth.users WHERE id = '{user}'");
    world.app.db.as_admin(&format!("UPDATE auth.users SET email_verified_at = now() WHERE id = '{user}'")).await;
    let emails = json!([{ "value": "Ann.Smith@acme.test", "primary": true }]);
    let body = json!({ "userName": "ann@acme.test", "emails": emails });
    assert_eq!(world.put(&format!("/Users/{user}"), &body).await.status, 200);
    assert_eq!(world.text(&email).await, "ann.smith@acme.test");
    let proven = format!("SELECT count(*) FROM auth.users WHERE id = '{user}' AND email_verified_at IS NOT NULL");
    assert_eq!(world.app.count(&proven).await, 0, "nobody has shown to read mail there");
    let gone = world.patch(&format!("/Users/{user}"), json!([{ "op": "remove", "path": "emails" }])).await;
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(world.text(&email).await, "ann@acme.test", "the name is an address");
}

#[tokio::test]
async fn the_server_says_what_it_does() {
    let world = World::new().await;
    let config = world.get("/ServiceProviderConfig").await.json();
    for feature in ["patch", "bulk", "filter", "sort", "etag"] {
        assert_eq!(config[feature]["supported"], true, "{feature}");
    }
    let schemas = world.get("/Schemas").await.json();
    assert_eq!(schemas["totalResults"], 3);
    let one = world.get(&format!("/Schemas/{ENTERPRISE}")).await.json();
    assert!(schemas["Resources"].as_array().unwrap().contains(&one));
    let types = world.get("/ResourceTypes").await.json();
    assert_eq!(types["Resources"][0]["schemaExtensions"][0]["schema"], ENTERPRISE);
    assert_eq!(world.get("/ResourceTypes/Group").await.json()["endpoint"], "/Groups");
    assert_error(&world.get("/Schemas/urn:none").await, 404, "");
}
