//! Counting what is in the spool: some segments a round, tenant by tenant, each file deleted when all of it is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;

use super::ingest::MeterContext;
use super::messages::RecordUsageError;
use super::metrics::Via;
use super::spool::segment::Segment;
use super::spool::{Spool, leftovers};
use crate::domain::ids::TenantId;
use crate::domain::usage::{UsageAnswer, UsageEvent};

/// Segments that are read at once, which bounds the memory.
const SEGMENTS_AT_ONCE: usize = 16;
/// Tenants that are counted at once.
const TENANTS_AT_ONCE: usize = 2;
/// Events of one transaction.
const EVENTS_AT_ONCE: usize = 5_000;
/// File for what cannot be counted, one JSON object a line. Somebody has to look at it.
const REJECTED: &str = "rejected";

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Everything that was there is counted.
    Whole,
    /// There is more, and nothing is in the way.
    More,
    /// Something could not be counted now.
    Failed,
}

/// Counts what this process wrote; also returns of how many tenants.
pub(super) async fn own(context: &Arc<MeterContext>) -> (Round, u32) {
    let spool = Arc::clone(&context.spool);
    let sealed = blocking(move || {
        spool.seal_all();
        spool.sealed()
    });
    let Some(paths) = sealed.await else { return (Round::Failed, 0) };
    let round = paths_round(context, paths).await;
    context.metrics.spool_bytes.set(i64::try_from(context.spool.n_bytes()).unwrap_or(i64::MAX));
    round
}

/// Counts what dead processes left.
pub(super) async fn leftover(context: &Arc<MeterContext>) -> Round {
    let spool = Arc::clone(&context.spool);
    let Some(found) = blocking(move || leftovers::adopt(&spool)).await else { return Round::Failed };
    let mut worst = Round::Whole;
    for leftover in found {
        tracing::info!(n_segments = leftover.segments.len(), "counting usage that another process left");
        for paths in leftover.segments.chunks(SEGMENTS_AT_ONCE) {
            if paths_round(context, paths.to_vec()).await.0 != Round::Whole {
                worst = Round::Failed;
                // One segment or tenant must not hold up the others; without the database none can be counted.
                if context.db.ping().await.is_err() {
                    return worst;
                }
            }
        }
        leftover.remove_if_empty();
    }
    if worst == Round::Whole {
        context.spool.set_leftover_bytes(0);
    }
    worst
}

async fn paths_round(context: &Arc<MeterContext>, mut paths: Vec<PathBuf>) -> (Round, u32) {
    let has_more = paths.len() > SEGMENTS_AT_ONCE;
    paths.truncate(SEGMENTS_AT_ONCE);
    if paths.is_empty() {
        return (Round::Whole, 0);
    }
    let spool = Arc::clone(&context.spool);
    let Some(Readable { segments, n_unreadable }) = blocking(move || read(&spool, paths)).await else {
        return (Round::Failed, 0);
    };
    let settled = count(context, &segments).await;
    let n_tenants = settled.n_tenants;
    let (context_, n_segments) = (Arc::clone(context), segments.len());
    let Some(n_finished) = blocking(move || finish(&context_, &segments, &settled)).await else {
        return (Round::Failed, n_tenants);
    };
    let round = match (n_finished == n_segments && n_unreadable == 0, has_more) {
        (true, false) => Round::Whole,
        (true, true) => Round::More,
        // What is in the way was postponed, so those behind it are next.
        (false, true) if n_finished > 0 => Round::More,
        (false, _) => Round::Failed,
    };
    (round, n_tenants)
}

/// What reading some segments gave.
struct Readable {
    segments: Vec<Segment>,
    n_unreadable: usize,
}

/// Reads segments one by one. One that cannot be read is tried again after the others; one that is gone has nothing to be counted.
fn read(spool: &Spool, paths: Vec<PathBuf>) -> Readable {
    let mut readable = Readable { segments: Vec::with_capacity(paths.len()), n_unreadable: 0 };
    for path in paths {
        match Segment::read(path.clone()) {
            Ok(segment) => readable.segments.push(segment),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), "a segment of the spool is gone");
                spool.forget(&path);
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a segment of the spool cannot be read; it is tried again");
                spool.postpone(&path);
                readable.n_unreadable += 1;
            }
        }
    }
    readable
}

/// What came of a round's segments, by their places.
#[derive(Default)]
struct Settled {
    n_tenants: u32,
    /// Have events that were not counted.
    unsettled: BTreeSet<usize>,
    /// Events that never will be, as lines for people.
    rejected: Vec<(usize, String)>,
    /// Events that the database refuses for a reason that is not theirs, the same way.
    broken: Vec<(usize, String)>,
    /// Something was counted.
    has_counted: bool,
}

impl Settled {
    fn and(mut self, part: Self) -> Self {
        self.n_tenants = self.n_tenants.saturating_add(part.n_tenants);
        self.unsettled.extend(part.unsettled);
        self.rejected.extend(part.rejected);
        self.broken.extend(part.broken);
        self.has_counted |= part.has_counted;
        self
    }

    /// What nobody's usage can be counted for waits until somebody has put it right. Where others' is counted it is one tenant's rows,
    /// and its events are set aside: segments hold all tenants' events, and would wait for this one for ever.
    fn decided(mut self) -> Self {
        let broken = std::mem::take(&mut self.broken);
        if self.has_counted {
            self.rejected.extend(broken);
        } else {
            self.unsettled.extend(broken.into_iter().map(|(place, _)| place));
        }
        self
    }
}

/// An event and the place of its segment.
type Placed = (usize, UsageEvent);

async fn count(context: &MeterContext, segments: &[Segment]) -> Settled {
    let mut by_tenant: BTreeMap<TenantId, Vec<Placed>> = BTreeMap::new();
    for (place, segment) in segments.iter().enumerate() {
        for (tenant, event) in segment.events(&context.rules) {
            by_tenant.entry(tenant).or_default().push((place, event));
        }
    }
    let work = by_tenant.into_iter().map(|(tenant, events)| count_tenant(context, tenant, events));
    let parts: Vec<Settled> = stream::iter(work).buffer_unordered(TENANTS_AT_ONCE).collect().await;
    parts.into_iter().fold(Settled::default(), Settled::and).decided()
}

async fn count_tenant(context: &MeterContext, tenant: TenantId, events: Vec<Placed>) -> Settled {
    let mut settled = Settled { n_tenants: 1, ..Settled::default() };
    for chunk in events.chunks(EVENTS_AT_ONCE) {
        match count_chunk(context, tenant, chunk).await {
            Ok(answers) => {
                settled.has_counted |= !answers.iter().all(|answer| matches!(answer, UsageAnswer::Rejected(_)));
                for ((place, event), answer) in chunk.iter().zip(answers) {
                    let reason = match answer {
                        UsageAnswer::Accepted | UsageAnswer::Duplicate => continue,
                        UsageAnswer::Conflict => "another event has its source and key".to_owned(),
                        UsageAnswer::Rejected(reason) => reason,
                    };
                    settled.rejected.push((*place, rejected_line(tenant, event, &reason)));
                }
            }
            Err(RecordUsageError::Broken) => {
                let why = "the database refused this tenant's usage and counted that of others; see the log";
                let lines = chunk.iter().map(|(place, event)| (*place, rejected_line(tenant, event, why)));
                settled.broken.extend(lines);
            }
            Err(_not_now) => settled.unsettled.extend(chunk.iter().map(|(place, _)| *place)),
        }
    }
    settled
}

/// A batch that fails for a reason of its own is counted event by event, so that one does not hold up the rest for ever.
async fn count_chunk(
    context: &MeterContext,
    tenant: TenantId,
    chunk: &[Placed],
) -> Result<Vec<UsageAnswer>, RecordUsageError> {
    let events: Vec<&UsageEvent> = chunk.iter().map(|(_, event)| event).collect();
    match context.take_in(Via::Spool, tenant, &events).await {
        Err(RecordUsageError::Gone) => {
            Ok(events.iter().map(|_| UsageAnswer::Rejected("there is no such tenant".to_owned())).collect())
        }
        Err(RecordUsageError::Failed) => {
            let mut answers = Vec::with_capacity(events.len());
            for event in events {
                answers.push(match context.take_in(Via::Spool, tenant, &[event]).await {
                    Ok(answer) => answer.into_iter().next().unwrap_or(UsageAnswer::Duplicate),
                    Err(RecordUsageError::Failed | RecordUsageError::Gone) => {
                        UsageAnswer::Rejected("the database refused it; see the log".to_owned())
                    }
                    Err(
                        later @ (RecordUsageError::Overloaded
                        | RecordUsageError::Unavailable
                        | RecordUsageError::Broken),
                    ) => return Err(later),
                });
            }
            Ok(answers)
        }
        other => other,
    }
}

fn rejected_line(tenant: TenantId, event: &UsageEvent, reason: &str) -> String {
    let UsageEvent { source, key, meter, quantity, occurred_at, dims, reservation: _ } = event;
    let line = json!({
        "tenant": tenant, "source": source, "key": key, "meter": meter, "quantity": quantity,
        "occurred_at": occurred_at, "dims": dims, "reason": reason,
    });
    line.to_string()
}

/// Lets go of the segments that are settled; returns how many.
fn finish(context: &MeterContext, segments: &[Segment], settled: &Settled) -> usize {
    let mut n_finished = 0;
    for (place, segment) in segments.iter().enumerate() {
        if settled.unsettled.contains(&place) {
            context.spool.postpone(&segment.path);
            continue;
        }
        let lines: Vec<&str> =
            settled.rejected.iter().filter(|(of, _)| *of == place).map(|(_, line)| line.as_str()).collect();
        let done = keep_rejected(context.spool.root(), &lines).and_then(|()| let_go(context, segment));
        match done {
            Ok(()) => {
                context.spool.forget(&segment.path);
                n_finished += 1;
            }
            Err(error) => {
                tracing::error!(%error, "a counted segment of the spool cannot be removed; it is tried again");
                context.spool.postpone(&segment.path);
            }
        }
    }
    n_finished
}

fn keep_rejected(root: &Path, lines: &[&str]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = root.join(REJECTED);
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    for line in lines {
        file.write_all(format!("{line}\n").as_bytes())?;
    }
    file.sync_data()?;
    tracing::error!(path = %path.display(), n = lines.len(), "usage that cannot be counted was set aside");
    Ok(())
}

/// A segment with damaged lines is kept for people; what could be read of it is counted.
fn let_go(context: &MeterContext, segment: &Segment) -> io::Result<()> {
    if segment.n_damaged == 0 {
        return match std::fs::remove_file(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
    }
    let name = segment.path.with_extension("damaged");
    let kept = context.spool.root().join(name.file_name().unwrap_or_default());
    std::fs::rename(&segment.path, &kept)?;
    context.metrics.damaged_lines.inc_by(segment.n_damaged as u64);
    tracing::error!(path = %kept.display(), n = segment.n_damaged, "lines of the spool are damaged; the others are counted");
    Ok(())
}

/// Runs what waits for the disk beside the actors' threads. `None` if it panicked.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "work on the spool failed")).ok()
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
