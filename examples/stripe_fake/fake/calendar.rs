//! Calendar months in UTC.

use chrono::{DateTime, Datelike, Months, NaiveTime};

/// The first second of the month that `at` lies in, and that of the next one.
pub fn month(at: i64) -> (i64, i64) {
    let day = DateTime::from_timestamp(at, 0).unwrap().date_naive();
    let first = day.with_day(1).unwrap();
    let next = first.checked_add_months(Months::new(1)).unwrap();
    let midnight = |day: chrono::NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp();
    (midnight(first), midnight(next))
}
