//! Objects that may break a rule, each with its reason.
//!
//! An entry that covers nothing any more is itself reported, so the list only shrinks.

use super::report::{Finding, Level, Report};

/// One object that one rule does not hold for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemption {
    /// The rule, such as `R01_no_tenant_id`.
    pub code: &'static str,
    /// The object, exactly as a finding names it.
    pub object: &'static str,
    /// Why it is safe.
    pub reason: &'static str,
}

/// The platform's own exemptions.
pub const EXEMPTIONS: &[Exemption] = &[
    Exemption {
        code: "R01_no_tenant_id",
        object: "platform_meta._sqlx_migrations",
        reason: "the record of applied migrations belongs to no tenant, and only the owner can read it",
    },
    Exemption {
        code: "R01_no_tenant_id",
        object: "platform.installation",
        reason: "one row with the master key's fingerprint, for app_secrets alone",
    },
    Exemption {
        code: "R03_rls_off",
        object: "platform.directory",
        reason: "nothing personal, and no role may touch it but through the pinned functions of app_auth",
    },
    Exemption {
        code: "R04_no_force",
        object: "platform.directory",
        reason: "nothing personal, and no role may touch it but through the pinned functions of app_auth",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "platform.directory.directory_slug_key",
        reason: "a subdomain is unique in the whole platform, as DNS names are",
    },
    Exemption {
        code: "B09_conflict_with_other_tenant",
        object: "platform.tenants",
        reason: "whoever wants a subdomain must be told that it is taken",
    },
    Exemption {
        code: "R03_rls_off",
        object: "platform.config_log",
        reason: "says that something of a tenant changed and never what, and no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "platform.config_log",
        reason: "says that something of a tenant changed and never what, and no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "platform.config_log.config_log_pkey",
        reason: "numbers of an identity column; nobody chooses one",
    },
    Exemption { code: "R10_no_leading_index", object: "platform.config_log", reason: "read by time, never by tenant" },
    Exemption {
        code: "R03_rls_off",
        object: "platform.mail_queue",
        reason: "which mails wait, by id and time, never what they say; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "platform.mail_queue",
        reason: "which mails wait, by id and time, never what they say; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_tenants_with_due_mail(bigint)",
        reason: "the mailer's look for work, granted to app_auth alone, returns ids of tenants",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_tenants_with_old_mail(bigint)",
        reason: "the mailer's look for mail to forget, granted to app_auth alone, returns ids of tenants",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_mail_queue(boolean,uuid,bigint)",
        reason: "the operators' list of mail that waits, granted to app_auth alone, returns ids",
    },
    Exemption {
        code: "R01_no_tenant_id",
        object: "billing.invoice_series",
        reason: "the last number of each series of invoices, which have no gaps in the whole platform; only its function reads it",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.invoice_directory",
        reason: "which invoices there are, by id, number and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.invoice_directory",
        reason: "which invoices there are, by id, number and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "billing.invoice_directory.invoice_directory_id_key",
        reason: "ids that the platform makes; nobody chooses one",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.close_marks",
        reason: "up to when periods are closed, and nothing else; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.close_marks",
        reason: "up to when periods are closed, and nothing else; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.take_invoice_number(text)",
        reason: "numbers without gaps for all tenants; returns a number, and takes only a series",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.find_invoice_tenant(uuid)",
        reason: "whose invoice an id is, granted to app_auth alone, for operators",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.list_invoice_directory(text,timestamp with time zone,uuid,bigint)",
        reason: "the operators' list of invoices, granted to app_auth alone; returns ids, numbers and times",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.list_tenants_to_close(timestamp with time zone,uuid,bigint)",
        reason: "whose periods are to be closed, granted to app_auth alone; returns ids and times",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.reservation_queue",
        reason: "which reservations there are, by id and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.reservation_queue",
        reason: "which reservations there are, by id and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.list_tenants_with_expired_reservations(bigint)",
        reason: "the sweeper's look for calls that never ended, granted to app_auth alone, returns ids of tenants",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.find_tenant_by_id(uuid)",
        reason: "a look-up before a tenant is known, granted to app_auth alone, returns nothing personal",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.find_tenant_by_slug(text)",
        reason: "a look-up before a tenant is known, granted to app_auth alone, returns nothing personal",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_directory(text,text,bigint)",
        reason: "the operators' list, granted to app_auth alone, returns nothing personal",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_config_changes(timestamp with time zone)",
        reason: "the config watcher's poll, granted to app_auth alone, returns ids and versions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.prune_config_log(timestamp with time zone)",
        reason: "deletes old announcements, granted to app_auth alone",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.claim_due_keys(bigint)",
        reason: "the key rotator's look for due tenants, granted to app_auth alone, returns ids",
    },
    Exemption {
        code: "R14_security_definer",
        object: "auth.schedule_keys(timestamp with time zone)",
        reason: "sets when the keys of the transaction's own tenant are looked at, granted to app_secrets alone",
    },
    Exemption {
        code: "R14_security_definer",
        object: "auth.announce_ended_sessions(uuid[])",
        reason: "announces ends of sessions of the transaction's own tenant and returns nothing",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.poll_streams(uuid[],bigint[],jsonb[],timestamp with time zone,bigint)",
        reason: "what is new for open streams, granted to app_auth alone; reads each tenant that is named under its own policies",
    },
    Exemption {
        code: "R03_rls_off",
        object: "platform.audit_marks",
        reason: "says which tenants have unsealed audit rows, and no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "platform.audit_marks",
        reason: "says which tenants have unsealed audit rows, and no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_unsealed_tenants(uuid,bigint)",
        reason: "the sealer's search, granted to app_auth alone, returns ids",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.clear_audit_marks(uuid,xid8)",
        reason: "deletes marks of what was sealed, granted to app_auth alone",
    },
    Exemption {
        code: "R01_no_tenant_id",
        object: "platform.job_runs",
        reason: "runs of the platform's own jobs; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.claim_job(text,timestamp with time zone,boolean,text,double precision)",
        reason: "takes a run of a job, granted to app_auth alone, returns a number",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.renew_job(text,bigint,double precision)",
        reason: "holds a run of a job, granted to app_auth alone",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.finish_job(text,bigint,text,bigint,text)",
        reason: "settles a run of a job, granted to app_auth alone",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.list_job_runs()",
        reason: "the operators' list of jobs, granted to app_auth alone, returns nothing of a tenant",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.forget_job_runs(interval)",
        reason: "deletes old runs of jobs, granted to app_auth alone",
    },
    Exemption {
        code: "R01_no_tenant_id",
        object: "billing.plan_versions",
        reason: "what the platform sells, the same for all tenants; only a pinned function adds to it",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.subscription_queue",
        reason: "of whose subscription something is due, never what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.subscription_queue",
        reason: "of whose subscription something is due, never what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.list_tenants_with_due_subscriptions(bigint)",
        reason: "the look for subscriptions that change, granted to app_auth alone, returns ids of tenants",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.record_plan_version(text,integer,jsonb,bigint,text)",
        reason: "writes down what is sold, at start, granted to app_auth alone; reads each tenant under its own policies",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.make_usage_partitions(integer)",
        reason: "makes months of usage events ahead, protected before they are attached; granted to app_auth alone, returns a number",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.drop_usage_partitions(integer)",
        reason: "drops months of usage events that are old enough, granted to app_auth alone, returns a number",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.forget_usage_keys(timestamp with time zone,bigint)",
        reason: "deletes old keys of usage events, one tenant after the other, granted to app_auth alone, returns a number",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.stripe_queue",
        reason: "which requests and payments wait, by id and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R03_rls_off",
        object: "billing.stripe_customer_directory",
        reason: "which customer of Stripe's is which tenant's, by id; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.stripe_queue",
        reason: "which requests and payments wait, by id and time, never of what; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R04_no_force",
        object: "billing.stripe_customer_directory",
        reason: "which customer of Stripe's is which tenant's, by id; no role may touch it but through pinned functions",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "billing.stripe_customer_directory.stripe_customer_directory_pkey",
        reason: "Stripe makes the ids, and a customer is one tenant's: nobody can choose one to learn of another's",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.list_tenants_with_stripe_work(text,bigint)",
        reason: "the jobs' look for work, granted to app_auth alone, returns ids of tenants",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.put_off_stripe_work(uuid,timestamp with time zone)",
        reason: "puts off what waits for one tenant, granted to app_auth alone, returns nothing",
    },
    Exemption {
        code: "R14_security_definer",
        object: "billing.find_tenant_of_stripe_customer(text)",
        reason: "whose an object of Stripe's is, granted to app_auth alone, returns the id of a tenant",
    },
    Exemption {
        code: "R03_rls_off",
        object: "auth.verified_domains",
        reason: "which domain is proved, and by whom, as everybody can read in DNS; only a trigger touches it",
    },
    Exemption {
        code: "R04_no_force",
        object: "auth.verified_domains",
        reason: "which domain is proved, and by whom, as everybody can read in DNS; only a trigger touches it",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "auth.verified_domains.verified_domains_domain_key",
        reason: "a domain is one tenant's; who learns that another has it has just shown that the zone is theirs",
    },
    Exemption {
        code: "R03_rls_off",
        object: "platform.verified_hosts",
        reason: "which host is whose, as everybody who calls it can see; a trigger writes it, a pinned function reads it",
    },
    Exemption {
        code: "R04_no_force",
        object: "platform.verified_hosts",
        reason: "which host is whose, as everybody who calls it can see; a trigger writes it, a pinned function reads it",
    },
    Exemption {
        code: "R09_unique_without_tenant",
        object: "platform.verified_hosts.verified_hosts_host_key",
        reason: "a host is one tenant's; who learns that another has it has just shown that the zone is theirs",
    },
    Exemption {
        code: "R14_security_definer",
        object: "platform.find_tenant_by_host(text)",
        reason: "a look-up before a tenant is known, granted to app_auth alone, returns nothing personal",
    },
];

/// Adds the findings that no exemption covers to `report`, and the exemptions that covered nothing. Those for behaviour
/// (`B…`) are only missed where it was looked at.
pub(super) fn apply(findings: Vec<Finding>, exemptions: &[Exemption], behaviour: bool, report: &mut Report) {
    let mut unused: Vec<&Exemption> =
        exemptions.iter().filter(|exemption| behaviour || !exemption.code.starts_with('B')).collect();
    for finding in findings {
        let covers = |exemption: &Exemption| exemption.code == finding.code && exemption.object == finding.object;
        if exemptions.iter().any(covers) {
            unused.retain(|exemption| !covers(exemption));
            report.n_exempted += 1;
        } else {
            report.findings.push(finding);
        }
    }
    report.findings.extend(unused.into_iter().map(|exemption| Finding {
        level: Level::Warn,
        code: "X01_unused_exemption".to_owned(),
        object: exemption.object.to_owned(),
        message: format!(
            "nothing breaks {} here: take the exemption ({}) off the list",
            exemption.code, exemption.reason
        ),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_covers_its_object_only_and_an_unused_one_is_reported() {
        let finding = |object: &str| Finding {
            level: Level::Error,
            code: "R01".to_owned(),
            object: object.to_owned(),
            message: String::new(),
        };
        let exemptions = [
            Exemption { code: "R01", object: "a.a", reason: "ours" },
            Exemption { code: "R01", object: "a.gone", reason: "was ours" },
            Exemption { code: "R02", object: "a.b", reason: "another rule" },
            Exemption { code: "B01", object: "a.a", reason: "not looked at" },
        ];
        let mut report = Report::default();
        apply(vec![finding("a.a"), finding("a.b")], &exemptions, false, &mut report);
        assert_eq!(report.n_exempted, 1);
        assert!(report.found("R01", Some("a.b")) && !report.found("R01", Some("a.a")));
        assert!(report.found("X01_unused_exemption", Some("a.gone")));
        assert!(report.found("X01_unused_exemption", Some("a.b")));
        assert!(!report.found("X01_unused_exemption", Some("a.a")));
    }
}
