//! The world of one test: a server, a tenant, and its identity provider.

use businessos::config::Settings;
use businessos::db::embedded::SUPERUSER;
use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{App, Reply, Request, Session, Tenant, spawn_app};

pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub const UNKNOWN: &str = "0192d0a0-0000-7000-8000-000000000000";

/// A tenant's identity provider.
pub struct World {
    pub app: App,
    pub tenant: Tenant,
    /// The owner, who has shown two factors.
    pub owner: Session,
    /// The provider's token.
    pub token: String,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(tweak: impl FnOnce(&mut Settings)) -> Self {
        let app = spawn_app(tweak).await;
        let (tenant, owner) = app.tenant_with_owner("acme").await;
        let owner = app.stepped_up("acme", &owner).await;
        let (_, token) = make_token(&app, "acme", &owner).await;
        Self { app, tenant, owner, token }
    }

    /// A request of the provider's.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.app.request(method, "acme", &format!("/scim/v2{path}")).bearer(&self.token)
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, body).await
    }

    /// Sends operations.
    pub async fn patch(&self, path: &str, operations: Value) -> Reply {
        self.send(Method::PATCH, path, &json!({ "schemas": [PATCH], "Operations": operations })).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self.request(method, path).header("content-type", "application/scim+json");
        request.body(body.to_string()).await
    }

    /// Makes a user of a name that is an address; returns the resource.
    pub async fn user(&self, user_name: &str) -> Value {
        let reply = self.post("/Users", &json!({ "userName": user_name })).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()
    }

    /// Makes a group of these users; returns its id.
    pub async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let reply = self.post("/Groups", &json!({ "displayName": name, "members": members })).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        id(&reply.json())
    }

    /// Has the provider take over somebody who is a user already; returns their id.
    pub async fn adopt(&self, email: &str) -> String {
        let made = self.user(email).await;
        let audited = format!(
            "SELECT count(*) FROM platform.audit_log WHERE action = 'scim.user.adopt' AND target_id = '{}'",
            id(&made)
        );
        assert_eq!(self.app.count(&audited).await, 1, "{email} was no user before");
        id(&made)
    }

    /// Has a group give a role.
    pub async fn map(&self, group: &str, role: Value) -> Reply {
        self.app
            .put("acme", &format!("/scim/groups/{group}/role"))
            .token(&self.owner)
            .json(&json!({ "role": role }))
            .await
    }

    /// Ids of a group's members.
    pub async fn members(&self, group: &str) -> Vec<String> {
        let reply = self.get(&format!("/Groups/{group}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let members = reply.json()["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    }

    /// Names of the users that a question finds, in order.
    pub async fn find(&self, query: &str) -> Vec<String> {
        let reply = self.get(&format!("/Users?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
        names(&reply.json())
    }

    /// A text from the database.
    pub async fn text(&self, sql: &str) -> String {
        let mut conn = self.app.db.connect(SUPERUSER).await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap()
    }

    /// How many rows of the audit log tell of this.
    pub async fn audited(&self, action: &str, target: &str) -> i64 {
        let sql = format!(
            "SELECT count(*) FROM platform.audit_log WHERE action = '{action}' AND target_id = '{target}' AND actor_kind = 'scim'"
        );
        self.app.count(&sql).await
    }
}

/// Makes a token; returns its id and text.
pub async fn make_token(app: &App, slug: &str, admin: &Session) -> (String, String) {
    let reply = app.post(slug, "/scim/tokens").token(admin).json(&json!({ "name": "Entra" })).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let field = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
    (field("id"), field("secret"))
}

pub fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

/// `userName`s of a page, in order.
pub fn names(page: &Value) -> Vec<String> {
    let resources = page["Resources"].as_array().unwrap();
    resources.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
}

/// Checks that an answer is an error in SCIM's shape (RFC 7644 §3.12).
#[track_caller]
pub fn assert_error(reply: &Reply, status: u16, scim_type: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/scim+json", "{reply:?}");
    let body = reply.json();
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{reply:?}");
    assert_eq!(body["status"], status.to_string(), "{reply:?}");
    assert_eq!(body["scimType"].as_str().unwrap_or_default(), scim_type, "{reply:?}");
    assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{reply:?}");
}
