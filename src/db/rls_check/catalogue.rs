//! The part of the check that reads the system catalogue: quick, read-only, for any role.

use sqlx::{AssertSqlSafe, PgConnection};

use super::report::{Finding, Level};
use super::{CheckError, Options};

const RULES: &str = include_str!("catalogue.sql");

/// Runs every rule. `conn` must be outside a transaction; it is left so.
pub(super) async fn check(conn: &mut PgConnection, options: &Options) -> Result<Vec<Finding>, CheckError> {
    sqlx::raw_sql("BEGIN READ ONLY; SET LOCAL search_path = ''").execute(&mut *conn).await?;
    let rows: Result<Vec<(String, String, String, String)>, sqlx::Error> =
        sqlx::query_as(AssertSqlSafe(RULES)).bind(&options.app_roles).fetch_all(&mut *conn).await;
    sqlx::raw_sql("ROLLBACK").execute(conn).await?;
    let finding = |(code, level, object, message): (String, String, String, String)| Finding {
        level: if level == "WARN" { Level::Warn } else { Level::Error },
        code,
        object,
        message,
    };
    Ok(rows?.into_iter().map(finding).collect())
}
