//! `businessos audit`.

use std::process::ExitCode;

use serde_json::json;

use super::CliError;
use super::commands::{failed, in_runtime, master_key, say};
use crate::actors::sealer::{Report, verify};
use crate::actors::secrets::unlock;
use crate::app::Database;
use crate::clients::kms::MasterKey;
use crate::config::Settings;
use crate::db::{Db, SystemReason, SystemTx, directory};
use crate::domain::ids::TenantId;

/// Tenants that are read at once.
const PAGE: i64 = 500;

/// Checks one tenant's audit log, or all: every row, every tree, every signature. Exit code 1 if anything is wrong.
pub(super) fn verify_trails(settings: &Settings, slug: Option<&str>, as_json: bool) -> Result<ExitCode, CliError> {
    in_runtime(async {
        let database = Database::beside(settings).map_err(failed)?;
        let master = master_key(settings)?;
        let db = database.pools(settings, &master).map_err(failed)?;
        let mut reports = Vec::new();
        for (slug, tenant) in tenants(&db, slug).await? {
            reports.push((slug, check(&db, &master, tenant).await));
        }
        db.close().await;
        let is_sound = reports.iter().all(|(_, report)| report.findings.is_empty());
        tell(&reports, as_json);
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn tenants(db: &Db, slug: Option<&str>) -> Result<Vec<(String, TenantId)>, CliError> {
    let system = SystemTx::new(db, SystemReason::SealAudit);
    if let Some(slug) = slug {
        let id = directory::find_by_slug(&system, slug).await.map_err(failed)?;
        let id = id.ok_or_else(|| CliError::Failed(format!("there is no tenant {slug}")))?;
        return Ok(vec![(slug.to_owned(), id)]);
    }
    let mut all: Vec<(String, TenantId)> = Vec::new();
    loop {
        let after = all.last().map(|(slug, _)| slug.clone()).unwrap_or_default();
        let page = directory::list(&system, &after, None, PAGE).await.map_err(failed)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|row| (row.slug, row.tenant_id.into())));
    }
}

/// What cannot be checked is a finding: silence would look like health.
async fn check(db: &Db, master: &MasterKey, tenant: TenantId) -> Report {
    let unchecked = |error: &dyn std::error::Error| Report {
        findings: vec![format!("not checked: {}", CliError::failed(error))],
        ..Report::default()
    };
    match unlock(db, master, tenant).await {
        Err(error) => unchecked(&error),
        Ok(keys) => verify(db, &keys, tenant).await.unwrap_or_else(|error| unchecked(&error)),
    }
}

fn tell(reports: &[(String, Report)], as_json: bool) {
    if as_json {
        let list: Vec<_> = reports.iter().map(|(slug, report)| json!({ "tenant": slug, "report": report })).collect();
        say(&json!({ "tenants": list }).to_string());
        return;
    }
    for (slug, report) in reports {
        for finding in &report.findings {
            say(&format!("{slug}: {finding}"));
        }
        if report.n_more > 0 {
            say(&format!("{slug}: and {} more", report.n_more));
        }
        let Report { n_sealed, n_checkpoints, n_unsealed, .. } = report;
        let verdict = if report.findings.is_empty() { "sound" } else { "NOT SOUND" };
        say(&format!("{slug}: {verdict}, {n_sealed} sealed, {n_unsealed} not sealed yet, {n_checkpoints} checkpoints"));
    }
}
