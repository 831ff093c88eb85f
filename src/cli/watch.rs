//! `businessos watch`: the stream of a tenant's usage on a terminal, one line of JSON for each message.

mod access;
mod origin;
mod stream;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::commands::{failed, in_runtime};
use access::Access;
use origin::Origin;
use stream::{Ended, follow};

/// First wait before the client comes back; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The doubling stops here.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What to watch.
#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    /// Subdomain of the tenant.
    #[arg(long)]
    tenant: String,
    /// Where the server is reached: its scheme, host and port.
    #[arg(long, env = "BUSINESSOS_URL", default_value = "http://localhost:3000")]
    url: String,
    /// Sign in as this admin. The password is taken from BUSINESSOS_PASSWORD, else read from standard input (and a code, where the
    /// user has a second factor). Left out: BUSINESSOS_TOKEN is an access token, or an API key with `usage:read`.
    #[arg(long)]
    email: Option<String>,
    /// Number of the last event that was seen: begin with those after it.
    #[arg(long, value_name = "ID")]
    resume_from: Option<u64>,
}

/// Watches until it is interrupted, or until the server says that it is of no use to come back.
pub(super) fn watch(arguments: WatchArguments) -> Result<ExitCode, CliError> {
    in_runtime(async {
        let origin = Origin::parse(&arguments.url, &arguments.tenant)?;
        let mut access = Access::obtain(&origin, arguments.email.as_deref()).await?;
        let mut seen = arguments.resume_from;
        let mut wait = FIRST_WAIT;
        let mut was_connected = false;
        loop {
            let mut n_lines = 0_u64;
            let mut show = |line: &str| {
                n_lines += 1;
                print(line)
            };
            let ended = follow(&origin, &access, &mut seen, &mut show).await;
            if n_lines > 0 {
                (was_connected, wait) = (true, FIRST_WAIT);
            }
            match ended {
                Ended::Unread => return Ok(ExitCode::SUCCESS),
                Ended::Refused(why) => return Err(CliError::Failed(why)),
                Ended::Unauthorized(why) => access.renew(&origin, &why).await?,
                Ended::Lost(why) if !was_connected => return Err(CliError::Failed(why)),
                Ended::Later(why) | Ended::Lost(why) => complain(&why, wait),
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    })
}

/// Prints a line; false if nobody reads it.
fn print(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

#[expect(clippy::print_stderr, reason = "the command line talks to people")]
fn complain(why: &str, wait: Duration) {
    eprintln!("businessos: {why}; trying again in up to {} s", wait.as_secs().max(1));
}

/// Half of the time to all of it, so that many clients do not come back together.
fn jittered(wait: Duration) -> Duration {
    let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
    let permille = 500 + u32::try_from(chance % 500).unwrap_or(0);
    wait * permille / 1_000
}

/// A failure of what lies below.
fn broken(error: impl std::error::Error) -> CliError {
    failed(error)
}
