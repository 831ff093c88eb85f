//! Months, against PostgreSQL's own calendar and in every zone that it knows: two programs that must mean the same month by an instant.

use businessos::domain::period::Period;
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::TestDatabase;

/// Years whose months are all looked at.
const YEARS: std::ops::RangeInclusive<i32> = 2024..=2034;

/// Instants at which a zone's clock and ours may show different months: the edges of all months, and as far from them as zones are.
fn edges() -> Vec<DateTime<Utc>> {
    let near = [-TimeDelta::hours(14), -TimeDelta::microseconds(1), TimeDelta::zero(), TimeDelta::hours(12)];
    let months =
        YEARS.flat_map(|year| (1..=12).map(move |month| Period::parse(&format!("{year:04}-{month:02}")).unwrap()));
    months.flat_map(|period| near.map(|away| period.start + away)).collect()
}

#[tokio::test]
async fn the_database_and_the_program_mean_the_same_month() {
    let database = TestDatabase::new().await;
    let mut admin = database.connect("postgres").await;
    let edges = edges();
    let sql = "SELECT date_trunc('month', at, 'UTC'), date_trunc('month', at, 'UTC') + interval '1 month'
               FROM unnest($1::timestamptz[]) WITH ORDINALITY AS u (at, n) ORDER BY n";
    sqlx::raw_sql("SET TIME ZONE 'UTC'").execute(&mut admin).await.unwrap();
    let found: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        sqlx::query_as(sql).bind(&edges).fetch_all(&mut admin).await.unwrap();
    assert_eq!(found.len(), edges.len());
    for (at, (start, end)) in edges.into_iter().zip(found) {
        assert_eq!(Period::containing(at), Period { start, end }, "{at}");
    }
}

#[tokio::test]
async fn an_instant_belongs_to_the_same_month_whatever_the_clock_of_its_reporter_shows() {
    let database = TestDatabase::new().await;
    let mut admin = database.connect("postgres").await;
    let zones: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/' AND name NOT IN ('posixrules', 'Factory', 'localtime')",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(zones.len() > 300 && zones.contains(&"Pacific/Apia".to_owned()), "{} zones", zones.len());
    let edges = edges();
    // What a clock there shows, and how far that is from UTC.
    let sql = "SELECT to_char(shown, 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), extract(epoch FROM (shown AT TIME ZONE 'UTC') - at)::bigint
               FROM unnest($1::timestamptz[]) WITH ORDINALITY AS u (at, n), LATERAL (SELECT at AT TIME ZONE $2 AS shown) AS s
               ORDER BY n";
    let mut n_elsewhere = 0;
    for zone in &zones {
        let shown: Vec<(String, i64)> =
            sqlx::query_as(sql).bind(&edges).bind(zone).fetch_all(&mut admin).await.unwrap();
        assert_eq!(shown.len(), edges.len());
        for (at, (clock, away_s)) in edges.iter().zip(shown) {
            // Nobody's month begins further from ours.
            assert!((-12 * 3_600..=14 * 3_600).contains(&away_s) && away_s % 60 == 0, "{zone} {clock}: {away_s}");
            let (sign, minutes) = (if away_s < 0 { '-' } else { '+' }, away_s.abs() / 60);
            let reported = format!("{clock}{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            let read = DateTime::parse_from_rfc3339(&reported).unwrap().to_utc();
            assert_eq!(Period::containing(read), Period::containing(*at), "{zone}: {reported}");
            n_elsewhere += usize::from(!clock.starts_with(&Period::containing(*at).name()));
        }
    }
    assert!(n_elsewhere > 10_000, "the clocks showed another month {n_elsewhere} times");
}
