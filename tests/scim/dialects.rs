//! PATCH as Microsoft Entra and Okta send it.

use serde_json::{Value, json};

use crate::world::{ENTERPRISE, PATCH, World, assert_error, id};

/// A user with a bit of everything, and their path.
async fn user() -> (World, String) {
    let world = World::new().await;
    let body = json!({
        "userName": "ann@acme.test", "title": "Engineer", "name": { "givenName": "Ann", "familyName": "Smith" },
        "emails": [{ "value": "ann@acme.test", "type": "work", "primary": true }, { "value": "ann@home.test", "type": "home" }],
        ENTERPRISE: { "department": "R&D", "employeeNumber": "7" },
    });
    let reply = world.post("/Users", &body).await;
    let path = format!("/Users/{}", id(&reply.json()));
    (world, path)
}

impl World {
    async fn patched(&self, path: &str, operations: Value) -> Value {
        let reply = self.patch(path, operations).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(self.get(path).await.json(), reply.json(), "what is answered is what is kept");
        reply.json()
    }
}

#[tokio::test]
async fn entra_switches_off_with_a_text_and_back_on_with_a_boolean() {
    let (world, path) = user().await;
    let off = world.patched(&path, json!([{ "op": "Replace", "path": "active", "value": "False" }])).await;
    assert_eq!(off["active"], json!(false));
    let on = world.patched(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await;
    assert_eq!(on["active"], json!(true));
}

#[tokio::test]
async fn entra_adds_and_replaces_by_path() {
    let (world, path) = user().await;
    let operations = json!([
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "ann.smith@acme.test" },
        { "op": "Replace", "path": "name.familyName", "value": "Jones" },
        { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+44 2" },
        { "op": "Add", "path": format!("{ENTERPRISE}:department"), "value": "Sales" },
        { "op": "Add", "path": format!("{ENTERPRISE}:manager"), "value": "26118915" },
        { "op": "Remove", "path": "title" },
    ]);
    let user = world.patched(&path, operations).await;
    assert_eq!(user["emails"][0], json!({ "value": "ann.smith@acme.test", "type": "work", "primary": true }));
    assert_eq!(user["emails"].as_array().unwrap().len(), 2);
    assert_eq!(user["name"], json!({ "givenName": "Ann", "familyName": "Jones" }));
    assert_eq!(user["phoneNumbers"], json!([{ "type": "mobile", "value": "+44 2" }]));
    let enterprise = json!({ "department": "Sales", "employeeNumber": "7", "manager": { "value": "26118915" } });
    assert_eq!((&user[ENTERPRISE], &user["title"]), (&enterprise, &Value::Null));
}

#[tokio::test]
async fn entra_replaces_without_a_path_by_dotted_names() {
    let (world, path) = user().await;
    let operations = json!([{ "op": "replace", "value": {
        "displayName": "Ann J.", "name.givenName": "Anna", "emails[type eq \"home\"].value": "anna@home.test",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "8",
        "nothing.at.all": 1, "unknown": 2, "id": "mine", "meta": { "version": "1" },
    } }]);
    let user = world.patched(&path, operations).await;
    assert_eq!(user["displayName"], "Ann J.");
    assert_eq!(user["name"], json!({ "givenName": "Anna", "familyName": "Smith" }), "what is not named stays");
    assert_eq!(user["emails"][1]["value"], "anna@home.test");
    assert_eq!(user[ENTERPRISE], json!({ "department": "R&D", "employeeNumber": "8" }));
    assert!(path.ends_with(&id(&user)));
}

#[tokio::test]
async fn okta_replaces_without_a_path() {
    let (world, path) = user().await;
    let body = json!({ "schemas": [PATCH], "Operations": [{ "op": "replace", "value": { "active": false } }] });
    let reply = world.request(reqwest::Method::PATCH, &path).json(&body).await;
    assert_eq!((reply.status, &reply.json()["active"]), (200, &json!(false)), "{reply:?}");
    let user = world
        .patched(
            &path,
            json!([{ "op": "replace", "value": {
        "active": true, "title": null, ENTERPRISE: { "department": "Law" }, "name": { "familyName": "Jones" },
    } }]),
        )
        .await;
    assert_eq!((&user["active"], &user["title"]), (&json!(true), &Value::Null));
    assert_eq!(user[ENTERPRISE], json!({ "department": "Law", "employeeNumber": "7" }));
    assert_eq!(user["name"], json!({ "givenName": "Ann", "familyName": "Jones" }));
}

#[tokio::test]
async fn lists_are_added_to_replaced_and_taken_from() {
    let (world, path) = user().await;
    let added = world.patched(&path, json!([
        { "op": "add", "path": "emails", "value": [{ "value": "ann@club.test", "type": "other", "primary": true }] },
        { "op": "add", "path": "emails", "value": [{ "value": "ann@home.test", "type": "home" }] },
    ])).await;
    assert_eq!(added["emails"].as_array().unwrap().len(), 3, "what is there already is not added");
    assert_eq!((&added["emails"][0]["primary"], &added["emails"][2]["primary"]), (&json!(false), &json!(true)));
    let removed = world
        .patched(
            &path,
            json!([
                { "op": "remove", "path": "emails[type eq \"home\"]" },
                { "op": "Remove", "path": "emails", "value": [{ "value": "ann@club.test" }] },
                { "op": "remove", "path": "emails[type eq \"fax\"]" },
            ]),
        )
        .await;
    assert_eq!(removed["emails"], json!([{ "value": "ann@acme.test", "type": "work", "primary": false }]));
    let replaced = world
        .patched(&path, json!([{ "op": "replace", "path": "emails", "value": { "value": "ann@acme.test" } }]))
        .await;
    assert_eq!(replaced["emails"], json!([{ "value": "ann@acme.test" }]));
    let without = world.patched(&path, json!([{ "op": "remove", "path": ENTERPRISE }])).await;
    assert_eq!((&without[ENTERPRISE], without["schemas"].as_array().unwrap().len()), (&Value::Null, 1));
}

#[tokio::test]
async fn one_wrong_operation_undoes_all() {
    let (world, path) = user().await;
    let before = world.get(&path).await.json();
    let refused = async |operation: Value, scim_type: &str| {
        let good = json!({ "op": "replace", "path": "title", "value": "Director" });
        assert_error(&world.patch(&path, json!([good, operation])).await, 400, scim_type);
        assert_eq!(world.get(&path).await.json(), before, "{operation}");
    };
    refused(json!({ "op": "replace", "path": "nothing", "value": 1 }), "invalidPath").await;
    refused(json!({ "op": "replace", "path": "emails[", "value": 1 }), "invalidPath").await;
    refused(json!({ "op": "replace", "path": "title[type eq \"x\"]", "value": 1 }), "invalidPath").await;
    refused(json!({ "op": "replace", "path": "emails[nothing eq \"x\"].value", "value": "x" }), "invalidFilter").await;
    refused(json!({ "op": "replace", "path": "emails[type eq \"fax\"].value", "value": "x" }), "noTarget").await;
    refused(json!({ "op": "remove" }), "noTarget").await;
    refused(json!({ "op": "replace", "path": "id", "value": "x" }), "mutability").await;
    refused(json!({ "op": "replace", "path": "groups", "value": [] }), "mutability").await;
    refused(json!({ "op": "replace", "path": "active", "value": "perhaps" }), "invalidValue").await;
    refused(json!({ "op": "replace", "path": "title", "value": { "a": 1 } }), "invalidValue").await;
    refused(json!({ "op": "replace", "value": "text" }), "invalidValue").await;
    refused(json!({ "op": "remove", "path": "userName" }), "invalidValue").await;
    refused(json!({ "op": "move", "path": "title" }), "invalidSyntax").await;
    refused(json!("replace"), "invalidSyntax").await;
    assert_error(&world.patch(&path, json!([])).await, 400, "invalidSyntax");
    let wrong = json!({ "schemas": ["urn:other"], "Operations": [{ "op": "add", "path": "title", "value": "x" }] });
    assert_error(&world.request(reqwest::Method::PATCH, &path).json(&wrong).await, 400, "invalidSyntax");
}
