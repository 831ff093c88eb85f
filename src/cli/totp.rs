//! `businessos totp`: an authenticator app for the command line, for demonstrations and scripts.

use std::process::ExitCode;

use super::CliError;
use super::commands::say;
use crate::clock;
use crate::domain::totp::{self, TotpSecret};

/// Prints the code of a secret, or waits and prints the next one, as every code works once.
pub(super) fn totp(secret: &str, next: bool) -> Result<ExitCode, CliError> {
    let secret = TotpSecret::from_base32(secret)
        .ok_or_else(|| CliError::Failed("the secret is not one that POST /auth/mfa/totp answered with".to_owned()))?;
    if next {
        std::thread::sleep(totp::until_next_step(clock::now_s()));
    }
    say(&secret.code(clock::now_s()));
    Ok(ExitCode::SUCCESS)
}
