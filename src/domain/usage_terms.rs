//! Which of the terms that held in a month price its usage.
//!
//! Those that held last: what was used before and after a change is one figure. But nobody leaves an overage behind by leaving: what
//! follows an end within the month prices its usage only if it costs as much or more, as a larger plan would have held at once. What
//! costs less would have held from the month's end on, and without an end it would not price this one.

/// Terms that held at a month's first instant, or began to hold within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// They are what an end within the month has left.
    pub is_left: bool,
    /// Nothing is paid for them yet.
    pub is_trial: bool,
    /// What they cost a month, in the currency's smallest unit.
    pub monthly_minor: i64,
}

/// The place of the terms that price a month's usage among those that held in it, in their order; `None` if there are none. A trial
/// that is left for what is free of charge has ended, too.
#[must_use]
pub fn that_price_usage(held: &[Held]) -> Option<usize> {
    let (first, later) = held.split_first()?;
    let (mut place, mut priced, mut has_ended) = (0, first, false);
    for (before, next) in later.iter().enumerate() {
        has_ended |= next.is_left || (priced.is_trial && next.monthly_minor == 0);
        if has_ended && (next.is_left || next.monthly_minor < priced.monthly_minor) {
            continue;
        }
        (place, priced, has_ended) = (before + 1, next, false);
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(monthly_minor: i64) -> Held {
        Held { is_left: false, is_trial: false, monthly_minor }
    }

    fn trial(monthly_minor: i64) -> Held {
        Held { is_trial: true, ..running(monthly_minor) }
    }

    fn left(monthly_minor: i64) -> Held {
        Held { is_left: true, ..running(monthly_minor) }
    }

    #[test]
    fn what_held_last_prices_usage() {
        for (held, place) in [
            (&[][..], None),
            (&[running(4_900)], Some(0)),
            (&[running(0), running(4_900), running(19_900)], Some(2)),
            // The platform may put a tenant on less at any time.
            (&[running(19_900), running(0)], Some(1)),
            (&[trial(4_900), running(4_900)], Some(1)),
            (&[trial(4_900), trial(19_900)], Some(1)),
            (&[trial(19_900), trial(4_900)], Some(1)),
        ] {
            assert_eq!(that_price_usage(held), place, "{held:?}");
        }
    }

    #[test]
    fn an_end_leaves_no_usage_without_its_price() {
        for (held, place) in [
            (&[running(4_900), left(0)][..], 0),
            // Where nothing is free of charge, what is left is what there was.
            (&[running(4_900), left(4_900)], 0),
            (&[running(0), running(4_900), left(0)], 1),
            (&[trial(4_900), left(0)], 0),
            (&[trial(4_900), running(0)], 0),
            // Nothing was there before.
            (&[left(0)], 0),
            (&[left(0), running(4_900)], 1),
        ] {
            assert_eq!(that_price_usage(held), Some(place), "{held:?}");
        }
    }

    #[test]
    fn what_is_agreed_after_an_end_prices_usage_if_it_costs_as_much() {
        for (held, place) in [
            (&[running(4_900), left(0), running(0)][..], 0),
            (&[running(19_900), left(0), running(4_900)], 0),
            (&[running(19_900), left(0), running(4_900), left(0), running(0)], 0),
            (&[running(4_900), left(0), running(4_900)], 2),
            (&[running(4_900), left(0), running(0), running(19_900)], 3),
            (&[running(4_900), left(0), running(19_900), left(0)], 2),
            // The end was that of the dearer one; the platform's change after the new beginning is like any other.
            (&[running(4_900), left(0), running(4_900), running(0)], 3),
        ] {
            assert_eq!(that_price_usage(held), Some(place), "{held:?}");
        }
    }
}
