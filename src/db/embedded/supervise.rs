//! Watches PostgreSQL and starts it again when it ends.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::EmbeddedState;
use super::error::EmbeddedError;
use super::postmaster::{Cluster, Postmaster};

/// How often the log's size is looked at.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// The pause doubles from the first to the last figure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A PostgreSQL that ran this long is taken for healthy: the next failure starts counting anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Runs until `stop`, then stops PostgreSQL. It never gives up: without its database the server has nothing to do, and
/// a full disk may have room again.
pub(super) async fn run(
    cluster: Cluster,
    mut postmaster: Postmaster,
    publish: watch::Sender<EmbeddedState>,
    stop: CancellationToken,
) -> Result<(), EmbeddedError> {
    let mut failures = 0;
    let mut since = Instant::now();
    loop {
        let status = tokio::select! {
            biased;
            () = stop.cancelled() => {
                let result = postmaster.stop(&cluster.layout.data).await;
                publish.send_replace(EmbeddedState::Stopped);
                return result;
            }
            status = postmaster.wait(&cluster.layout.data) => status,
            () = tokio::time::sleep(LOG_PERIOD) => {
                if let Err(error) = cluster.layout.bound_log() {
                    tracing::warn!(error = %error, "cannot bound PostgreSQL's log");
                }
                continue;
            }
        };
        if since.elapsed() >= HEALTHY_AFTER {
            failures = 0;
        }
        tracing::error!(pid = postmaster.pid().as_raw(), %status, "PostgreSQL has ended; starting it again");
        publish.send_replace(EmbeddedState::Down { failures });
        postmaster = loop {
            if failures > 0 {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause(failures)) => {}
                }
            }
            if stop.is_cancelled() {
                publish.send_replace(EmbeddedState::Stopped);
                return Ok(());
            }
            failures = failures.saturating_add(1);
            match cluster.launch(&stop).await {
                Ok(postmaster) => break postmaster,
                Err(EmbeddedError::Cancelled) => {}
                Err(error) => {
                    tracing::error!(error = %error, failures, "cannot start PostgreSQL; trying again");
                    publish.send_replace(EmbeddedState::Down { failures });
                }
            }
        };
        since = Instant::now();
        let (pid, adopted) = (postmaster.pid().as_raw(), postmaster.is_adopted());
        tracing::info!(pid, adopted, "PostgreSQL accepts connections again");
        publish.send_replace(EmbeddedState::Running { pid, adopted });
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_five_seconds() {
        assert_eq!(pause(1), Duration::from_millis(50));
        assert_eq!(pause(2), Duration::from_millis(100));
        assert_eq!(pause(7), Duration::from_millis(3200));
        assert_eq!(pause(8), LAST_PAUSE);
        assert_eq!(pause(u32::MAX), LAST_PAUSE);
    }
}
