//! The mailer: takes due mail from the outbox and hands it over.
//!
//! Any number of processes may do this at once. An attempt is written down before it is made, with a time until which the mail is
//! nobody else's; so a mail is sent at least once, and twice only if a process dies between handing it over and writing that down.
//! Its `Message-ID` is the same then. The token of a mail's link is made here, so that none lies in the database.

mod delivery;
pub mod tidy;

use std::sync::Arc;
use std::time::Duration;

pub use delivery::Delivery;

use super::ask::{ChildActor, Ctx};
use crate::db::DbError;

/// Time between two looks for due mail.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Rest when there may be more.
const REST: Duration = Duration::from_millis(10);

/// Sends due mail until it is stopped.
#[derive(Debug)]
pub struct MailerActor {
    delivery: Arc<Delivery>,
    is_failing: bool,
}

impl MailerActor {
    /// A mailer with what it takes to deliver.
    #[must_use]
    pub fn new(delivery: Arc<Delivery>) -> Self {
        Self { delivery, is_failing: false }
    }

    fn step(&mut self, ctx: &mut Ctx<'_, Self>) {
        let delivery = Arc::clone(&self.delivery);
        ctx.spawn(async move { delivery.deliver_due().await }, Self::finish_step);
    }

    fn finish_step(&mut self, delivered: Result<usize, DbError>, ctx: &mut Ctx<'_, Self>) {
        let wait = match &delivered {
            Ok(0) | Err(_) => POLL_EVERY,
            Ok(_) => REST,
        };
        // Said once when it begins, and once when it is over.
        match (delivered, self.is_failing) {
            (Err(error), false) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "mail cannot be read from the outbox");
                self.is_failing = true;
            }
            (Ok(_), true) => {
                tracing::info!("mail can be read from the outbox again");
                self.is_failing = false;
            }
            (Err(_), true) | (Ok(_), false) => {}
        }
        // Armed, not called: a stop waits for work under way, and a timer does not fire any more then.
        ctx.run_later(wait, Self::step);
    }
}

impl ChildActor for MailerActor {
    const KIND: &'static str = "mailer";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.step(ctx);
    }
}
