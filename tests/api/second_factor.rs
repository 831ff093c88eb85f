//! An authenticator app, and the walks that need one.

use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::helpers::{App, PASSWORD, Reply, Session};

/// A phone with the user's secret.
#[derive(Debug, Clone)]
pub struct Authenticator {
    secret: String,
}

impl Authenticator {
    pub fn new(enrolment: &Value) -> Self {
        Self { secret: enrolment["secret"].as_str().unwrap().to_owned() }
    }

    /// The code that it shows now.
    pub fn code(&self) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        Builder::new().with_secret(secret).build().unwrap().generate_current().to_string()
    }

    /// A code that it does not show, neither now nor one step around.
    pub fn wrong_code(&self) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        let totp = Builder::new().with_secret(secret).with_skew(2).build().unwrap();
        (0..).map(|n| format!("{n:06}")).find(|code| totp.check_current(code).is_none()).unwrap()
    }
}

impl App {
    pub async fn verify(&self, slug: &str, body: &Value) -> Reply {
        self.post(slug, "/auth/mfa/verify").json(body).await
    }
    /// Has every code work again, as if the next step had come.
    pub async fn let_steps_pass(&self) {
        self.db.as_admin("UPDATE auth.totp_factors SET last_step = 0").await;
    }

    /// Enrols an authenticator app; returns it with the recovery codes.
    pub async fn enrol_totp(&self, slug: &str, session: &Session) -> (Authenticator, Vec<String>) {
        let reply = self.post(slug, "/auth/mfa/totp").token(session).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let authenticator = Authenticator::new(&reply.json());
        let body = json!({ "code": authenticator.code() });
        let reply = self.post(slug, "/auth/mfa/totp/confirm").token(session).json(&body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let codes = reply.json()["recovery_codes"].as_array().unwrap().clone();
        self.let_steps_pass().await;
        (authenticator, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
    }

    /// Signs in by password and is asked for a second factor; returns the sign-in's token and the answer.
    pub async fn challenge(&self, slug: &str, email: &str) -> (String, Value) {
        let reply = self.try_sign_in(slug, email, PASSWORD).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store");
        let body = reply.json();
        assert_eq!(body["mfa_required"], true, "{body}");
        assert!(body.get("access_token").is_none(), "{body}");
        (body["mfa_token"].as_str().unwrap().to_owned(), body)
    }

    /// Strengthens a session by a code.
    pub async fn step_up(&self, slug: &str, session: &Session, code: &str) -> Reply {
        let body = json!({ "purpose": "step_up", "code": code });
        self.post(slug, "/auth/mfa/verify").token(session).json(&body).await
    }
}

/// What an access token says.
pub fn claims(session: &Session) -> Value {
    use base64::Engine as _;
    let payload = session.access.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
