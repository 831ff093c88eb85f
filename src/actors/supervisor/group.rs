//! A group of children: started in order, stopped in reverse, given up together.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::policy::{Decision, RestartPolicy, RestartWindow};
use super::{ArbiterHandle, ChildHandle, ChildSpec, ChildState, ChildStatus, Owner, StartError, jitter, supervise};
use crate::actors::ask::{ActorMetrics, ChildActor};

/// A child that could not be brought up, after all the restarts that its specification and its group allow.
#[derive(Debug, thiserror::Error)]
#[error("the child {name} ended up {state:?} instead of running")]
pub struct StartFailed {
    /// Name of the child.
    pub name: String,
    /// [`ChildState::Failed`], or [`ChildState::Stopped`] if it was stopped meanwhile.
    pub state: ChildState,
}

/// What one child looks like from outside, for the health page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildReport {
    /// Name of the child.
    pub name: String,
    /// State of the child now.
    pub state: ChildState,
    /// How often it was built again since the program started.
    pub n_restarts: u64,
}

/// Supervises children one for one. A child that used up its own intensity is restarted on the group's account; when
/// that is used up too, the child stays down and the group [escalates](Supervisor::escalated). Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    metrics: ActorMetrics,
    account: Arc<Account>,
    /// In order of their start.
    children: Arc<Mutex<Vec<Arc<ChildStatus>>>>,
}

impl Supervisor {
    /// A group without children. `policy` is the group's own account.
    pub fn new(policy: RestartPolicy, metrics: ActorMetrics) -> Self {
        let account = Account { window: Mutex::new(RestartWindow::new(policy)), escalated: watch::Sender::new(None) };
        Self { metrics, account: Arc::new(account), children: Arc::default() }
    }

    /// Starts a child and waits until it runs, so that the next one can rely on it.
    ///
    /// # Errors
    /// [`StartFailed`] when it could not be brought up; the group has escalated then.
    pub async fn start<A, F, W>(
        &self,
        arbiter: &ArbiterHandle,
        spec: ChildSpec,
        factory: F,
    ) -> Result<ChildHandle<A>, StartFailed>
    where
        A: ChildActor,
        F: Fn() -> W + Send + 'static,
        W: Future<Output = Result<A, StartError>> + 'static,
    {
        let owner: Arc<dyn Owner> = Arc::<Account>::clone(&self.account);
        let child = supervise(arbiter, spec, &self.metrics, owner, factory);
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&child.status));
        match child.settled().await {
            ChildState::Running => Ok(child),
            state => Err(StartFailed { name: child.actor.name().to_owned(), state }),
        }
    }

    /// Resolves with the name of the first child that stays down, which means that the program cannot do its work.
    /// Level-triggered: it resolves also when that happened before the call.
    pub async fn escalated(&self) -> String {
        let mut escalated = self.account.escalated.subscribe();
        match escalated.wait_for(Option::is_some).await {
            Ok(name) => name.clone().unwrap_or_default(),
            // The sender lives in `self`, so this cannot be reached while somebody waits here.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Stops all children, the last started first, each within its shutdown timeout.
    pub async fn stop(&self) {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for child in children.iter().rev() {
            child.stop().await;
        }
    }

    /// All children ever started here, in that order.
    pub fn reports(&self) -> Vec<ChildReport> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.iter().map(|child| child.report()).collect()
    }
}

/// The group's own account of restarts.
struct Account {
    window: Mutex<RestartWindow>,
    escalated: watch::Sender<Option<String>>,
}

impl Owner for Account {
    fn child_exhausted(&self, _name: &str) -> Decision {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).record(Instant::now(), jitter())
    }

    fn child_failed(&self, name: &str) {
        self.escalated.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| name.to_owned());
            is_first
        });
    }
}
