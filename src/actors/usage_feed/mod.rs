//! The feed of usage streams: finds what other processes, and this one, have written, and hands it to those who listen here.
//!
//! One query for all tenants with a listener, a few times a second, and none while nobody listens. It looks into the database
//! rather than being told, so it makes no difference which process counted the usage, and a lost message cannot be.

pub mod forget;
pub mod hub;
mod pace;

use std::sync::Arc;
use std::time::Duration;

pub use hub::{Hub, HubFull, HubLimits, Notice, Place};

use super::ask::{ChildActor, Ctx};
use crate::clock;
use crate::db::stream_feed::{self, News, Question};
use crate::db::{Db, DbError, SystemReason, SystemTx};
use crate::domain::ids::TenantId;
use crate::domain::period::Period;

/// Longest look: a database whose machine has vanished never answers.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// Polls for the hub's listeners.
pub struct UsageFeed {
    db: Db,
    hub: Arc<Hub>,
    every: Duration,
    is_failing: bool,
}

impl UsageFeed {
    /// A feed of this hub that looks so often.
    #[must_use]
    pub fn new(db: Db, hub: Arc<Hub>, every: Duration) -> Self {
        Self { db, hub, every, is_failing: false }
    }

    fn look(&mut self, ctx: &mut Ctx<'_, Self>) {
        let now = clock::now();
        let questions = self.hub.questions(Period::containing(now));
        if questions.is_empty() {
            ctx.run_later(self.every, Self::look);
            return;
        }
        // Of a tenant with more news, the rest follows at the next look.
        let (db, page) = (self.db.clone(), self.hub.page());
        let work = async move {
            let system = SystemTx::new(&db, SystemReason::FeedStreams);
            let news = tokio::time::timeout(LONGEST_LOOK, stream_feed::poll(&system, &questions, now, page)).await;
            (questions, news.unwrap_or(Err(DbError::Silent)))
        };
        ctx.spawn(work, |actor, (questions, news), ctx| {
            actor.hand_out(&questions, news);
            ctx.run_later(actor.every, Self::look);
        });
    }

    /// Hands out; says once that the database went away, and once that it is back.
    fn hand_out(&mut self, questions: &[Question], news: Result<Vec<(TenantId, News)>, DbError>) {
        match news {
            Ok(news) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("streams of usage are fed again");
                }
                self.hub.hand_out(questions, news);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "streams of usage stand still");
                }
            }
        }
    }
}

impl ChildActor for UsageFeed {
    const KIND: &'static str = "usage_feed";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.look(ctx);
    }
}
