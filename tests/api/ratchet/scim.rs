//! What a tenant's identity provider calls: open to its token and to nobody else's.

use serde_json::json;

use super::*;
use crate::helpers::Tenant;

/// Checks that an answer is an error in SCIM's shape (RFC 7644 §3.12).
#[track_caller]
pub fn assert_error(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/scim+json", "{reply:?}");
    let body = reply.json();
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{reply:?}");
    assert_eq!(body["status"], status.to_string(), "{reply:?}");
    assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{reply:?}");
    if status == 401 {
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{reply:?}");
    }
}

async fn provider(app: &App, slug: &str) -> (Tenant, Session, Session) {
    let (tenant, owner) = app.tenant_with_owner(slug).await;
    let owner = app.stepped_up(slug, &owner).await;
    let made = app.post(slug, "/scim/tokens").token(&owner).json(&json!({ "name": "provider" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["secret"].as_str().unwrap().to_owned();
    (tenant, owner, Session { access: token, refresh: String::new() })
}

#[tokio::test]
async fn a_providers_token_opens_scim_of_its_own_tenant_and_nothing_else() {
    let app = spawn_app(|_| {}).await;
    let (acme, owner, provider_of_acme) = provider(&app, "acme").await;
    let (_, _, provider_of_globex) = provider(&app, "globex").await;
    let (mut n_scim, mut n_others) = (0, 0);
    for operation in operations(&document(&app).await) {
        if operation.is_scim() {
            n_scim += 1;
            for stranger in [&provider_of_globex, &owner] {
                assert_error(&operation.send(&app, "acme", &acme.id, Some(stranger)).await, 401);
            }
            let own = operation.send(&app, "acme", &acme.id, Some(&provider_of_acme)).await;
            assert!(![401, 403].contains(&own.status), "{}: {own:?}", operation.name);
        } else if !is_on(PUBLIC, &operation.name) && !operation.is_operators() {
            n_others += 1;
            let reply = operation.send(&app, "acme", &acme.id, Some(&provider_of_acme)).await;
            assert_eq!(reply.status, 401, "{}: {reply:?}", operation.name);
        }
    }
    assert!(n_scim >= 20 && n_others >= 20, "{n_scim} {n_others}");
}

#[tokio::test]
async fn another_tenants_resources_are_as_unknown_as_resources_that_are_not() {
    let app = spawn_app(|_| {}).await;
    let (_, _, acme) = provider(&app, "acme").await;
    let (_, _, globex) = provider(&app, "globex").await;
    let user = json!({ "userName": "eve@globex.test" });
    let user = app.post("globex", "/scim/v2/Users").token(&globex).json(&user).await.json();
    let members = json!([{ "value": user["id"] }]);
    let group = json!({ "displayName": "Sales", "members": members });
    let group = app.post("globex", "/scim/v2/Groups").token(&globex).json(&group).await.json();
    let mut n_checked = 0;
    for operation in operations(&document(&app).await) {
        let theirs = match operation.path.as_str() {
            "/scim/v2/Users/{id}" => &user["id"],
            "/scim/v2/Groups/{id}" => &group["id"],
            _ => continue,
        };
        let body = match operation.method.as_str() {
            "PATCH" => json!({ "Operations": [{ "op": "replace", "value": { "displayName": "Mallory" } }] }),
            _ => json!({ "userName": "mallory@acme.test", "displayName": "Mallory" }),
        };
        let mut told = Vec::new();
        for id in [theirs.as_str().unwrap(), &uuid::Uuid::new_v4().to_string(), "nonsense"] {
            let path = operation.path.replace("{id}", id);
            let reply = app.request(operation.method.clone(), "acme", &path).token(&acme).json(&body).await;
            assert_error(&reply, 404);
            told.push(reply.body);
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{}: {told:?}", operation.name);
        n_checked += 1;
    }
    assert_eq!(n_checked, 8);
    let kept = app.get("globex", &format!("/scim/v2/Groups/{}", group["id"].as_str().unwrap())).token(&globex).await;
    assert_eq!((kept.status, &kept.json()["displayName"]), (200, &json!("Sales")), "{kept:?}");
    assert_eq!(kept.json()["members"].as_array().unwrap().len(), 1);
}
