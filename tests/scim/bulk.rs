//! Bulk requests.

use serde_json::{Value, json};

use crate::world::{UNKNOWN, World, assert_error, id};

fn post(bulk_id: &str, path: &str, data: Value) -> Value {
    json!({ "method": "POST", "path": path, "bulkId": bulk_id, "data": data })
}

impl World {
    async fn bulk(&self, operations: Value, fail_on_errors: Option<u64>) -> Vec<Value> {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations,
        });
        if let Some(n) = fail_on_errors {
            body["failOnErrors"] = json!(n);
        }
        let reply = self.post("/Bulk", &body).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/scim+json"), "{reply:?}");
        assert_eq!(reply.json()["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
        reply.json()["Operations"].as_array().unwrap().clone()
    }
}

fn statuses(done: &[Value]) -> Vec<&str> {
    done.iter().map(|one| one["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn operations_refer_to_what_others_make_wherever_they_stand() {
    let world = World::new().await;
    let members = json!([{ "value": "bulkId:ann" }, { "value": "bulkId:bob" }]);
    let done = world.bulk(json!([
        post("ann", "/Users", json!({ "userName": "ann@acme.test" })),
        post("sales", "/Groups", json!({ "displayName": "Sales", "members": members })),
        post("bob", "/Users", json!({ "userName": "bob@acme.test" })),
        { "method": "PATCH", "path": "/Users/bulkId:bob", "data": { "Operations": [{ "op": "add", "path": "title", "value": "Boss" }] } },
    ]), None).await;
    assert_eq!(statuses(&done), ["201", "201", "201", "200"], "{done:?}");
    assert_eq!(done[1]["bulkId"], "sales");
    let group = done[1]["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(world.members(&group).await.len(), 2);
    assert_eq!(world.find("filter=title%20eq%20%22boss%22").await, ["bob@acme.test"]);
}

#[tokio::test]
async fn what_fails_fails_alone() {
    let world = World::new().await;
    let user = world.user("ann@acme.test").await;
    let path = format!("/Users/{}", id(&user));
    let done = world.bulk(json!([
        post("1", "/Users", json!({ "userName": "ann@acme.test" })),
        { "method": "PUT", "path": path, "version": "W/\"99\"", "data": { "userName": "ann@acme.test", "title": "x" } },
        { "method": "PUT", "path": path, "version": user["meta"]["version"], "data": { "userName": "ann@acme.test", "title": "x" } },
        { "method": "DELETE", "path": format!("/Users/{UNKNOWN}") },
        { "method": "GET", "path": path },
        { "method": "POST", "path": "/Users", "data": {} },
        { "method": "POST", "path": "/Nothing", "bulkId": "2", "data": {} },
        { "method": "PATCH", "path": "/Users/bulkId:nobody", "data": {} },
        "nonsense",
        { "method": "delete", "path": path },
    ]), None).await;
    assert_eq!(statuses(&done), ["409", "412", "200", "404", "400", "400", "400", "409", "400", "204"], "{done:?}");
    assert_eq!(
        (&done[0]["response"]["scimType"], &done[0]["response"]["status"]),
        (&json!("uniqueness"), &json!("409"))
    );
    assert_eq!(world.find("").await, Vec::<String>::new());
}

#[tokio::test]
async fn after_so_many_errors_nothing_more_is_done() {
    let world = World::new().await;
    let operations = json!([
        post("1", "/Users", json!({ "userName": "ann@acme.test" })),
        post("2", "/Users", json!({ "userName": "ann@acme.test" })),
        post("3", "/Users", json!({ "userName": "bob@acme.test" })),
    ]);
    let done = world.bulk(operations, Some(1)).await;
    assert_eq!(statuses(&done), ["201", "409"]);
    assert_eq!(world.find("").await, ["ann@acme.test"]);
}

#[tokio::test]
async fn requests_that_are_too_large_or_malformed_are_refused_whole() {
    let world = World::new().await;
    let many: Vec<Value> =
        (0..101).map(|n| post(&n.to_string(), "/Users", json!({ "userName": format!("{n}@acme.test") }))).collect();
    assert_error(&world.post("/Bulk", &json!({ "Operations": many })).await, 413, "");
    assert_error(&world.post("/Bulk", &json!({ "Operations": {} })).await, 400, "invalidSyntax");
    assert_error(&world.post("/Bulk", &json!({ "failOnErrors": 0, "Operations": [] })).await, 400, "invalidSyntax");
    assert_error(&world.post("/Bulk", &json!([])).await, 400, "invalidSyntax");
    assert_eq!(world.find("").await, Vec::<String>::new());
}
