//! The part of the check that tries: two invented tenants, every tenant table and view, every application role.
//!
//! Row-level security decides about a new row before constraints are looked at. So an INSERT for another tenant that
//! ends in a violated constraint has passed the policies, and a refusal can be told from an acceptance even where no
//! whole row could be made.

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::report::{Finding, Level, NotProbed, Report};
use super::rows::{Row, RowMaker, insert_statement};
use super::{CheckError, Options};
use crate::db::bootstrap::OWNER;

/// `insufficient_privilege`: a missing right or a policy.
const REFUSED: &str = "42501";

/// What one role may do with one table or view.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Target {
    oid: i64,
    /// Quoted, for statements.
    name: String,
    /// As the catalogue part names it.
    object: String,
    role: String,
    is_table: bool,
    may_select: bool,
    may_insert: bool,
    may_delete: bool,
    /// Columns that the role may set in an INSERT.
    insertable: Vec<String>,
    /// A column that the role may update, quoted.
    updatable: Option<String>,
}

/// The tenants of one check.
#[derive(Debug, Clone, Copy)]
struct Tenants {
    own: Uuid,
    other: Uuid,
    /// Has no rows.
    empty: Uuid,
}

/// How an attempt ended.
#[derive(Debug)]
enum Outcome {
    /// So many rows read or changed.
    Rows(u64),
    /// Refused with this SQLSTATE.
    Error { code: String, message: String },
}

/// Probes everything inside one transaction and rolls it back.
pub(super) async fn check(
    conn: &mut PgConnection,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<Finding>, CheckError> {
    sqlx::raw_sql(
        "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '3s'",
    )
    .execute(&mut *conn)
    .await?;
    let result = probe_all(conn, options, report).await;
    sqlx::raw_sql("ROLLBACK").execute(conn).await?;
    result
}

async fn probe_all(
    conn: &mut PgConnection,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<Finding>, CheckError> {
    let is_superuser: bool =
        sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetch_one(&mut *conn).await?;
    let targets = targets(conn, &options.app_roles).await?;
    let tenants = Tenants { own: Uuid::new_v4(), other: Uuid::new_v4(), empty: Uuid::new_v4() };
    // All rows first, so that views find them, too.
    let mut maker = RowMaker::default();
    let mut rows = Vec::new();
    for target in &targets {
        let mut made = [None, None];
        if target.is_table {
            for (slot, tenant) in made.iter_mut().zip([tenants.own, tenants.other]) {
                let role = if is_superuser { "NONE" } else { OWNER };
                sqlx::raw_sql(AssertSqlSafe(format!(
                    "SET LOCAL ROLE {role}; SET LOCAL app.current_tenant_id = '{tenant}'"
                )))
                .execute(&mut *conn)
                .await?;
                match maker.row(conn, target.oid, Some(tenant), 0).await {
                    Ok(row) => *slot = Some(row),
                    Err(reason) => report.not_probed.push(NotProbed { object: target.label(), reason }),
                }
            }
        }
        rows.push(made);
    }
    report.not_probed.sort();
    report.not_probed.dedup();
    let mut probes = Probes { conn, tenants, report, findings: Vec::new() };
    for (target, [own, other]) in targets.iter().zip(rows) {
        probes.reads(target, own.is_some()).await?;
        if target.is_table {
            probes.changes(target, own.is_some(), other.is_some()).await?;
            probes.inserts(target, other).await?;
        }
    }
    Ok(probes.findings)
}

impl Target {
    fn label(&self) -> String {
        format!("{} as {}", self.object, self.role)
    }
}

struct Probes<'a> {
    conn: &'a mut PgConnection,
    tenants: Tenants,
    report: &'a mut Report,
    findings: Vec<Finding>,
}

impl Probes<'_> {
    async fn reads(&mut self, target: &Target, has_own: bool) -> Result<(), CheckError> {
        if !target.may_select {
            return Ok(());
        }
        let Target { name, .. } = target;
        let Tenants { own, .. } = self.tenants;
        let any = format!("SELECT 1 FROM {name} LIMIT 1");
        if let Outcome::Rows(1..) = self.attempt(target, None, &any).await? {
            self.find(target, "B01_read_without_tenant", "rows are visible without a tenant in the session");
        }
        let others = format!("SELECT 1 FROM {name} WHERE tenant_id IS DISTINCT FROM '{own}' LIMIT 1");
        if let Outcome::Rows(1..) = self.attempt(target, Some(own), &others).await? {
            self.find(target, "B02_read_other_tenant", "another tenant's rows are visible");
        }
        let mine = format!("SELECT 1 FROM {name} WHERE tenant_id = '{own}' LIMIT 1");
        // Otherwise a table that shows nothing to anybody would look safe and be useless.
        if has_own && !matches!(self.attempt(target, Some(own), &mine).await?, Outcome::Rows(1..)) {
            self.find(
                target,
                "B03_own_row_hidden",
                "a tenant cannot see its own row, so nothing is known about others",
            );
        }
        Ok(())
    }

    async fn changes(&mut self, target: &Target, has_own: bool, has_other: bool) -> Result<(), CheckError> {
        let Target { name, .. } = target;
        let Tenants { own, other, .. } = self.tenants;
        let mut others_are_shut = false;
        if let Some(column) = &target.updatable
            && has_other
        {
            let update = format!("UPDATE {name} SET {column} = {column} WHERE tenant_id = '{other}'");
            others_are_shut = !self.attempt(target, Some(own), &update).await?.reached_rows();
            if !others_are_shut {
                self.find(target, "B04_update_other_tenant", "another tenant's row can be updated");
            }
        }
        if target.may_delete && has_other {
            let delete = format!("DELETE FROM {name} WHERE tenant_id = '{other}'");
            if self.attempt(target, Some(own), &delete).await?.reached_rows() {
                self.find(target, "B05_delete_other_tenant", "another tenant's row can be deleted");
            }
        }
        if target.updatable.is_some() && has_own {
            // A condition reads, so the policies for reading would be asked about the new row, too, and hide a faulty
            // WITH CHECK. Without one the statement must be known to stay within the invented tenant's rows.
            let condition = if others_are_shut { String::new() } else { format!(" WHERE tenant_id = '{own}'") };
            let give_away = format!("UPDATE {name} SET tenant_id = '{other}'{condition}");
            if self.attempt(target, Some(own), &give_away).await?.reached_rows() {
                self.find(target, "B06_move_to_other_tenant", "a row can be moved to another tenant");
            }
        }
        Ok(())
    }

    async fn inserts(&mut self, target: &Target, other_row: Option<Row>) -> Result<(), CheckError> {
        if !target.may_insert || !target.insertable.iter().any(|column| column == "tenant_id") {
            return Ok(());
        }
        let Tenants { own, other, empty } = self.tenants;
        let is_whole = other_row.is_some();
        let mut row = other_row.unwrap_or_default();
        row.insert("tenant_id".to_owned(), other.to_string().into());
        row.retain(|column, _| target.insertable.contains(column));
        let insert = insert_statement(&target.name, &row);

        let outcome = self.attempt(target, Some(own), &insert).await?;
        self.judge_insert(target, outcome, "B07_insert_for_other_tenant", "a row can be inserted for another tenant");
        let outcome = self.attempt(target, None, &insert).await?;
        self.judge_insert(
            target,
            outcome,
            "B08_insert_without_tenant",
            "a row can be inserted without a tenant in the session",
        );
        let quiet = format!("{insert} ON CONFLICT DO NOTHING");
        let outcome = self.attempt(target, Some(own), &quiet).await?;
        self.judge_insert(
            target,
            outcome,
            "B07_insert_for_other_tenant",
            "a row can be inserted for another tenant with ON CONFLICT",
        );

        // A tenant without rows inserts what another one has, as its own. If that conflicts, the constraint reaches over
        // tenants and tells what others have. A foreign key is looked at later, so its refusal means: no conflict.
        if is_whole {
            row.insert("tenant_id".to_owned(), empty.to_string().into());
            let same = format!("{} ON CONFLICT DO NOTHING", insert_statement(&target.name, &row));
            let outcome = self.attempt(target, Some(empty), &same).await?;
            let conflicts = match &outcome {
                Outcome::Rows(n) => *n == 0,
                Outcome::Error { code, .. } => code == "23505" || code == "23P01",
            };
            if conflicts {
                self.find(target, "B09_conflict_with_other_tenant", "a value of another tenant's row makes a conflict");
            }
        }
        Ok(())
    }

    fn judge_insert(&mut self, target: &Target, outcome: Outcome, code: &str, message: &str) {
        match outcome {
            Outcome::Rows(0) => {}
            Outcome::Rows(_) => self.find(target, code, message),
            Outcome::Error { code: state, .. } if state == REFUSED => {}
            Outcome::Error { code: state, message: text }
                if state.starts_with("23") && !text.starts_with("no partition") =>
            {
                self.find(target, code, &format!("{message}: the policies let it pass, only a constraint stopped it"));
            }
            Outcome::Error { message: text, .. } => {
                self.report.not_probed.push(NotProbed { object: target.label(), reason: format!("{code}: {text}") });
            }
        }
    }

    /// Tries a statement as the target's role with a tenant in the session, and undoes all of it.
    async fn attempt(&mut self, target: &Target, tenant: Option<Uuid>, statement: &str) -> Result<Outcome, CheckError> {
        self.report.n_probes += 1;
        let tenant = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        let role = target.role.replace('"', "\"\"");
        sqlx::raw_sql(AssertSqlSafe(format!(
            "SAVEPOINT probe; SET LOCAL ROLE \"{role}\"; SET LOCAL app.current_tenant_id = '{tenant}'"
        )))
        .execute(&mut *self.conn)
        .await?;
        let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *self.conn).await;
        let outcome = match result {
            Ok(done) => Outcome::Rows(done.rows_affected()),
            Err(sqlx::Error::Database(error)) => Outcome::Error {
                code: error.code().unwrap_or_default().into_owned(),
                message: error.message().to_owned(),
            },
            Err(other) => return Err(other.into()),
        };
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT probe; RELEASE SAVEPOINT probe").execute(&mut *self.conn).await?;
        Ok(outcome)
    }

    fn find(&mut self, target: &Target, code: &str, message: &str) {
        self.findings.push(Finding {
            level: Level::Error,
            code: code.to_owned(),
            object: target.object.clone(),
            message: format!("{message} to {}", target.role),
        });
    }
}

impl Outcome {
    /// Rows were changed, or only a constraint stopped it, for which they had to be reached.
    fn reached_rows(&self) -> bool {
        match self {
            Self::Rows(n) => *n > 0,
            Self::Error { code, .. } => code.starts_with("23"),
        }
    }
}

/// Every table and view with a tenant_id and every role that may do something with it.
async fn targets(conn: &mut PgConnection, roles: &[String]) -> Result<Vec<Target>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.oid::bigint AS oid, format('%I.%I', n.nspname, c.relname) AS name, n.nspname || '.' || c.relname AS object, \
                r.rolname::text AS role, c.relkind IN ('r', 'p') AS is_table, \
                has_column_privilege(r.oid, c.oid, 'tenant_id', 'SELECT') AS may_select, \
                has_any_column_privilege(r.oid, c.oid, 'INSERT') AS may_insert, \
                has_table_privilege(r.oid, c.oid, 'DELETE') AS may_delete, \
                ARRAY(SELECT a.attname::text FROM pg_attribute a \
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
                         AND has_column_privilege(r.oid, c.oid, a.attnum, 'INSERT')) AS insertable, \
                (SELECT quote_ident(a.attname) FROM pg_attribute a \
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a' \
                    AND has_column_privilege(r.oid, c.oid, a.attnum, 'UPDATE') ORDER BY a.attnum DESC LIMIT 1) AS updatable \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped \
         CROSS JOIN pg_roles r \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
           AND r.rolname = ANY ($1) AND has_schema_privilege(r.oid, n.oid, 'USAGE') \
           AND (has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE')) \
         ORDER BY c.relkind IN ('r', 'p') DESC, name, role",
    )
    .bind(roles)
    .fetch_all(conn)
    .await
}
