//! Stripe, where it is configured: what it takes to deal with it, and the jobs that do.

use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use crate::actors::cron::Job;
use crate::actors::stripe::Desk;
use crate::clients::stripe::Stripe;
use crate::config::Settings;
use crate::db::{Db, SystemReason, SystemTx, directory};
use crate::domain::tenant::PLATFORM_SLUG;

/// Events are waiting for no longer than this, where nothing is wrong.
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What it takes to deal with Stripe; none without a secret key. The platform's tenant must be there.
pub(super) async fn desk(settings: Arc<Settings>, db: &Db) -> Result<Option<Arc<Desk>>, AppError> {
    let Some(key) = &settings.stripe.secret_key else { return Ok(None) };
    let client = Stripe::new(&settings.stripe, key)?;
    let system = SystemTx::new(db, SystemReason::ResolveTenant);
    let platform = directory::find_by_slug(&system, PLATFORM_SLUG).await.map_err(AppError::Platform)?;
    let platform = platform.ok_or(AppError::NoPlatform)?;
    let pause = Duration::from_millis(settings.stripe.retry_ms);
    Ok(Some(Arc::new(Desk { settings, db: db.clone(), client, platform, pause })))
}

/// The jobs. A name stands in the table of runs: it does not change.
pub(super) fn jobs(desk: &Arc<Desk>) -> [Job; 6] {
    let [processing, keeping, settling, reconciling, syncing, forgetting] = std::array::from_fn(|_| Arc::clone(desk));
    [
        Job::cluster(
            "process_stripe_events",
            "looks at the objects that Stripe's events are about, and notes what became of payments",
            SECOND,
            move || {
                let desk = Arc::clone(&processing);
                async move { Ok(desk.process_due().await?) }
            },
        ),
        Job::cluster(
            "keep_stripe_books",
            "has our books follow payments, and Stripe our subscriptions and invoices",
            SECOND,
            move || {
                let desk = Arc::clone(&keeping);
                async move { Ok(desk.keep_books().await?) }
            },
        ),
        Job::cluster(
            "settle_stripe_requests",
            "finds out what became of requests to Stripe that got no answer",
            MINUTE,
            move || {
                let desk = Arc::clone(&settling);
                async move { Ok(desk.settle_all().await?) }
            },
        ),
        Job::cluster(
            "reconcile_stripe",
            "reads from Stripe's own lists what its events did not tell",
            DAY,
            move || {
                let desk = Arc::clone(&reconciling);
                async move { Ok(desk.reconcile().await?) }
            },
        ),
        Job::cluster("sync_stripe_catalogue", "sees to it that Stripe knows what is sold", HOUR, move || {
            let desk = Arc::clone(&syncing);
            async move { Ok(desk.sync_settings().await?) }
        }),
        Job::cluster(
            "forget_stripe_events",
            "deletes events of Stripe's that were settled over 90 days ago",
            HOUR,
            move || {
                let desk = Arc::clone(&forgetting);
                async move { Ok(desk.forget_events().await?) }
            },
        ),
    ]
}
