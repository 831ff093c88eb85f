//! What cron runs.

use std::sync::Arc;
use std::time::Duration;

use super::stripe;
use crate::actors::ask::ActorRef;
use crate::actors::auth::forget;
use crate::actors::billing::{close, dunning};
use crate::actors::billing_meter::{reservations, upkeep};
use crate::actors::cron::Job;
use crate::actors::mailer::tidy;
use crate::actors::sealer;
use crate::actors::secrets::{SecretsActor, rotate_due};
use crate::actors::sso::{self, SsoDesk};
use crate::actors::stripe::Desk;
use crate::actors::subscriptions::due;
use crate::actors::tenant::registry::{PassivateIdle, RegistryActor};
use crate::actors::usage_feed;
use crate::config::Settings;
use crate::db::{Db, SystemReason, SystemTx, job_runs};
use crate::http::middleware::ip_limit::IpLimit;
use crate::http::tls::Certificate;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Idle tenants are looked for at most so often.
const PASSIVATE_EVERY: Duration = Duration::from_secs(30);
/// Longest wait for the registry.
const PASSIVATE_DEADLINE: Duration = Duration::from_secs(5);

/// What jobs work with.
pub(super) struct JobGround<'a> {
    pub(super) settings: &'a Arc<Settings>,
    pub(super) db: &'a Db,
    pub(super) secrets: &'a ActorRef<SecretsActor>,
    pub(super) registry: &'a ActorRef<RegistryActor>,
    pub(super) ip_limit: &'a IpLimit,
    pub(super) certificate: Option<&'a Arc<Certificate>>,
    pub(super) stripe: Option<&'a Arc<Desk>>,
    pub(super) sso: &'a Arc<SsoDesk>,
}

impl JobGround<'_> {
    /// All jobs. A name stands in the table of runs: it does not change.
    pub(super) fn jobs(&self) -> Arc<[Job]> {
        let auth = &self.settings.auth;
        let passivate_every = PASSIVATE_EVERY.min(SECOND * seconds(self.settings.tenants.passivate_after_s));
        let (idle, certificate) = (self.ip_limit.clone(), self.certificate.cloned());
        let (registry, sealing, rotating) = (self.registry.clone(), self.secrets.clone(), self.secrets.clone());
        let db = || self.db.clone();
        let (seal_db, rotate_db, mail_db, sessions_db, runs_db) = (db(), db(), db(), db(), db());
        let (months_db, keys_db, reservations_db, streams_db, due_db) = (db(), db(), db(), db(), db());
        let (close_db, dunning_db) = (db(), db());
        let settings = || Arc::clone(self.settings);
        let (due_settings, close_settings, dunning_settings) = (settings(), settings(), settings());
        let (sso_desk, metadata_desk) = (Arc::clone(self.sso), Arc::clone(self.sso));
        let metering = &self.settings.metering;
        let (event_months, key_days) = (metering.event_retention_months, metering.dedup_retention_days);
        let mut jobs = vec![
            Job::cluster(
                "rotate_signing_keys",
                "makes, activates and removes tenants' signing keys that are due",
                SECOND * seconds(auth.key_check_s),
                move || {
                    let (db, secrets) = (rotate_db.clone(), rotating.clone());
                    async move { Ok(rotate_due(&db, &secrets).await?) }
                },
            ),
            Job::cluster(
                "seal_audit_log",
                "takes new rows of the audit trails into their Merkle trees",
                SECOND * seconds(self.settings.audit.seal_every_s),
                move || {
                    let (db, secrets) = (seal_db.clone(), sealing.clone());
                    async move { Ok(sealer::seal_all(&db, &secrets).await?) }
                },
            ),
            Job::cluster("forget_sent_mail", "deletes mail that was sent over a week ago", MINUTE, move || {
                let db = mail_db.clone();
                async move { Ok(tidy::forget_old(&db).await?) }
            }),
            Job::cluster(
                "forget_ended_sessions",
                "deletes sessions that ended over a week ago, and sign-ins that were never finished",
                HOUR,
                move || {
                    let db = sessions_db.clone();
                    async move { Ok(forget::forget_ended(&db).await?) }
                },
            ),
            Job::cluster(
                "make_usage_months",
                "makes the partitions of usage events months ahead, and drops those that are kept no longer",
                HOUR,
                move || {
                    let db = months_db.clone();
                    async move { Ok(upkeep::keep_months(&db, event_months).await?) }
                },
            ),
            Job::cluster(
                "forget_usage_keys",
                "deletes keys of usage events that are too old to be sent again",
                HOUR,
                move || {
                    let db = keys_db.clone();
                    async move { Ok(upkeep::forget_keys(&db, key_days).await?) }
                },
            ),
            Job::cluster(
                "sweep_reservations",
                "gives back usage that was set aside for calls that never ended",
                MINUTE,
                move || {
                    let db = reservations_db.clone();
                    async move { Ok(reservations::sweep(&db).await?) }
                },
            ),
            Job::cluster(
                "close_billing_periods",
                "closes the billing periods that have ended, and issues their invoices",
                HOUR,
                move || {
                    let (db, settings) = (close_db.clone(), Arc::clone(&close_settings));
                    async move { Ok(close::close_due(&db, &settings).await?) }
                },
            ),
            Job::cluster(
                "judge_overdue_invoices",
                "warns, restricts or shuts out tenants whose invoices are overdue",
                HOUR,
                move || {
                    let (db, settings) = (dunning_db.clone(), Arc::clone(&dunning_settings));
                    async move { Ok(dunning::judge_overdue(&db, &settings).await?) }
                },
            ),
            Job::cluster(
                "change_due_subscriptions",
                "ends trials, and begins or ends what was agreed for now",
                MINUTE,
                move || {
                    let (db, settings) = (due_db.clone(), Arc::clone(&due_settings));
                    async move { Ok(due::change_due(&db, &settings).await?) }
                },
            ),
            Job::cluster(
                "forget_stream_events",
                "deletes events of usage streams that are older than 90 days, and tickets that ran out",
                HOUR,
                move || {
                    let db = streams_db.clone();
                    async move { Ok(usage_feed::forget::forget_old(&db).await?) }
                },
            ),
            Job::cluster(
                "recheck_domains",
                "looks again for the records that prove tenants' domains and hosts, and forgets claims that ran out",
                MINUTE * 10,
                move || {
                    let desk = Arc::clone(&sso_desk);
                    async move { Ok(sso::recheck_all(&desk).await?) }
                },
            ),
            Job::cluster(
                "refresh_saml_metadata",
                "reads the metadata of tenants' SAML providers again, with the keys that they publish",
                MINUTE * 10,
                move || {
                    let desk = Arc::clone(&metadata_desk);
                    async move { Ok(sso::saml::refresh_all(&desk).await?) }
                },
            ),
            Job::cluster("forget_job_runs", "deletes runs of jobs that ended over a week ago", HOUR, move || {
                let db = runs_db.clone();
                async move {
                    let system = SystemTx::new(&db, SystemReason::RunJobs);
                    Ok(job_runs::forget_old(&system).await?.unsigned_abs())
                }
            }),
            Job::node("passivate_idle_tenants", "stops supervisors of idle tenants", passivate_every, move || {
                let registry = registry.clone();
                async move { Ok(registry.ask(PassivateIdle, PASSIVATE_DEADLINE).await?) }
            }),
            Job::node("forget_idle_addresses", "forgets clients' addresses that send nothing", MINUTE, move || {
                idle.forget_idle();
                async { Ok(0) }
            }),
        ];
        jobs.extend(self.stripe.into_iter().flat_map(stripe::jobs));
        if let Some(certificate) = certificate {
            jobs.push(Job::node("reload_certificate", "reads a changed TLS certificate", 10 * SECOND, move || {
                certificate.reload_if_changed();
                async { Ok(0) }
            }));
        }
        jobs.into()
    }
}

fn seconds(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
