//! How events become figures.

use chrono::{DateTime, Utc};

use super::meter::Aggregation;

/// Largest figure of a counter: what is counted and what is set aside can be added, and nothing overflows.
pub const MAX_FIGURE: i64 = i64::MAX / 4;

/// What a counter shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figure {
    /// Used in the period.
    pub used: i64,
    /// What came in after the period was closed.
    pub late: i64,
    /// Events counted.
    pub n_events: i64,
    /// For [`Aggregation::Latest`]: when the figure occurred.
    pub latest_at: Option<DateTime<Utc>>,
}

/// An event as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How the meter counts.
    pub aggregation: Aggregation,
    /// How much.
    pub quantity: i64,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// Whether its period is closed.
    pub is_late: bool,
    /// For [`Aggregation::Unique`]: whether the period had not seen its value.
    pub is_new_value: bool,
}

impl Counted {
    /// What the event adds, where events add something.
    fn addend(&self) -> Option<i64> {
        match self.aggregation {
            Aggregation::Sum => Some(self.quantity),
            Aggregation::Count => Some(1),
            Aggregation::Unique => Some(i64::from(self.is_new_value)),
            Aggregation::Max | Aggregation::Latest => None,
        }
    }

    /// The most that the event can add to a figure.
    #[must_use]
    pub fn largest_addend(&self) -> i64 {
        match self.aggregation {
            Aggregation::Sum | Aggregation::Max => self.quantity,
            Aggregation::Count | Aggregation::Unique => 1,
            Aggregation::Latest => 0,
        }
    }
}

impl Figure {
    /// Counts an event. What is late never changes what was used: for the largest quantity, what it is larger by is late; the
    /// latest quantity of a closed period stays.
    pub fn count(&mut self, event: &Counted) {
        self.n_events = self.n_events.saturating_add(1);
        match (event.addend(), event.is_late) {
            (Some(addend), false) => self.used = self.used.saturating_add(addend),
            (Some(addend), true) => self.late = self.late.saturating_add(addend),
            (None, is_late) => match (event.aggregation, is_late) {
                (Aggregation::Max, false) => self.used = self.used.max(event.quantity),
                (Aggregation::Max, true) => self.late = self.late.max(event.quantity.saturating_sub(self.used)),
                (Aggregation::Latest, false) if self.latest_at <= Some(event.occurred_at) => {
                    self.used = event.quantity;
                    self.latest_at = Some(event.occurred_at);
                }
                (Aggregation::Latest | Aggregation::Sum | Aggregation::Count | Aggregation::Unique, _) => {}
            },
        }
    }

    /// Whether events that add at most `addend` together can be counted.
    #[must_use]
    pub fn has_room_for(&self, addend: i128) -> bool {
        i128::from(self.used) + i128::from(self.late) + addend <= i128::from(MAX_FIGURE)
    }
}

/// How an hour's figure changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HourMode {
    /// It grows by what comes in.
    Add,
    /// The larger one stays.
    Max,
    /// The later one stays.
    Latest,
}

impl HourMode {
    /// Its name in statements.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Max => "max",
            Self::Latest => "latest",
        }
    }
}

/// What events of one hour come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourFigure {
    /// How it is joined with what is there.
    pub mode: HourMode,
    /// How much.
    pub quantity: i64,
    /// Events.
    pub n_events: i64,
    /// For [`HourMode::Latest`]: when the quantity occurred.
    pub latest_at: Option<DateTime<Utc>>,
}

impl HourFigure {
    /// An hour without events.
    #[must_use]
    pub fn new(aggregation: Aggregation) -> Self {
        let mode = match aggregation {
            Aggregation::Sum | Aggregation::Count | Aggregation::Unique => HourMode::Add,
            Aggregation::Max => HourMode::Max,
            Aggregation::Latest => HourMode::Latest,
        };
        Self { mode, quantity: 0, n_events: 0, latest_at: None }
    }

    /// Counts an event, late or not: an hour shows what happened in it.
    pub fn count(&mut self, event: &Counted) {
        let in_time = Counted { is_late: false, ..*event };
        let mut figure = Figure { used: self.quantity, late: 0, n_events: self.n_events, latest_at: self.latest_at };
        figure.count(&in_time);
        (self.quantity, self.n_events, self.latest_at) = (figure.used, figure.n_events, figure.latest_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(aggregation: Aggregation, events: &[(i64, i64, bool, bool)]) -> (i64, i64, i64) {
        let mut figure = Figure::default();
        for (quantity, second, is_late, is_new_value) in events {
            let occurred_at = DateTime::from_timestamp(*second, 0).expect("a time");
            let (quantity, is_late, is_new_value) = (*quantity, *is_late, *is_new_value);
            figure.count(&Counted { aggregation, quantity, occurred_at, is_late, is_new_value });
        }
        (figure.used, figure.late, figure.n_events)
    }

    #[test]
    fn each_aggregation_makes_its_figure() {
        let events = [(5, 10, false, true), (9, 30, false, false), (2, 20, false, true)];
        assert_eq!(counted(Aggregation::Sum, &events), (16, 0, 3));
        assert_eq!(counted(Aggregation::Count, &events), (3, 0, 3));
        assert_eq!(counted(Aggregation::Max, &events), (9, 0, 3));
        assert_eq!(counted(Aggregation::Unique, &events), (2, 0, 3));
        assert_eq!(counted(Aggregation::Latest, &events), (9, 0, 3), "by when it occurred, not by when it came in");
    }

    #[test]
    fn what_is_late_does_not_change_what_was_used() {
        let events = [(5, 10, false, true), (9, 30, true, true), (7, 31, true, true)];
        assert_eq!(counted(Aggregation::Sum, &events), (5, 16, 3));
        assert_eq!(counted(Aggregation::Count, &events), (1, 2, 3));
        assert_eq!(counted(Aggregation::Max, &events), (5, 4, 3), "9 is 4 more than what was billed");
        assert_eq!(counted(Aggregation::Unique, &events), (1, 2, 3));
        assert_eq!(counted(Aggregation::Latest, &events), (5, 0, 3));
    }

    #[test]
    fn a_figure_has_an_end() {
        let full = Figure { used: MAX_FIGURE - 10, ..Figure::default() };
        assert!(full.has_room_for(10) && !full.has_room_for(11));
        assert!(!Figure { late: 1, ..full }.has_room_for(10));
        assert!(!full.has_room_for(i128::MAX / 2));
    }
}
