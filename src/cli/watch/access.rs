//! How the client proves who it is: a token that it was given, or a sign-in of its own.

use std::io::{BufRead as _, Write as _};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::broken;
use super::origin::Origin;
use crate::cli::CliError;

/// The credential.
#[derive(Debug)]
pub(super) enum Access {
    /// An access token or API key from the environment.
    Given(SecretString),
    /// Tokens of a session.
    Session {
        /// For the stream.
        access: SecretString,
        /// For the next access token.
        refresh: SecretString,
    },
}

impl Access {
    /// Signs in, or takes the token of the environment.
    pub(super) async fn obtain(origin: &Origin, email: Option<&str>) -> Result<Self, CliError> {
        let Some(email) = email else {
            let given = std::env::var("BUSINESSOS_TOKEN").ok().filter(|token| !token.is_empty());
            let why = "set BUSINESSOS_TOKEN to an access token or API key, or sign in with --email";
            return given.map(|token| Self::Given(token.into())).ok_or_else(|| CliError::Failed(why.to_owned()));
        };
        let password = secret("BUSINESSOS_PASSWORD", "password")?;
        let body = json!({ "email": email, "password": password.expose_secret() });
        let answer = post(origin, "/auth/login", &body).await?;
        if answer.get("mfa_required").is_none_or(|required| *required != Value::Bool(true)) {
            return Self::session(&answer);
        }
        let code = secret("BUSINESSOS_MFA_CODE", "code of the second factor")?;
        let body = json!({ "mfa_token": answer.get("mfa_token"), "code": code.expose_secret() });
        Self::session(&post(origin, "/auth/mfa/verify", &body).await?)
    }

    /// Fetches a new access token after the old one was refused.
    pub(super) async fn renew(&mut self, origin: &Origin, why: &str) -> Result<(), CliError> {
        *self = match self {
            Self::Given(_) => return Err(CliError::Failed(why.to_owned())),
            Self::Session { refresh, .. } => {
                let body = json!({ "refresh_token": refresh.expose_secret() });
                Self::session(&post(origin, "/auth/refresh", &body).await?)?
            }
        };
        Ok(())
    }

    /// The token for the stream.
    pub(super) fn token(&self) -> &str {
        match self {
            Self::Given(token) | Self::Session { access: token, .. } => token.expose_secret(),
        }
    }

    fn session(answer: &Value) -> Result<Self, CliError> {
        let token = |name| answer.get(name).and_then(Value::as_str).map(SecretString::from);
        match (token("access_token"), token("refresh_token")) {
            (Some(access), Some(refresh)) => Ok(Self::Session { access, refresh }),
            _ => Err(CliError::Failed("the server answered without tokens".to_owned())),
        }
    }
}

/// Posts; a refusal is the error.
async fn post(origin: &Origin, path: &str, body: &Value) -> Result<Value, CliError> {
    let (status, answer) = origin.post(path, body).await?;
    if status == 200 {
        return Ok(answer);
    }
    let text = |name| answer.get(name).and_then(Value::as_str).unwrap_or("no reason given");
    Err(CliError::Failed(format!("{path}: {status} {}: {}", text("code"), text("detail"))))
}

/// A secret of the environment, else a line of standard input.
fn secret(variable: &str, what: &str) -> Result<SecretString, CliError> {
    if let Some(secret) = std::env::var(variable).ok().filter(|secret| !secret.is_empty()) {
        return Ok(secret.into());
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{what}: ").and_then(|()| out.flush()).map_err(broken)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(broken)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(CliError::Failed(format!("no {what}: set {variable} or type it")));
    }
    Ok(line.to_owned().into())
}
