//! Checks of shoots' nodes, in tasks of their own: a shoot's API server may take its time, and whoever waits for it keeps other shoots waiting. One
//! check at a time for each shoot, so many at a time for all; the removal is called again when its check has finished.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gardener_extension::shoot_access::ShootAccess;
use kube::Client;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::QueryError;
use super::limits::{ABANDONED, AT_A_TIME, DEADLINE};
use crate::removal::nodes::{Tally, tally};

/// What the shoot says of its nodes, or why it says nothing.
pub(crate) type CheckResult = Result<Tally, QueryError>;

/// An Extension whose removal waits for a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Which shoot, and whose removal.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) waiting: Waiting,
    pub(crate) seed: Client,
    /// Secret with the generic kubeconfig.
    pub(crate) generic_kubeconfig: String,
}

/// What asks a shoot.
#[async_trait]
pub(crate) trait QueryShoot: Send + Sync + 'static {
    /// Checks once, with the client of the last check if there is one; gives the client back when it may be used again.
    async fn query(&self, target: &Target, client: Option<Client>) -> (CheckResult, Option<Client>);
}

#[async_trait]
impl QueryShoot for ShootAccess {
    async fn query(&self, target: &Target, client: Option<Client>) -> (CheckResult, Option<Client>) {
        let made = match client {
            Some(client) => Ok(client),
            None => self.client(&target.seed, &target.waiting.namespace, &target.generic_kubeconfig).await,
        };
        let client = match made {
            Ok(client) => client,
            Err(reason) => return (Err(reason.into()), None),
        };
        let nodes = tokio::time::timeout(DEADLINE, super::nodes(&client)).await.unwrap_or(Err(QueryError::Late));
        let answer = nodes.map(|nodes| tally(&nodes, jiff::Timestamp::now()));
        // The token or the certificate authority may have changed.
        let client = answer.is_ok().then_some(client);
        (answer, client)
    }
}

/// How far the check is.
#[derive(Debug, Clone)]
pub(crate) enum NodeCheck {
    /// One has ended; returned once.
    Finished(Arc<CheckResult>),
    /// One is under way. What the one before has found, if there was any: to be shown; it decides nothing.
    InProgress(Option<Arc<CheckResult>>),
}

/// See the module. Dropping it cancels all checks.
pub(crate) struct NodeChecks {
    shared: Arc<Shared>,
}

struct Shared {
    source: Box<dyn QueryShoot>,
    permits: Semaphore,
    /// Checks so far.
    checks: AtomicU64,
    removals: Mutex<HashMap<String, Removal>>,
    ended: mpsc::Sender<Waiting>,
}

/// What is known of one removal. All of it can be lost: then the shoot is asked once more.
struct Removal {
    /// Number of the check in progress.
    in_progress: Option<u64>,
    task: Task,
    latest: Option<Arc<CheckResult>>,
    /// The latest was not returned yet.
    is_unreported: bool,
    /// Generation of the removal's objects that was in the shoot when the latest check began.
    applied: Option<i64>,
    client: Option<Client>,
    used: Instant,
}

#[derive(Default)]
struct Task(Option<AbortHandle>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl std::fmt::Debug for NodeChecks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NodeChecks").field("removals", &self.shared.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for NodeChecks {
    fn drop(&mut self) {
        self.shared.lock().clear();
    }
}

impl NodeChecks {
    /// With `source`. The receiver gets whose check has finished.
    pub(crate) fn new(source: impl QueryShoot) -> (Self, mpsc::Receiver<Waiting>) {
        let (ended, waiting) = mpsc::channel(AT_A_TIME);
        let (permits, removals) = (Semaphore::new(AT_A_TIME), Mutex::default());
        let shared = Shared { source: Box::new(source), permits, checks: AtomicU64::new(0), removals, ended };
        (Self { shared: Arc::new(shared) }, waiting)
    }

    /// What the last check of this removal (the Extension's uid) has found, if it has ended since the last call; else one is begun, unless one
    /// is under way. `applied`: the generation of the removal's objects that is in the shoot now. What the nodes said before it was there
    /// proves nothing, so such a check is made once more.
    pub(crate) fn check(&self, removal: &str, target: &Target, applied: Option<i64>) -> NodeCheck {
        let now = Instant::now();
        let mut removals = self.shared.lock();
        removals.retain(|uid, known| uid == removal || now.duration_since(known.used) < ABANDONED);
        let known = removals.entry(removal.to_owned()).or_insert_with(|| Removal {
            in_progress: None,
            task: Task::default(),
            latest: None,
            is_unreported: false,
            applied: None,
            client: None,
            used: now,
        });
        known.used = now;
        if known.in_progress.is_none() {
            if let Some(answer) = known.latest.clone().filter(|_| std::mem::take(&mut known.is_unreported))
                && (answer.is_err() || known.applied == applied)
            {
                return NodeCheck::Finished(answer);
            }
            let number = self.shared.checks.fetch_add(1, Ordering::Relaxed);
            let check =
                Arc::clone(&self.shared).carry_out(number, removal.to_owned(), target.clone(), known.client.take());
            known.task = Task(Some(tokio::spawn(check).abort_handle()));
            (known.in_progress, known.applied) = (Some(number), applied);
        }
        NodeCheck::InProgress(known.latest.clone())
    }

    /// The removal has ended, or the shoot must not be asked any more: a check in progress is cancelled.
    pub(crate) fn forget(&self, removal: &str) {
        self.shared.lock().remove(removal);
    }
}

impl Shared {
    async fn carry_out(self: Arc<Self>, number: u64, removal: String, target: Target, client: Option<Client>) {
        // It is never closed.
        let Ok(permit) = self.permits.acquire().await else { return };
        let (answer, client) = self.source.query(&target, client).await;
        drop(permit);
        if let Some(known) = self.lock().get_mut(&removal).filter(|known| known.in_progress == Some(number)) {
            (known.in_progress, known.latest, known.is_unreported) = (None, Some(Arc::new(answer)), true);
            known.client = client;
        }
        // Nobody listens any more when the process ends.
        drop(self.ended.send(target.waiting).await);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Removal>> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
