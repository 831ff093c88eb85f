//! Billing periods: half-open, so that every instant lies in exactly one. They are the calendar months of UTC for everybody: usage,
//! limits, prices and bills mean the same month, and whoever reports an event need not know where its tenant or its seller lives.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};

/// A stretch of time `[start, end)` for which usage is counted and billed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// Its first instant.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
}

impl Period {
    /// The calendar month, in UTC, that `at` lies in.
    #[must_use]
    pub fn containing(at: DateTime<Utc>) -> Self {
        let first = NaiveDate::from_ymd_opt(at.year(), at.month(), 1).unwrap_or_else(|| at.date_naive());
        let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        Self { start: midnight(first), end: midnight(next) }
    }

    /// The period before this one.
    #[must_use]
    pub fn previous(&self) -> Self {
        Self::containing(self.start - chrono::TimeDelta::nanoseconds(1))
    }

    /// Whether `at` lies in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }

    /// Its name in the API: the month, such as `2026-11`.
    #[must_use]
    pub fn name(&self) -> String {
        self.start.format("%Y-%m").to_string()
    }

    /// The period of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_month = name.len() == 7 && name.as_bytes().get(4) == Some(&b'-');
        let first = NaiveDate::parse_from_str(&format!("{name}-01"), "%Y-%m-%d").ok().filter(|_| is_month)?;
        Some(Self::containing(first.and_time(NaiveTime::MIN).and_utc()))
    }
}

#[cfg(test)]
#[path = "period_tests.rs"]
mod tests;
