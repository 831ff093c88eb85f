//! `businessos secret`.

use std::io::Read as _;
use std::process::ExitCode;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use super::CliError;
use super::commands::{failed, in_runtime, master_key, say};
use crate::actors::secrets::{SealSecret, StoredSecret, seal_secret};
use crate::app::Database;
use crate::config::Settings;
use crate::db::{SystemReason, SystemTx, TenantTx, audit, directory, tenant_secrets};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::tenant_secret::{MAX_SECRETS, MAX_VALUE, SecretName, check_value};

/// Stores a tenant's secret, read from standard input so that it is in no list of processes. A running server uses it within a second.
pub(super) fn put(settings: &Settings, slug: &str, name: &str) -> Result<ExitCode, CliError> {
    let name = SecretName::parse(name).map_err(|error| CliError::Failed(format!("NAME: {error}")))?;
    let mut text = Zeroizing::new(String::new());
    // One byte too many is enough to know that it is too long.
    std::io::stdin().take(MAX_VALUE as u64 + 2).read_to_string(&mut text).map_err(failed)?;
    let value = SecretString::from(text.trim_end_matches(['\r', '\n']));
    check_value(&value).map_err(|error| CliError::Failed(format!("standard input: {error}")))?;
    in_runtime(async {
        let database = Database::beside(settings).map_err(failed)?;
        let master = master_key(settings)?;
        let db = database.pools(settings, &master).map_err(failed)?;
        let system = SystemTx::new(&db, SystemReason::ResolveTenant);
        let tenant = directory::find_by_slug(&system, slug).await.map_err(failed)?;
        let tenant = tenant.ok_or_else(|| CliError::Failed(format!("there is no tenant {slug}")))?;
        let plaintext = Zeroizing::new(value.expose_secret().as_bytes().to_vec());
        let message = SealSecret { tenant, secret: StoredSecret::OfTenant(name.clone()), plaintext };
        let sealed = seal_secret(&db, &master, message).await.map_err(failed)?;
        let mut tx = TenantTx::begin(&db, tenant).await.map_err(failed)?;
        if tenant_secrets::upsert(&mut tx, &name, "", &sealed).await.map_err(failed)?.is_none() {
            return Err(CliError::Failed(format!("{slug} has {MAX_SECRETS} secrets; delete one first")));
        }
        let event = AuditEvent {
            actor: AuditActor::System,
            action: "tenant_secret.put",
            target_kind: "tenant_secret",
            target_id: Some(name.to_string()),
            outcome: AuditOutcome::Success,
            code: None,
            source: AuditSource::default(),
            detail: json!({ "by": "command line" }),
        };
        audit::insert(&mut tx, &event).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        db.close().await;
        say(&format!("secret {name} of tenant {slug}"));
        Ok(ExitCode::SUCCESS)
    })
}
