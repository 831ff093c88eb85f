//! The command line.

mod audit;
mod commands;
mod secret;
mod totp;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, ConfigError};

/// Exit code for a bad configuration (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// API gateway, sign-in, tenants and billing of a B2B SaaS.
#[derive(Debug, Parser)]
#[command(name = "businessos", version, about)]
pub struct Arguments {
    /// Configuration file; `config.toml` of the working directory if left out.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    Serve,
    /// Bring roles and schema of the database to where they must be.
    Migrate,
    /// Check that row-level security keeps tenants apart: the catalogue, then every table with two made-up tenants.
    RlsCheck {
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// The configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Operators of the platform.
    Operator {
        #[command(subcommand)]
        command: OperatorCommand,
    },
    /// The tenants' audit trails.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Secrets that the platform uses on a tenant's behalf, such as its key for an AI provider.
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Print the database URL for a role of `database.service_roles`.
    DbUrl {
        /// The role.
        role: String,
    },
    /// Print the code that an authenticator app would show, for scripts and for trying things out.
    Totp {
        /// The secret that `POST /auth/mfa/totp` answered with.
        secret: String,
        /// Wait for the next code (at most 30 seconds): each works once.
        #[arg(long)]
        next: bool,
    },
    /// Watch the usage of a tenant as it happens: prints each message of the stream as a line of JSON, comes back after a lost
    /// connection and misses no event. Needs no configuration.
    Watch(watch::WatchArguments),
    /// Ask the running server whether it is ready; for container health checks.
    Healthcheck,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with the configuration, and where.
    Check,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every row, tree and signature; exit code 1 if a row was changed, removed, added later or moved.
    Verify {
        /// Subdomain of one tenant; all tenants if left out.
        #[arg(long)]
        tenant: Option<String>,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Store one, read from standard input, in place of one of that name. It never comes back out.
    Put {
        /// Subdomain of the tenant.
        tenant: String,
        /// Name of the secret, such as `openai`.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    /// Make an operator, and print a password for them.
    Create {
        /// E-mail address.
        #[arg(long)]
        email: String,
        /// Password; one is made up if left out.
        #[arg(long, env = "BUSINESSOS_OPERATOR_PASSWORD", hide_env_values = true)]
        password: Option<String>,
    },
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Everything else, with what caused it.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// An error with all its causes in one line.
    fn failed(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::Failed(text)
    }
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            match error {
                CliError::Config(_) => ExitCode::from(EXIT_CONFIG),
                CliError::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the command line talks to people")]
fn complain(error: &CliError) {
    eprintln!("businessos: {error}");
}

fn execute(arguments: Arguments) -> Result<ExitCode, CliError> {
    let Arguments { config: file, command } = arguments;
    // Read by the commands that need one.
    let settings = || config::load(file.as_deref());
    match command.unwrap_or(Command::Serve) {
        Command::Serve => commands::serve(settings()?, file.clone()),
        Command::Migrate => commands::migrate(&settings()?),
        Command::RlsCheck { json } => commands::rls_check(&settings()?, json),
        Command::Config { command: ConfigCommand::Check } => commands::config_check(&settings()?),
        Command::Operator { command: OperatorCommand::Create { email, password } } => {
            commands::create_operator(&settings()?, &email, password)
        }
        Command::Secret { command: SecretCommand::Put { tenant, name } } => secret::put(&settings()?, &tenant, &name),
        Command::Audit { command: AuditCommand::Verify { tenant, json } } => {
            audit::verify_trails(&settings()?, tenant.as_deref(), json)
        }
        Command::DbUrl { role } => commands::db_url(&settings()?, &role),
        Command::Healthcheck => commands::healthcheck(&settings()?),
        Command::Openapi => commands::openapi(),
        Command::Watch(arguments) => watch::watch(arguments),
        Command::Totp { secret, next } => totp::totp(&secret, next),
    }
}
