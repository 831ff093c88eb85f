//! Makes a row for an invented tenant in any table, from what the catalogue says about its columns.
//!
//! Best effort: values by type, parents first where a foreign key asks for them, and for a CHECK the values that stand in
//! its own text, one after the other. What cannot be made is said, not hidden.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// A row as PostgreSQL prints it.
pub(super) type Row = Map<String, Value>;

/// Tries for one row before it is given up.
const MAX_ATTEMPTS: usize = 200;
/// Longest chain of parents.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone, sqlx::FromRow)]
struct Column {
    name: String,
    not_null: bool,
    is_filled: bool,
    category: String,
    base_type: String,
    labels: Vec<String>,
    checks: Vec<String>,
}

#[derive(Debug, sqlx::FromRow)]
struct ForeignKey {
    parent: i64,
    parent_has_tenant: bool,
    columns: Vec<String>,
    parent_columns: Vec<String>,
}

/// Makes rows and remembers them, so that children of one tenant share their parents.
#[derive(Debug, Default)]
pub(super) struct RowMaker {
    made: HashMap<(i64, Option<Uuid>), Result<Row, String>>,
}

impl RowMaker {
    /// The row of `tenant` in the table with the object id `table`, made at the first call; the error is the reason why
    /// there is none. Runs inside a transaction, as a role that may insert; a failed attempt leaves no trace.
    pub fn row<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        table: i64,
        tenant: Option<Uuid>,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Row, String>> + 'a>> {
        Box::pin(async move {
            if let Some(known) = self.made.get(&(table, tenant)) {
                return known.clone();
            }
            let row = if depth > MAX_DEPTH {
                Err("its foreign keys go round in a circle".to_owned())
            } else {
                self.make(conn, table, tenant, depth).await
            };
            self.made.insert((table, tenant), row.clone());
            row
        })
    }

    async fn make(
        &mut self,
        conn: &mut PgConnection,
        table: i64,
        tenant: Option<Uuid>,
        depth: usize,
    ) -> Result<Row, String> {
        let name = quoted_name(conn, table).await?;
        if tenant.is_none()
            && let Some(existing) = existing_row(conn, &name).await?
        {
            return Ok(existing);
        }
        let columns = columns(conn, table).await?;
        let mut row = Row::new();
        let mut fixed: Vec<String> = Vec::new();
        if let Some(tenant) = tenant {
            row.insert("tenant_id".to_owned(), json!(tenant));
            fixed.push("tenant_id".to_owned());
        }
        for key in foreign_keys(conn, table).await? {
            let may_be_null = |name: &String| columns.iter().any(|column| &column.name == name && !column.not_null);
            if key.columns.iter().any(may_be_null) {
                continue;
            }
            let parent_tenant = if key.parent_has_tenant { tenant } else { None };
            let parent = self.row(conn, key.parent, parent_tenant, depth + 1).await?;
            for (column, parent_column) in key.columns.iter().zip(&key.parent_columns) {
                row.insert(column.clone(), parent.get(parent_column).cloned().unwrap_or(Value::Null));
                fixed.push(column.clone());
            }
        }
        let mut search = Search::new(columns, fixed, row);
        for _ in 0..MAX_ATTEMPTS {
            match insert(conn, &name, &search.row).await {
                Ok(row) => return Ok(row),
                Err(error) => search.learn(conn, table, error).await?,
            }
        }
        Err(format!("no row satisfied its checks in {MAX_ATTEMPTS} attempts"))
    }
}

/// The search for values that a table takes.
struct Search {
    columns: Vec<Column>,
    fixed: Vec<String>,
    row: Row,
    /// Which candidate of a column is in the row.
    chosen: HashMap<String, usize>,
}

impl Search {
    fn new(columns: Vec<Column>, fixed: Vec<String>, row: Row) -> Self {
        let mut search = Self { columns, fixed, row, chosen: HashMap::new() };
        let needed: Vec<String> =
            search.columns.iter().filter(|c| c.not_null && !c.is_filled).map(|c| c.name.clone()).collect();
        for name in needed {
            search.choose(&name, 0);
        }
        search
    }

    /// Puts candidate `index` into the row; false if there is none, or the column is not free.
    fn choose(&mut self, name: &str, index: usize) -> bool {
        if self.fixed.iter().any(|fixed| fixed == name) {
            return false;
        }
        let value = self
            .columns
            .iter()
            .find(|column| column.name == name)
            .and_then(|column| candidates(column).into_iter().nth(index));
        let Some(value) = value else { return false };
        self.row.insert(name.to_owned(), value);
        self.chosen.insert(name.to_owned(), index);
        true
    }

    /// Changes the row after a refusal, or says why that is pointless.
    async fn learn(&mut self, conn: &mut PgConnection, table: i64, error: sqlx::Error) -> Result<(), String> {
        let Some(detail) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        else {
            return Err(error.to_string());
        };
        let changed = match detail.code() {
            "23502" => detail.column().is_some_and(|column| self.choose(column, 0)),
            "23514" => {
                let involved = check_columns(conn, table, detail.constraint().unwrap_or_default()).await?;
                self.advance(&involved)
            }
            // Another tenant's row has the value already: that is what a probe wants to know, so take another one.
            "23505" => {
                let involved = index_columns(conn, table, detail.constraint().unwrap_or_default()).await?;
                self.advance(&involved)
            }
            _ => false,
        };
        if changed { Ok(()) } else { Err(format!("a row is refused: {}", detail.message())) }
    }

    /// The next combination of candidates for some columns: the first one counts up, and carries into the next.
    fn advance(&mut self, names: &[String]) -> bool {
        for name in names {
            let next = self.chosen.get(name).map_or(0, |index| index + 1);
            if self.choose(name, next) {
                return true;
            }
            self.choose(name, 0);
        }
        false
    }
}

/// Values worth trying, the likeliest first.
fn candidates(column: &Column) -> Vec<Value> {
    let tag = Uuid::new_v4().simple().to_string();
    let literals: Vec<String> = column.checks.iter().flat_map(|check| string_literals(check)).collect();
    match (column.category.as_str(), column.base_type.as_str()) {
        ("E", _) => column.labels.iter().map(|label| json!(label)).collect(),
        ("S", _) => {
            let mut values: Vec<Value> = literals.iter().map(|text| json!(text)).collect();
            values.extend([
                json!(format!("probe-{tag}")),
                json!(tag),
                json!(format!("{tag}{tag}")),
                json!(format!("{tag}@probe.example")),
                json!(format!("{tag}.probe.example")),
                json!(format!("https://{tag}.probe.example/")),
                json!(tag.chars().take(8).collect::<String>()),
                json!("probe.happened"),
                json!("EUR"),
                json!("de"),
                json!("DE"),
                json!("a"),
                json!(""),
            ]);
            values
        }
        ("N", _) => [1, 0, 2, 10, 100, 1000, -1].iter().map(|number| json!(number)).collect(),
        ("B", _) => vec![json!(true), json!(false)],
        ("D", "time" | "timetz") => vec![json!("12:00")],
        ("D", _) => vec![json!("now"), json!("tomorrow"), json!("yesterday"), json!("infinity")],
        ("T", _) => vec![json!("1 day")],
        ("I", "cidr") => vec![json!("192.0.2.0/24")],
        ("I", _) => vec![json!("192.0.2.1")],
        ("A", _) => vec![json!([]), json!(["probe"])],
        ("R", _) => vec![json!("empty")],
        (_, "uuid") => vec![json!(Uuid::new_v4())],
        (_, "json" | "jsonb") => vec![json!({}), json!([]), json!("probe")],
        (_, "bytea") => [32, 16, 12, 64, 48, 28].iter().map(|n| json!(format!("\\x{}", "5a".repeat(*n)))).collect(),
        _ => vec![json!("0")],
    }
}

/// The quoted texts in the printed form of a CHECK; often they are the permitted values.
fn string_literals(check: &str) -> Vec<String> {
    let pieces: Vec<&str> = check.split('\'').collect();
    pieces.iter().skip(1).step_by(2).map(|piece| (*piece).to_owned()).filter(|piece| !piece.is_empty()).collect()
}

/// `INSERT` of the columns in `row`. Used by the probes as well, as another role.
pub(super) fn insert_statement(table: &str, row: &Row) -> String {
    let columns = row.keys().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect::<Vec<_>>().join(", ");
    let json = Value::Object(row.clone()).to_string().replace('\'', "''");
    format!(
        "INSERT INTO {table} AS target ({columns}) OVERRIDING SYSTEM VALUE \
         SELECT {columns} FROM jsonb_populate_record(NULL::{table}, '{json}'::jsonb)"
    )
}

async fn insert(conn: &mut PgConnection, table: &str, row: &Row) -> Result<Row, sqlx::Error> {
    sqlx::raw_sql("SAVEPOINT make_row").execute(&mut *conn).await?;
    // With the star: a table may have a column of the alias's name.
    let statement = format!("{} RETURNING to_jsonb(target.*)", insert_statement(table, row));
    match sqlx::query_scalar::<_, sqlx::types::Json<Row>>(AssertSqlSafe(statement)).fetch_one(&mut *conn).await {
        Ok(row) => {
            sqlx::raw_sql("RELEASE SAVEPOINT make_row").execute(conn).await?;
            Ok(row.0)
        }
        Err(error) => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT make_row; RELEASE SAVEPOINT make_row").execute(conn).await?;
            Err(error)
        }
    }
}

/// `schema.table`, quoted where needed.
pub(super) async fn quoted_name(conn: &mut PgConnection, table: i64) -> Result<String, String> {
    sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = $1::oid",
    )
    .bind(table)
    .fetch_one(conn)
    .await
    .map_err(|error| error.to_string())
}

async fn existing_row(conn: &mut PgConnection, table: &str) -> Result<Option<Row>, String> {
    let statement = format!("SELECT to_jsonb(t) FROM {table} t LIMIT 1");
    sqlx::query_scalar::<_, sqlx::types::Json<Row>>(AssertSqlSafe(statement))
        .fetch_optional(conn)
        .await
        .map(|row| row.map(|row| row.0))
        .map_err(|error| error.to_string())
}

async fn columns(conn: &mut PgConnection, table: i64) -> Result<Vec<Column>, String> {
    sqlx::query_as(
        "SELECT a.attname::text AS name, a.attnotnull OR t.typnotnull AS not_null, \
                a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' AS is_filled, \
                t.typcategory::text AS category, coalesce(base.typname, t.typname)::text AS base_type, \
                ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = coalesce(base.oid, t.oid) ORDER BY enumsortorder) AS labels, \
                ARRAY(SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c \
                       WHERE c.contype = 'c' AND (c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey) OR c.contypid = t.oid)) AS checks \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type base ON base.oid = t.typbasetype \
         WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(table)
    .fetch_all(conn)
    .await
    .map_err(|error| error.to_string())
}

async fn foreign_keys(conn: &mut PgConnection, table: i64) -> Result<Vec<ForeignKey>, String> {
    sqlx::query_as(
        "SELECT c.confrelid::bigint AS parent, \
                EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.confrelid AND attname = 'tenant_id' AND NOT attisdropped) AS parent_has_tenant, \
                ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, n) \
                        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num ORDER BY k.n) AS columns, \
                ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(num, n) \
                        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num ORDER BY k.n) AS parent_columns \
         FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = $1::oid AND c.conparentid = 0 ORDER BY c.conname",
    )
    .bind(table)
    .fetch_all(conn)
    .await
    .map_err(|error| error.to_string())
}

async fn check_columns(conn: &mut PgConnection, table: i64, constraint: &str) -> Result<Vec<String>, String> {
    sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_constraint c \
           JOIN pg_attribute a ON a.attrelid = $1::oid AND (a.attnum = ANY (c.conkey) OR a.atttypid = c.contypid) \
         WHERE c.conname = $2 AND (c.conrelid = $1::oid OR c.contypid <> 0) AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(table)
    .bind(constraint)
    .fetch_all(conn)
    .await
    .map_err(|error| error.to_string())
}

async fn index_columns(conn: &mut PgConnection, table: i64, index: &str) -> Result<Vec<String>, String> {
    sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
           JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[]) \
         WHERE x.indrelid = $1::oid AND i.relname = $2 ORDER BY a.attnum",
    )
    .bind(table)
    .bind(index)
    .fetch_all(conn)
    .await
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permitted_values_are_read_from_a_check() {
        assert_eq!(string_literals("CHECK ((role = ANY (ARRAY['owner'::text, 'member'::text])))"), ["owner", "member"]);
        assert!(string_literals("CHECK ((n > 0))").is_empty());
    }

    #[test]
    fn a_quote_in_a_value_or_a_name_cannot_end_the_statement() {
        let row = Row::from_iter([("a\"b".to_owned(), json!("it's"))]);
        let statement = insert_statement("s.t", &row);
        assert!(statement.contains("(\"a\"\"b\")"), "{statement}");
        assert!(statement.contains("it''s"), "{statement}");
    }
}
