//! Whether the machine has cores to spare: Linux counts what its cores do in `/proc/stat`. Elsewhere nobody knows, and then it has none.

/// What the cores have done since the machine was started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    total: u64,
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two. `None` if
/// it is not that.
fn parse(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [_user, _nice, _system, idle, iowait, ..] = ticks.as_slice() else { return None };
    Some(Ticks { idle: idle + iowait, total: ticks.iter().sum() })
}

/// Looks at the cores now and then.
#[derive(Debug, Default)]
pub(super) struct Cores {
    last: Option<Ticks>,
}

impl Cores {
    /// Whether half of them or more had nothing to do since the last look.
    pub(super) fn are_spare(&mut self) -> bool {
        let now = std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse);
        self.have_been_spare(now)
    }

    fn have_been_spare(&mut self, now: Option<Ticks>) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        let (Some(before), Some(now)) = (before, now) else { return false };
        let (idle, total) = (now.idle.saturating_sub(before.idle), now.total.saturating_sub(before.total));
        total > 0 && idle.saturating_mul(2) >= total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_spare_when_half_of_their_time_was_idle() {
        let mut cores = Cores::default();
        let at = |idle, total| Some(Ticks { idle, total });
        for (now, expected) in [
            // Nothing to compare with.
            (at(100, 1_000), false),
            (at(150, 1_100), true),
            (at(199, 1_200), false),
            // No time has passed.
            (at(199, 1_200), false),
            (None, false),
            (at(300, 1_300), false),
            (at(400, 1_400), true),
        ] {
            assert_eq!(cores.have_been_spare(now), expected, "{now:?}");
        }
    }

    #[test]
    fn guests_are_not_counted_twice_and_what_is_no_line_of_the_kernels_is_none() {
        let stat = "cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse(stat), Some(Ticks { idle: 450, total: 531 }));
        for other in ["", "cpu", "cpu  1 2 3", "cpu  1 2 x 4 5 6 7 8", "intr 1 2 3 4 5 6 7 8"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
