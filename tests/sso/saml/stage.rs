//! A tenant with a connection of SAML, and the walk of a browser through it.

use serde_json::{Value, json};

use super::signer::{Left, Signer};
use crate::browser::{Browser, location, parameter};
use crate::helpers::{Reply, Session, until};
use crate::world::World;

/// A world with a provider whose people have addresses of the tenant's own domain, and whose strangers become users.
pub struct Stage {
    pub world: World,
    pub idp: Signer,
    pub id: String,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// `saml` is laid over the request's part for SAML.
    pub async fn with(saml: Value) -> Self {
        let world = World::new().await;
        let idp = Signer::start();
        world.prove(&world.tenant, "acme.test").await;
        let body = json!({"jit": true, "domains": ["acme.test"]});
        let made = connect(&world, &idp, body, saml).await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().unwrap().to_owned();
        Self { world, idp, id }
    }

    pub fn entity_id(&self) -> String {
        self.world.url("acme", &format!("/auth/sso/{}/metadata", self.id))
    }

    /// Sends a browser off; returns what it left with.
    pub async fn leave(&self, browser: &mut Browser) -> Left {
        self.leave_with(browser, "").await
    }

    pub async fn leave_with(&self, browser: &mut Browser, query: &str) -> Left {
        self.idp.read(&self.world.leave_with(browser, &self.id, query).await)
    }

    pub fn answer(&self, to: &Left, change: Value) -> String {
        self.idp.answer(Some(to), &self.entity_id(), change)
    }

    /// The provider's page posts a response.
    pub async fn post(&self, browser: &mut Browser, response: &str, relay_state: &str) -> Reply {
        let form = [("SAMLResponse", response), ("RelayState", relay_state)];
        browser.submit_from_elsewhere(&self.world.redirect_uri(), &form).await
    }

    /// The same, and the way on: the code, or the error that the client is told.
    pub async fn come_back(&self, browser: &mut Browser, response: &str, relay_state: &str) -> Result<String, String> {
        let reply = self.post(browser, response, relay_state).await;
        if reply.status != 303 {
            return Err(reply.json()["code"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned());
        }
        let link = location(&self.world.redirect_uri(), &reply);
        self.world.come_back(browser, &link).await
    }

    /// The walk up to the answer for the client, with a response that was changed.
    pub async fn try_sign_in(&self, change: Value) -> Result<String, String> {
        let mut browser = Browser::new();
        let left = self.leave(&mut browser).await;
        self.come_back(&mut browser, &self.answer(&left, change), &left.relay_state).await
    }

    /// The whole walk.
    pub async fn sign_in(&self, change: Value) -> Session {
        let mut browser = Browser::new();
        let left = self.leave(&mut browser).await;
        let response = self.answer(&left, change);
        let code = self.come_back(&mut browser, &response, &left.relay_state).await.expect("a code");
        Session::of(&self.world.redeem(&mut browser, &code).await)
    }

    pub async fn change(&self, body: Value) {
        let reply = self.world.change(&self.id, body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    pub async fn shown(&self) -> Value {
        self.world.app.get("acme", &format!("/sso/connections/{}", self.id)).token(&self.world.owner).await.json()
    }

    pub async fn act(&self, path: &str) -> Reply {
        self.world.app.post("acme", &format!("/sso/connections/{}/{path}", self.id)).token(&self.world.owner).await
    }

    /// Runs a job now, to its end.
    pub async fn run_job(&self, name: &str) {
        let app = &self.world.app;
        let operator = app.operator().await;
        let path = format!("/operator/jobs/{name}/run");
        until("the job is run", async || app.post("platform", &path).token(&operator).await.status == 202).await;
        let sql = format!("SELECT count(*) FROM platform.job_runs WHERE job = '{name}' AND outcome = 'running'");
        until("it is done", async || app.count(&sql).await == 0).await;
    }

    /// Why the last sign-in failed, as admins read it.
    pub async fn reason(&self) -> String {
        self.world.reason().await
    }
}

/// Connects a provider by its metadata, pasted.
pub async fn connect(world: &World, idp: &Signer, body: Value, saml: Value) -> Reply {
    let mut settings = json!({ "metadata_xml": idp.metadata(&[&idp.pair]) });
    for (name, value) in saml.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut request = json!({"name": format!("idp {}", uuid::Uuid::new_v4()), "kind": "saml", "saml": settings});
    for (name, value) in body.as_object().unwrap() {
        request[name] = value.clone();
    }
    world.app.post("acme", "/sso/connections").token(&world.owner).json(&request).await
}

/// The code or error of a URL that a client reads.
pub fn told(onward: &str) -> Result<String, String> {
    match (parameter(onward, "code"), parameter(onward, "error")) {
        (Some(code), None) => Ok(code),
        (None, Some(error)) => Err(error),
        _ => panic!("neither a code nor an error: {onward}"),
    }
}
