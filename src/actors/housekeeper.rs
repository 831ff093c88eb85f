//! Small regular tasks of this process alone: forgetting idle addresses, reading a changed certificate. What must happen once for
//! all processes is not for here.

use std::sync::Arc;
use std::time::Duration;

use super::ask::{ChildActor, Ctx};

/// One task.
#[derive(Clone)]
pub struct Chore {
    /// Name, for the log.
    pub name: &'static str,
    /// Time from the end of one run to the next.
    pub every: Duration,
    /// What to do: quick, without waiting for anything.
    pub run: Arc<dyn Fn() + Send + Sync>,
}

/// Runs chores.
pub struct Housekeeper {
    chores: Vec<Chore>,
}

impl Housekeeper {
    /// A housekeeper for these chores.
    #[must_use]
    pub fn new(chores: Vec<Chore>) -> Self {
        Self { chores }
    }
}

impl ChildActor for Housekeeper {
    const KIND: &'static str = "housekeeper";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        for chore in self.chores.clone() {
            arm(chore, ctx);
        }
    }
}

/// Armed anew when it is done: an interval would fire in a burst after a stall.
fn arm(chore: Chore, ctx: &mut Ctx<'_, Housekeeper>) {
    ctx.run_later(chore.every, move |_actor, ctx| {
        tracing::trace!(chore = chore.name, "chore");
        (chore.run)();
        arm(chore, ctx);
    });
}
