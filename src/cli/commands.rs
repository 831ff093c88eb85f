//! What each command does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use sqlx::ConnectOptions;
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::actors::auth::Hasher;
use crate::actors::onboarding::{FirstUser, insert_user};
use crate::app::{AppError, Application, Database, DatabaseError};
use crate::clients::kms::{MASTER_KEY_VARIABLE, MasterKey, random};
use crate::config::Settings;
use crate::db::rls_check::{self, Options};
use crate::db::{SystemReason, SystemTx, TenantTx, audit, directory};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::{EmailAddress, NewPassword, Role};
use crate::domain::tenant::PLATFORM_SLUG;
use crate::http::openapi;
use crate::telemetry;

/// Longest wait for the admin listener.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn failed(error: impl std::error::Error) -> CliError {
    CliError::failed(&error)
}

/// A mistake in the configuration that only the database knows to be one is still a mistake in the configuration.
fn not_started(error: AppError) -> CliError {
    match error {
        AppError::Database(DatabaseError::Plans(mistakes)) => CliError::Config(mistakes),
        other => failed(other),
    }
}

#[expect(clippy::print_stdout, reason = "the command line talks to people")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

pub(super) fn serve(settings: Settings, file: Option<PathBuf>) -> Result<ExitCode, CliError> {
    telemetry::init(&settings.log).map_err(failed)?;
    actix_web::rt::System::new().block_on(async move {
        let starting = CancellationToken::new();
        let application = Application::start(settings, file, &starting).await.map_err(not_started)?;
        application.run_until_stopped().await.map_err(failed)?;
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn config_check(_valid: &Settings) -> Result<ExitCode, CliError> {
    say("the configuration is valid");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn openapi() -> Result<ExitCode, CliError> {
    say(&openapi::json());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn migrate(settings: &Settings) -> Result<ExitCode, CliError> {
    telemetry::init(&settings.log).map_err(failed)?;
    in_runtime(async {
        let database = Database::beside(settings).map_err(failed)?;
        database.migrate(settings, &master_key(settings)?).await.map_err(failed)?;
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn rls_check(settings: &Settings, as_json: bool) -> Result<ExitCode, CliError> {
    in_runtime(async {
        let database = Database::beside(settings).map_err(failed)?;
        let mut connection = database.admin().connect().await.map_err(failed)?;
        let options = Options::new(&settings.database.service_roles).with_behaviour();
        let report = rls_check::check(&mut connection, &options).await.map_err(failed)?;
        say(&if as_json { report.to_json().map_err(failed)? } else { report.to_string() });
        Ok(if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

pub(super) fn db_url(settings: &Settings, role: &str) -> Result<ExitCode, CliError> {
    if !settings.database.service_roles.iter().any(|known| known == role) {
        return Err(CliError::Failed(format!("{role} is not one of database.service_roles")));
    }
    let database = Database::beside(settings).map_err(failed)?;
    let options = database.role(settings, &master_key(settings)?, role).map_err(failed)?;
    say(options.to_url_lossy().as_str());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn create_operator(
    settings: &Settings,
    email: &str,
    password: Option<String>,
) -> Result<ExitCode, CliError> {
    let email = EmailAddress::parse(email).map_err(|error| CliError::Failed(format!("--email {error}")))?;
    let made_up = password.is_none();
    let text = match password {
        Some(text) => text,
        None => hex::encode(random::<12>().map_err(failed)?),
    };
    let new = NewPassword::parse(SecretString::from(text.clone()))
        .map_err(|error| CliError::Failed(format!("--password {error}")))?;
    in_runtime(async {
        let database = Database::beside(settings).map_err(failed)?;
        let db = database.pools(settings, &master_key(settings)?).map_err(failed)?;
        let system = SystemTx::new(&db, SystemReason::ResolveTenant);
        let platform = directory::find_by_slug(&system, PLATFORM_SLUG).await.map_err(failed)?;
        let platform = platform
            .ok_or_else(|| CliError::Failed("start the server once: it makes the platform's tenant".to_owned()))?;
        let password_hash = Hasher::start(1, 1).map_err(failed)?.hash(new.secret().clone()).await.map_err(failed)?;
        let user =
            FirstUser { email: email.clone(), name: None, password_hash, is_verified: true, role: Role::Operator };
        let mut tx = TenantTx::begin(&db, platform).await.map_err(failed)?;
        let id = match insert_user(&mut tx, &user).await {
            Ok(id) => id,
            Err(error) if error.constraint() == Some("users_email_key") => {
                return Err(CliError::Failed(format!("{email} is an operator already")));
            }
            Err(error) => return Err(failed(error)),
        };
        let event = AuditEvent {
            actor: AuditActor::System,
            action: "operator.create",
            target_kind: "user",
            target_id: Some(id.to_string()),
            outcome: AuditOutcome::Success,
            code: None,
            source: AuditSource::default(),
            detail: json!({ "by": "command line" }),
        };
        audit::insert(&mut tx, &event).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        db.close().await;
        say(&format!("operator {email} of tenant {PLATFORM_SLUG}"));
        if made_up {
            say(&format!("password {text}"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Plain HTTP/1.0 on the admin listener; no client library for one line.
pub(super) fn healthcheck(settings: &Settings) -> Result<ExitCode, CliError> {
    let mut address = settings.admin.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT)).map_err(failed)?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let is_ready = answer.split(' ').nth(1) == Some("200");
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn master_key(settings: &Settings) -> Result<MasterKey, CliError> {
    let from_environment = std::env::var(MASTER_KEY_VARIABLE).ok();
    MasterKey::load(&settings.data_dir, from_environment).map_err(failed)
}

pub(super) fn in_runtime(work: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(work)
}
