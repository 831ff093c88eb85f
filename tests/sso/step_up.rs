//! Stepping up at the provider: by the same person, asked again, with a second factor that counts.

use serde_json::{Value, json};

use crate::browser::{Browser, location};
use crate::helpers::{Reply, Session};
use crate::liar::Liar;
use crate::world::World;

struct Stage {
    world: World,
    liar: Liar,
    connection: String,
    session: Session,
}

impl Stage {
    async fn new(trusts: bool) -> Self {
        let world = World::new().await;
        let (liar, connection) = world.with_liar().await;
        let change = json!({"trust_mfa": trusts, "oidc": {"mfa_acr_values": ["urn:mfa"]}});
        assert_eq!(world.change(&connection, change).await.status, 200);
        let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
        Self { world, liar, connection, session }
    }

    /// The walk with claims that were changed, redeemed by the session that began.
    async fn step_up(&self, change: impl FnOnce(&mut Value)) -> Result<Reply, String> {
        let mut browser = Browser::new();
        let body = json!({ "connection": self.connection });
        let reply = self.world.app.post("acme", "/auth/sso/step-up").token(&self.session).json(&body).await;
        let start = reply.json()["start_url"].as_str().unwrap().to_owned();
        let there = location(&start, &browser.get(&start).await);
        let mut claims = self.liar.claims(&there, "ann", "ann@acme.test");
        claims["acr"] = json!("urn:mfa");
        change(&mut claims);
        let code = self.world.come_back(&mut browser, &self.liar.admit(&there, &claims)).await?;
        let cookie = format!("bos_sso={}", browser.cookie("acme.localhost", "bos_sso").unwrap());
        let request = self.world.app.post("acme", "/auth/sso/token").header("cookie", &cookie).token(&self.session);
        Ok(request.json(&json!({ "code": code })).await)
    }
}

#[tokio::test]
async fn a_fresh_second_factor_at_the_provider_makes_the_session_stronger() {
    let stage = Stage::new(true).await;
    let tokens = stage.step_up(|_| {}).await.expect("a code");
    let stronger = Session::of(&tokens);
    let me = stage.world.app.get("acme", "/auth/me").token(&stronger).await.json();
    assert_eq!(me["acr"], "aal2");
    // The refresh token of before is worth nothing.
    assert_eq!(stage.world.app.refresh("acme", &stage.session.refresh).await.status, 401);
}

#[tokio::test]
async fn what_is_not_fresh_not_strong_or_not_the_same_person_is_no_step_up() {
    let stage = Stage::new(true).await;
    let failed = Some("sso-step-up-failed".to_owned());
    let now = businessos::clock::now_s();
    assert_eq!(stage.step_up(|claims| claims["auth_time"] = json!(now - 120)).await.err(), failed, "an old sign-in");
    let without = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("auth_time"));
    assert_eq!(stage.step_up(without).await.err(), failed, "no time");
    assert_eq!(stage.step_up(|claims| claims["acr"] = json!("urn:other")).await.err(), failed, "one factor");
    assert_eq!(stage.step_up(|claims| claims["sub"] = json!("bob")).await.err(), failed, "another person");
    let me = stage.world.app.get("acme", "/auth/me").token(&stage.session).await.json();
    assert_eq!(me["acr"], "aal1");
}

#[tokio::test]
async fn a_provider_that_is_not_trusted_with_it_steps_nobody_up() {
    let stage = Stage::new(false).await;
    assert_eq!(stage.step_up(|_| {}).await.err(), Some("sso-step-up-failed".to_owned()));
}
