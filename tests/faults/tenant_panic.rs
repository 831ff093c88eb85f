//! A tenant's supervisor panics under load.

use std::time::Duration;

use serde_json::json;

use super::load::Load;
use super::wire::Call;
use super::world::{PASSWORD, World, wait_until};

#[test]
fn a_panic_in_a_tenants_supervisor_fails_no_request_and_it_comes_back() {
    let world = World::new();
    let server = world.start();
    let mut command = world.command(&server.config, &["operator", "create", "--email", "root@platform.test"]);
    let made = command.env("BUSINESSOS_OPERATOR_PASSWORD", PASSWORD).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let body = json!({ "email": "root@platform.test", "password": PASSWORD });
    let answer = server.call(&Call::post("platform.localhost", "/auth/login", &body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let operator = answer.json()["access_token"].as_str().unwrap().to_owned();

    let tenants = [server.onboard("acme"), server.onboard("neighbour")];
    let tokens = [server.login("acme").access, server.login("neighbour").access];
    let mut calls = Vec::new();
    for (tenant, token) in tenants.iter().zip(&tokens) {
        for path in ["/crm/fast", "/auth/validate", "/auth/me"] {
            calls.push(Call::get(&tenant.host(), path).bearer(token));
        }
    }
    let load = Load::start(server.public, calls, Duration::ZERO);
    load.wait_for(100);
    let deaths = || server.metric("actor_deaths_total", "\"tenant\"");
    let rebuild = Call::post("platform.localhost", &format!("/operator/tenants/{}/rebuild", tenants[0].id), &json!({}));
    let rebuild = rebuild.bearer(&operator);
    for n in 1..=3 {
        // 503 while the one before is still being rebuilt.
        wait_until("the supervisor takes the message", || (server.call(&rebuild).status == 202).then_some(()));
        wait_until("it has died", || (deaths() >= f64::from(n)).then_some(()));
        load.wait_for(100);
    }

    // A change reaches the view only through a living supervisor.
    let path = format!("/tenants/{}/config", tenants[0].id);
    let read = server.call(&Call::get(&tenants[0].host(), &path).bearer(&tokens[0]));
    let limits = json!({ "limits": { "requests_per_minute": 50_000_007 } });
    let mut put = Call::post(&tenants[0].host(), &path, &limits).bearer(&tokens[0]);
    put.method = "PUT";
    let put = put.header("if-match", read.header("etag").unwrap());
    assert_eq!(server.call(&put).status, 200);
    let get = Call::get(&tenants[0].host(), "/crm/fast").bearer(&tokens[0]);
    wait_until("the view is new", || (server.call(&get).header("x-ratelimit-limit") == Some("50000007")).then_some(()));
    let outcomes = load.finish();
    eprintln!("{} × 200, longest {:?}", outcomes.n(200), outcomes.longest());
    assert_eq!(outcomes.others(&[200]), Vec::<String>::new());
    assert_eq!(outcomes.refused(), 0);
}
