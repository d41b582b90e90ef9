//! Looks at shoots, in tasks of their own: a shoot's API server may take its time, and whoever waits for it keeps other shoots waiting. One
//! look at a time for each shoot, so many at a time for all; the removal is called again when its look has ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gardener_extension::shoot_access::ShootAccess;
use kube::Client;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Unasked;
use super::limits::{ABANDONED, AT_A_TIME, DEADLINE};
use crate::removal::nodes::{Tally, tally};

/// What the shoot says of its nodes, or why it says nothing.
pub(crate) type Answer = Result<Tally, Unasked>;

/// An Extension whose removal waits for a look.
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

/// Who looks.
#[async_trait]
pub(crate) trait Ask: Send + Sync + 'static {
    /// Looks once, with the client of the last look if there is one; gives the client back when it may be used again.
    async fn ask(&self, target: &Target, client: Option<Client>) -> (Answer, Option<Client>);
}

#[async_trait]
impl Ask for ShootAccess {
    async fn ask(&self, target: &Target, client: Option<Client>) -> (Answer, Option<Client>) {
        let made = match client {
            Some(client) => Ok(client),
            None => self.client(&target.seed, &target.waiting.namespace, &target.generic_kubeconfig).await,
        };
        let client = match made {
            Ok(client) => client,
            Err(reason) => return (Err(reason.into()), None),
        };
        let nodes = tokio::time::timeout(DEADLINE, super::nodes(&client)).await.unwrap_or(Err(Unasked::Late));
        let answer = nodes.map(|nodes| tally(&nodes, jiff::Timestamp::now()));
        // The token or the certificate authority may have changed.
        let client = answer.is_ok().then_some(client);
        (answer, client)
    }
}

/// How far the look is.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    /// One has ended; this is told once.
    Ended(Arc<Answer>),
    /// One is under way. What the one before has found, if there was any: to be told, and to decide nothing.
    UnderWay(Option<Arc<Answer>>),
}

/// See the module. Dropping it ends all looks.
pub(crate) struct Looks {
    shared: Arc<Shared>,
}

struct Shared {
    ask: Box<dyn Ask>,
    places: Semaphore,
    /// Looks so far.
    looks: AtomicU64,
    removals: Mutex<HashMap<String, Removal>>,
    ended: mpsc::Sender<Waiting>,
}

/// What is known of one removal. All of it can be lost: then the shoot is looked at once more.
struct Removal {
    /// Number of the look under way.
    under_way: Option<u64>,
    task: Task,
    latest: Option<Arc<Answer>>,
    /// Nobody was told of the latest.
    is_news: bool,
    /// Generation of the removal's objects that was in the shoot when the latest look began.
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

impl std::fmt::Debug for Looks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Looks").field("removals", &self.shared.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.shared.lock().clear();
    }
}

impl Looks {
    /// By `ask`. The receiver is told whose look has ended.
    pub(crate) fn new(ask: impl Ask) -> (Self, mpsc::Receiver<Waiting>) {
        let (ended, waiting) = mpsc::channel(AT_A_TIME);
        let (places, removals) = (Semaphore::new(AT_A_TIME), Mutex::default());
        let shared = Shared { ask: Box::new(ask), places, looks: AtomicU64::new(0), removals, ended };
        (Self { shared: Arc::new(shared) }, waiting)
    }

    /// What the last look of this removal (the Extension's uid) has found, if it has ended since the last call; else one is begun, unless one
    /// is under way. `applied`: the generation of the removal's objects that is in the shoot now. What the nodes said before it was there
    /// proves nothing, so such a look is made once more.
    pub(crate) fn look(&self, removal: &str, target: &Target, applied: Option<i64>) -> Look {
        let now = Instant::now();
        let mut removals = self.shared.lock();
        removals.retain(|uid, known| uid == removal || now.duration_since(known.used) < ABANDONED);
        let known = removals.entry(removal.to_owned()).or_insert_with(|| Removal {
            under_way: None,
            task: Task::default(),
            latest: None,
            is_news: false,
            applied: None,
            client: None,
            used: now,
        });
        known.used = now;
        if known.under_way.is_none() {
            if let Some(answer) = known.latest.clone().filter(|_| std::mem::take(&mut known.is_news))
                && (answer.is_err() || known.applied == applied)
            {
                return Look::Ended(answer);
            }
            let number = self.shared.looks.fetch_add(1, Ordering::Relaxed);
            let look =
                Arc::clone(&self.shared).carry_out(number, removal.to_owned(), target.clone(), known.client.take());
            known.task = Task(Some(tokio::spawn(look).abort_handle()));
            (known.under_way, known.applied) = (Some(number), applied);
        }
        Look::UnderWay(known.latest.clone())
    }

    /// The removal has ended, or the shoot must not be looked at any more: a look under way is broken off.
    pub(crate) fn forget(&self, removal: &str) {
        self.shared.lock().remove(removal);
    }
}

impl Shared {
    async fn carry_out(self: Arc<Self>, number: u64, removal: String, target: Target, client: Option<Client>) {
        // It is never closed.
        let Ok(place) = self.places.acquire().await else { return };
        let (answer, client) = self.ask.ask(&target, client).await;
        drop(place);
        if let Some(known) = self.lock().get_mut(&removal).filter(|known| known.under_way == Some(number)) {
            (known.under_way, known.latest, known.is_news) = (None, Some(Arc::new(answer)), true);
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
