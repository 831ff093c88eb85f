//! Groups and their members.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::helpers::until;
use crate::support::TestDatabase;
use crate::world::{UNKNOWN, World, assert_error, id};

/// What the database logs of the server under test.
struct StatementLog {
    path: std::path::PathBuf,
    marker: String,
}

impl StatementLog {
    /// Has the database log every statement of the connections that are opened from now on.
    async fn start(world: &World) -> Self {
        let directory = world.text("SELECT current_setting('data_directory')").await;
        let database = world.app.db.name();
        world
            .app
            .db
            .as_admin(&format!(
            "ALTER DATABASE {database} SET log_statement = 'all';
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND usename = 'app_rw'"
        ))
            .await;
        let path = std::path::Path::new(&directory).parent().unwrap().join("log");
        Self { path, marker: format!("app_rw@{database} ") }
    }

    /// Statements of each transaction that wrote to the audit log, without those that begin and end it.
    fn audited_transactions(&self) -> Vec<Vec<String>> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.path).unwrap()).into_owned();
        let mut open: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut ended = Vec::new();
        for line in text.lines().filter(|line| line.contains(&self.marker)) {
            let process = line.split('[').nth(1).unwrap().split(']').next().unwrap();
            let sent = line.split_once("LOG:  execute ").or_else(|| line.split_once("LOG:  statement: "));
            match sent.map(|(_, sent)| sent) {
                Some(sent) if sent.starts_with("BEGIN") => drop(open.insert(process, Vec::new())),
                Some("COMMIT" | "ROLLBACK") => ended.extend(open.remove(process)),
                Some(sent) => open.entry(process).or_default().push(sent.to_owned()),
                None => {}
            }
        }
        ended.retain(|statements| statements.iter().any(|sent| sent.contains("INSERT INTO platform.audit_log")));
        ended
    }
}

/// Many users that the provider keeps; their ids.
async fn many(db: &TestDatabase, world: &World, n: usize) -> Vec<String> {
    db.as_admin(&format!(
        "INSERT INTO auth.users (tenant_id, id, email, email_norm, role)
         SELECT '{tenant}', ('0192d0a0-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid, n || '@acme.test', n || '@acme.test', 'member'
         FROM generate_series(1, {n}) n;
         INSERT INTO auth.scim_users (tenant_id, user_id, user_name, user_name_norm, attributes)
         SELECT tenant_id, id, email, email_norm, '{{}}' FROM auth.users WHERE tenant_id = '{tenant}' AND email ~ '^[0-9]'",
        tenant = world.tenant.id
    )).await;
    (1..=n).map(|n| format!("0192d0a0-0000-7000-9000-{n:012}")).collect()
}

fn add(ids: &[String]) -> Value {
    let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id, "$ref": null })).collect();
    json!([{ "op": "Add", "path": "members", "value": members }])
}

#[tokio::test]
async fn two_hundred_and_fifty_six_members_come_and_go_in_five_statements() {
    let world = World::new().await;
    let ids = many(&world.app.db, &world, 256).await;
    let group = world.group("Engineers", &[]).await;
    let path = format!("/Groups/{group}");
    let mapped = world.map(&group, json!("billing")).await;
    assert_eq!(mapped.status, 200, "{mapped:?}");
    let log = StatementLog::start(&world).await;
    for (operations, n_members) in [
        (add(&ids), 256),
        (json!([{ "op": "Remove", "path": "members", "value": add(&ids[..200])[0]["value"] }]), 56),
        (json!([{ "op": "replace", "path": "members", "value": add(&ids)[0]["value"] }]), 256),
        (json!([{ "op": "remove", "path": "members" }]), 0),
    ] {
        let before = log.audited_transactions().len();
        let reply = world.patch(&path, operations).await;
        assert_eq!(reply.status, 204, "{reply:?}");
        let count =
            format!("SELECT count(*) FROM auth.users WHERE role = 'billing' AND tenant_id = '{}'", world.tenant.id);
        assert_eq!(world.app.count(&count).await, n_members, "roles follow");
        // The end of a transaction is logged before its answer, so all of it is there.
        let transactions = log.audited_transactions();
        assert_eq!(transactions.len(), before + 1);
        let sent = transactions.last().unwrap();
        assert!((4..=5).contains(&sent.len()), "{}: {sent:#?}", sent.len());
    }
}

#[tokio::test]
async fn members_are_added_and_removed_in_every_dialect() {
    let world = World::new().await;
    let (ann, bob) = (id(&world.user("ann@acme.test").await), id(&world.user("bob@acme.test").await));
    let cleo = id(&world.user("cleo@acme.test").await);
    let group = world.group("Sales", &[&ann]).await;
    let path = format!("/Groups/{group}");
    let patched = async |operations: Value, expected: &[&String]| {
        let reply = world.patch(&path, operations.clone()).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{reply:?}");
        let mut expected: Vec<String> = expected.iter().map(|id| (*id).clone()).collect();
        expected.sort_unstable();
        assert_eq!(world.members(&group).await, expected, "{operations}");
    };
    patched(json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": bob }] }]), &[&ann, &bob])
        .await;
    patched(json!([{ "op": "add", "path": "members", "value": [{ "value": bob }] }]), &[&ann, &bob]).await;
    patched(json!([{ "op": "add", "value": { "members": { "value": cleo, "type": "User" } } }]), &[&ann, &bob, &cleo])
        .await;
    patched(json!([{ "op": "Remove", "path": "members", "value": [{ "value": bob }] }]), &[&ann, &cleo]).await;
    patched(json!([{ "op": "remove", "path": format!("members[value eq \"{cleo}\"]") }]), &[&ann]).await;
    patched(json!([{ "op": "remove", "path": format!("members[value eq \"{cleo}\"]") }]), &[&ann]).await;
    patched(
        json!([{ "op": "replace", "path": "members", "value": [{ "value": bob }, { "value": cleo }] }]),
        &[&bob, &cleo],
    )
    .await;
    patched(json!([{ "op": "remove", "path": format!("members[value eq \"{bob}\" or value eq \"{cleo}\"]") }]), &[])
        .await;
    patched(
        json!([{ "op": "replace", "value": { "id": group, "displayName": "Selling", "members": [{ "value": ann }] } }]),
        &[&ann],
    )
    .await;
    assert_eq!(world.get(&path).await.json()["displayName"], "Selling");
    patched(json!([{ "op": "remove", "path": "members" }]), &[]).await;
    let put =
        world.put(&path, &json!({ "displayName": "Sales", "externalId": "g1", "members": [{ "value": bob }] })).await;
    assert_eq!((put.status, put.json()["members"][0]["value"].as_str()), (200, Some(bob.as_str())), "{put:?}");
    let put = world.put(&path, &json!({ "displayName": "Sales" })).await.json();
    assert_eq!((&put["members"], &put["externalId"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_unknown_member_undoes_all() {
    let world = World::new().await;
    let ann = id(&world.user("ann@acme.test").await);
    let unmanaged = world.text("SELECT id::text FROM auth.users WHERE email = 'owner@acme.test'").await;
    let group = world.group("Sales", &[]).await;
    for stranger in [UNKNOWN, "nonsense", &unmanaged] {
        let members = json!([{ "value": ann }, { "value": stranger }]);
        let operations = json!([
            { "op": "replace", "path": "displayName", "value": "Other" }, { "op": "add", "path": "members", "value": members },
        ]);
        assert_error(&world.patch(&format!("/Groups/{group}"), operations).await, 400, "invalidValue");
        assert_error(
            &world.post("/Groups", &json!({ "displayName": "New", "members": members })).await,
            400,
            "invalidValue",
        );
    }
    let kept = world.get("/Groups").await.json();
    assert_eq!((&kept["totalResults"], &kept["Resources"][0]["displayName"]), (&json!(1), &json!("Sales")));
    assert_eq!(world.members(&group).await, Vec::<String>::new());
    let nested = json!([{ "op": "add", "path": "members", "value": [{ "value": group, "type": "Group" }] }]);
    assert_error(&world.patch(&format!("/Groups/{group}"), nested).await, 400, "invalidValue");
    let changed = json!([{ "op": "replace", "path": format!("members[value eq \"{ann}\"].type"), "value": "User" }]);
    assert_error(&world.patch(&format!("/Groups/{group}"), changed).await, 400, "mutability");
    let crowd: Vec<Value> = (0..5_001).map(|_| json!({ "value": uuid::Uuid::new_v4() })).collect();
    assert_error(
        &world.post("/Groups", &json!({ "displayName": "Crowd", "members": crowd })).await,
        400,
        "invalidValue",
    );
}

#[tokio::test]
async fn groups_are_found_by_name_id_and_member() {
    let world = World::new().await;
    let (ann, bob) = (id(&world.user("ann@acme.test").await), id(&world.user("bob@acme.test").await));
    let sales = world.group("Sales", &[&ann, &bob]).await;
    world.group("Engineers", &[&bob]).await;
    let find = async |filter: &str| {
        let filter = filter.replace(' ', "%20").replace('"', "%22").replace('[', "%5B").replace(']', "%5D");
        let page = world.get(&format!("/Groups?filter={filter}")).await.json();
        let names =
            page["Resources"].as_array().unwrap().iter().map(|group| group["displayName"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(find("displayName eq \"SALES\"").await, ["Sales"]);
    assert_eq!(find(&format!("members eq \"{ann}\"")).await, ["Sales"]);
    assert_eq!(find(&format!("members[value eq \"{bob}\"]")).await, ["Sales", "Engineers"]);
    assert_eq!(find(&format!("id eq \"{sales}\" and members.value eq \"{ann}\"")).await, ["Sales"]);
    assert_eq!(find("displayName sw \"eng\" or displayName ew \"les\"").await, ["Sales", "Engineers"]);
    let bare = world.get("/Groups?excludedAttributes=members&sortBy=displayName").await.json();
    assert_eq!(
        (&bare["Resources"][0]["displayName"], &bare["Resources"][0]["members"]),
        (&json!("Engineers"), &Value::Null)
    );
    let sorted = world.get("/Groups?sortBy=displayName&sortOrder=descending&startIndex=2&count=1").await.json();
    assert_eq!(
        (&sorted["totalResults"], &sorted["Resources"][0]["members"][0]["value"]),
        (&json!(2), &json!(bob)),
        "a page of an order has its members: {sorted}"
    );
    let user = world.get(&format!("/Users/{bob}")).await.json();
    let displays: Vec<_> = user["groups"].as_array().unwrap().iter().map(|group| group["display"].clone()).collect();
    assert_eq!(displays, [json!("Sales"), json!("Engineers")]);
    assert_eq!(world.find("filter=groups.display%20eq%20%22Engineers%22").await, ["bob@acme.test"]);
    assert_error(&world.post("/Groups", &json!({ "displayName": "sales" })).await, 409, "uniqueness");
}

#[tokio::test]
async fn entra_makes_groups_with_a_schema_of_its_own() {
    let world = World::new().await;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "Sales", "meta": { "resourceType": "Group" },
    });
    let reply = world.post("/Groups", &body).await;
    assert_eq!((reply.status, &reply.json()["externalId"]), (201, &body["externalId"]), "{reply:?}");
}

#[tokio::test]
async fn versions_of_groups_change_with_their_members() {
    let world = World::new().await;
    let ann = id(&world.user("ann@acme.test").await);
    let group = world.group("Sales", &[&ann]).await;
    let path = format!("/Groups/{group}");
    let version = async || world.get(&path).await.header("etag").to_owned();
    let first = version().await;
    let idle = world.patch(&path, json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }])).await;
    assert_eq!((idle.status, idle.header("etag")), (204, first.as_str()), "nothing changed");
    assert_eq!(world.delete(&format!("/Users/{ann}")).await.status, 204);
    let second = version().await;
    assert_ne!(first, second, "a member is gone");
    assert_eq!(world.members(&group).await, Vec::<String>::new());
    let stale = world.request(reqwest::Method::DELETE, &path).header("if-match", &first).await;
    assert_error(&stale, 412, "");
    assert_eq!(world.request(reqwest::Method::DELETE, &path).header("if-match", &second).await.status, 204);
    until("the group is gone", async || world.get(&path).await.status == 404).await;
}
