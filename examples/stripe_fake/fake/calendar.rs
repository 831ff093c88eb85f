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

/// What is left of a month's price from `at` on, rounded half up.
pub fn rest_of(price: i64, at: i64) -> i64 {
    let (start, end) = month(at);
    let (left, all) = (i128::from(end - at), i128::from(end - start));
    i64::try_from((i128::from(price) * left * 2 + all) / (all * 2)).unwrap()
}
