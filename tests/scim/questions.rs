//! Filters, orders, pages, and which attributes are answered.

use serde_json::{Value, json};

use crate::world::{ENTERPRISE, World, assert_error, id, names};

/// Four users; the last one is switched off.
async fn crowd() -> World {
    let world = World::new().await;
    for (name, given, title, department, active) in [
        ("ann@acme.test", "Ann", Some("Engineer"), "R&D", true),
        ("Bob@acme.test", "bob", Some("engineer in chief"), "R&D", true),
        ("cleo@acme.test", "Cleo", None, "Sales", true),
        ("dan@acme.test", "Dan", Some("Director"), "Sales", false),
    ] {
        let body = json!({
            "userName": name, "externalId": given, "title": title, "active": active, "name": { "givenName": given },
            "emails": [
                { "value": name, "type": "work", "primary": true },
                { "value": format!("{given}@home.test"), "type": "home" },
            ],
            ENTERPRISE: { "department": department },
        });
        assert_eq!(world.post("/Users", &body).await.status, 201);
    }
    world
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// First letters of those whom a filter finds.
async fn found(world: &World, filter: &str) -> String {
    let names = world.find(&format!("filter={}", encode(filter))).await;
    names.iter().map(|name| name.chars().next().unwrap().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn every_operator_finds_what_it_should() {
    let world = crowd().await;
    let one = world.find("filter=userName%20eq%20%22ann@acme.test%22").await;
    assert_eq!(one, ["ann@acme.test"]);
    for (filter, expected) in [
        (r#"userName eq "BOB@ACME.TEST""#, "b"),
        (r#"USERNAME EQ "bob@acme.test""#, "b"),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "bob@acme.test""#, "b"),
        (r#"userName eq "nobody@acme.test""#, ""),
        (r#"externalId eq "Ann""#, "a"),
        (r#"externalId eq "ann""#, ""),
        (r#"title co "ENGINEER""#, "ab"),
        (r#"title sw "dir""#, "d"),
        (r#"title ew "chief""#, "b"),
        (r#"title ne "Engineer""#, "bcd"),
        ("title pr", "abd"),
        ("not (title pr)", "c"),
        ("title eq null", "c"),
        (r#"name.givenName gt "bob""#, "cd"),
        (r#"name.givenName ge "bob""#, "bcd"),
        (r#"name.givenName lt "BOB""#, "a"),
        (r#"name.givenName le "bob""#, "ab"),
        ("active eq true", "abc"),
        (r#"active eq "False""#, "d"),
        (r#"emails eq "cleo@home.test""#, "c"),
        (r#"emails.value co "home.test""#, "abcd"),
        (r#"emails[type eq "work"].value eq "x""#, "!"),
        (r#"emails[type eq "work" and value eq "ann@acme.test"]"#, "a"),
        (r#"emails[type eq "home" and value eq "ann@acme.test"]"#, ""),
        (r#"emails[type eq "home" and not (value sw "a")]"#, "bcd"),
        (r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "sales""#, "cd"),
        (r#"userName eq "ann@acme.test" or userName eq "dan@acme.test""#, "ad"),
        (r#"title pr and (active eq false or userName sw "a")"#, "ad"),
        (r#"userName eq "ann@acme.test" and active eq false"#, ""),
        (r#"meta.created gt "2020-01-01T00:00:00Z""#, "abcd"),
        (r#"meta.lastModified lt "2020-01-01T00:00:00Z""#, ""),
        (r#"meta.resourceType eq "User""#, "abcd"),
        ("id pr", "abcd"),
        (r#"id eq "nonsense""#, ""),
        (r#"groups pr"#, ""),
    ] {
        if expected == "!" {
            assert_error(&world.get(&format!("/Users?filter={}", encode(filter))).await, 400, "invalidFilter");
        } else {
            assert_eq!(found(&world, filter).await, expected, "{filter}");
        }
    }
}

#[tokio::test]
async fn what_is_no_filter_is_told_so() {
    let world = crowd().await;
    let deep = format!("{}title pr{}", "not (".repeat(100), ")".repeat(100));
    let many = vec!["title pr"; 400].join(" or ");
    for filter in [
        "userName",
        "userName eq",
        "userName xx \"a\"",
        "nothing eq \"a\"",
        "active gt true",
        "active eq 1",
        "meta.created co \"2020\"",
        "meta.created gt \"yesterday\"",
        "name eq \"a\"",
        "(title pr",
        "userName eq 'a'",
        &deep,
        &many,
    ] {
        assert_error(&world.get(&format!("/Users?filter={}", encode(filter))).await, 400, "invalidFilter");
    }
    let quoted = r#"title eq "\" or true or title eq \"""#;
    assert_eq!(found(&world, quoted).await, "", "a value is a value");
}

#[tokio::test]
async fn pages_begin_at_one_and_are_cut_alike_with_and_without_a_filter() {
    let world = crowd().await;
    for filter in ["", "&filter=id%20pr"] {
        let page = async |query: &str| {
            let page = world.get(&format!("/Users?{query}{filter}")).await.json();
            assert_eq!(page["totalResults"], 4, "{query}");
            assert_eq!(page["itemsPerPage"].as_u64().unwrap() as usize, names(&page).len(), "{query}");
            (page["startIndex"].as_u64().unwrap(), names(&page).len())
        };
        assert_eq!(page("startIndex=1&count=2").await, (1, 2));
        assert_eq!(page("startIndex=3&count=2").await, (3, 2));
        assert_eq!(page("startIndex=4&count=100").await, (4, 1));
        assert_eq!(page("startIndex=0&count=1").await, (1, 1));
        assert_eq!(page("startIndex=-7").await, (1, 4));
        assert_eq!(page("startIndex=99").await, (99, 0));
        assert_eq!(page("count=0").await, (1, 0));
        assert_eq!(page("count=-1").await, (1, 0));
        let first = world.find(&format!("count=2{filter}")).await;
        let second = world.find(&format!("startIndex=3&count=2{filter}")).await;
        assert_eq!([first, second].concat(), ["ann@acme.test", "Bob@acme.test", "cleo@acme.test", "dan@acme.test"]);
    }
    assert_error(&world.get("/Users?startIndex=first").await, 400, "invalidValue");
}

#[tokio::test]
async fn no_page_has_more_than_two_hundred() {
    let world = World::new().await;
    world.app.db.as_admin(&format!(
        "INSERT INTO auth.users (tenant_id, id, email, email_norm, role)
         SELECT '{tenant}', gen_random_uuid(), n || '@acme.test', n || '@acme.test', 'member' FROM generate_series(1, 250) n;
         INSERT INTO auth.scim_users (tenant_id, user_id, user_name, user_name_norm, attributes)
         SELECT tenant_id, id, email, email_norm, '{{}}' FROM auth.users WHERE tenant_id = '{tenant}' AND email ~ '^[0-9]'",
        tenant = world.tenant.id
    )).await;
    for query in ["count=1000", "count=1000&filter=id%20pr", "count=1000&sortBy=userName", ""] {
        let page = world.get(&format!("/Users?{query}")).await.json();
        assert_eq!((&page["totalResults"], names(&page).len()), (&json!(250), 200), "{query}");
    }
    assert_eq!(names(&world.get("/Users?startIndex=201&sortBy=userName").await.json()).len(), 50);
}

#[tokio::test]
async fn an_order_is_kept_and_those_without_a_value_are_last() {
    let world = crowd().await;
    let order = async |query: &str| -> String {
        world.find(query).await.iter().map(|name| name.chars().next().unwrap().to_ascii_lowercase()).collect()
    };
    assert_eq!(order("sortBy=userName").await, "abcd");
    assert_eq!(order("sortBy=userName&sortOrder=descending").await, "dcba");
    assert_eq!(order("sortBy=title").await, "dabc");
    assert_eq!(order("sortBy=title&sortOrder=DESCENDING").await, "cbad");
    assert_eq!(order("sortBy=emails&startIndex=2&count=2").await, "bc");
    assert_eq!(order("sortBy=name.givenName&filter=active%20eq%20true&sortOrder=descending").await, "cba");
    assert_eq!(order("sortBy=meta.created&sortOrder=descending&count=1").await, "d");
    assert_error(&world.get("/Users?sortBy=nothing").await, 400, "invalidValue");
    assert_error(&world.get("/Users?sortBy=name").await, 400, "invalidValue");
    assert_error(&world.get("/Users?sortBy=title&sortOrder=sideways").await, 400, "invalidValue");
}

#[tokio::test]
async fn only_the_wanted_attributes_are_answered() {
    let world = crowd().await;
    let user = world.get("/Users?count=1").await.json()["Resources"][0].clone();
    let one = async |query: &str| world.get(&format!("/Users/{}?{query}", id(&user))).await.json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&one("attributes=userName").await), ["id", "schemas", "userName"]);
    let some = one(&format!("attributes=NAME.givenName,emails.value,{ENTERPRISE}:department")).await;
    assert_eq!(keys(&some), ["emails", "id", "name", "schemas", ENTERPRISE]);
    assert_eq!(some["emails"][0], json!({ "value": "ann@acme.test" }));
    let rest = one("excludedAttributes=emails.type,name,id,title,meta").await;
    assert_eq!(rest["emails"][0], json!({ "value": "ann@acme.test", "primary": true }));
    assert_eq!((&rest["name"], &rest["title"], &rest["meta"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(rest["id"], user["id"], "always there");
    assert_eq!(one(&format!("excludedAttributes={ENTERPRISE}")).await[ENTERPRISE], Value::Null);
    let listed = world.get("/Users?attributes=userName").await.json();
    assert!(listed["Resources"].as_array().unwrap().iter().all(|user| keys(user) == ["id", "schemas", "userName"]));
    let changed = world.request(reqwest::Method::PATCH, &format!("/Users/{}?attributes=title", id(&user)));
    let body = json!({ "Operations": [{ "op": "replace", "path": "title", "value": "Boss" }] });
    assert_eq!(keys(&changed.json(&body).await.json()), ["id", "schemas", "title"]);
}

#[tokio::test]
async fn a_search_is_the_same_question_in_a_body() {
    let world = crowd().await;
    let urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    let body = json!({
        "schemas": [urn], "filter": "title pr", "sortBy": "userName", "sortOrder": "descending", "startIndex": 2,
        "count": 1, "attributes": ["userName"],
    });
    let reply = world.post("/Users/.search", &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let page = reply.json();
    assert_eq!((&page["totalResults"], names(&page)), (&json!(3), vec!["Bob@acme.test".to_owned()]), "{page}");
    assert_error(&world.post("/Users/.search", &json!({ "filter": "nothing pr" })).await, 400, "invalidFilter");
    assert_error(&world.post("/Users/.search", &json!({ "count": "many" })).await, 400, "invalidSyntax");
    world.group("Engineers", &[]).await;
    let all = world.post("/.search", &json!({ "filter": "members pr and userName pr" })).await;
    assert_error(&all, 400, "invalidFilter");
    let all = world.post("/.search", &json!({ "startIndex": 4, "count": 2 })).await.json();
    let kinds: Vec<_> =
        all["Resources"].as_array().unwrap().iter().map(|one| one["meta"]["resourceType"].clone()).collect();
    assert_eq!((&all["totalResults"], kinds), (&json!(5), vec![json!("User"), json!("Group")]));
    let groups = world.post("/.search", &json!({ "filter": "displayName eq \"engineers\"" })).await.json();
    assert_eq!(groups["totalResults"], 1);
}

#[tokio::test]
async fn the_connection_tests_of_providers_succeed() {
    let world = World::new().await;
    let entra = world.get("/Users?filter=userName%20eq%20%22non-existing-7b2f8b0e%22").await;
    assert_eq!((entra.status, &entra.json()["totalResults"]), (200, &json!(0)), "{entra:?}");
    assert_eq!(entra.json()["Resources"], json!([]));
    let okta = world.get("/Users?startIndex=1&count=2").await;
    assert_eq!((okta.status, okta.json()["itemsPerPage"].is_u64()), (200, true), "{okta:?}");
    let groups = world.get("/Groups?excludedAttributes=members&filter=displayName%20eq%20%22Sales%22").await;
    assert_eq!((groups.status, &groups.json()["totalResults"]), (200, &json!(0)), "{groups:?}");
}
