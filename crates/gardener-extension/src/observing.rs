//! When to look behind an Extension, and what was found last. In workers of its own: a shoot takes its time, and no operation waits for it.

mod sight;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gardener_api::{Cluster, Extension};
use jiff::Timestamp;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource as _};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::{self, Backoff};
use crate::cache::{Cache, OBSERVED_LIMIT};
use crate::call::call;
use crate::config::{ControllerConfig, ObservationConfig};
use crate::events::{EventSink, Notice};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::observer::{Observation, Observer, Subject, Unseen, generic_kubeconfig};
use crate::operation::Trigger;
use crate::queue::{Next, Queue};
use sight::{Sight, sight};

/// Times are cut by up to this part, so that shoots that began together do not stay together.
const JITTER: f64 = 0.2;

/// See the module.
pub(crate) struct Observing {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) cache: Arc<Cache>,
    /// Looks that are due.
    pub(crate) looks: Queue<Key>,
    /// Told of what was found.
    pub(crate) health: Arc<Queue<Key>>,
    pub(crate) records: Records,
    pub(crate) metrics: Metrics,
}

/// What is known of each Extension. All of it can be lost: then the status stays as it is until the next look.
#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<Key, Record>>);

struct Record {
    /// Another state of it is reason for another look.
    sight: Sight,
    looked: Option<Instant>,
    /// Failures in a row, and since when.
    failures: u32,
    failing_since: Option<(Instant, Timestamp)>,
    latest: Option<Arc<Observation>>,
    /// Dropped, it ends the look that is under way.
    under_way: Option<oneshot::Sender<()>>,
}

impl Record {
    fn new(sight: Sight) -> Self {
        Self { sight, looked: None, failures: 0, failing_since: None, latest: None, under_way: None }
    }
}

impl Observing {
    /// Something about the Extension, its ManagedResource or its Cluster may have changed: plans a look, if that is so, and ends them all where
    /// nothing is to be seen. Costs no call.
    pub(crate) fn notice(&self, key: &Key) {
        let sight = self.sight(key);
        let Sight::Nothing = sight else {
            let wait = {
                let mut records = self.records.lock();
                match records.get_mut(key) {
                    Some(record) if record.sight == sight => return,
                    Some(record) => {
                        record.sight = sight;
                        let since = record.looked.map_or(Duration::MAX, |looked| looked.elapsed());
                        self.times().spacing.saturating_sub(since)
                    }
                    // After a start these are all that there are: they share the time.
                    None => {
                        records.insert(key.clone(), Record::new(sight));
                        self.times().first.mul_f64(backoff::random())
                    }
                }
            };
            self.looks.add_after(key.clone(), Trigger::Awaited, wait);
            return;
        };
        self.forget(key);
    }

    /// Nothing is to be seen any more. A look under way ends.
    pub(crate) fn forget(&self, key: &Key) {
        if self.records.lock().remove(key).is_some() {
            self.observer.forget(&key.namespace);
        }
    }

    /// What was found last.
    pub(crate) fn latest(&self, key: &Key) -> Option<Arc<Observation>> {
        self.records.lock().get(key)?.latest.clone()
    }

    /// Who is the reason for what is not good, as far as that is known.
    pub(crate) fn detail(&self, key: &Key, extension: &Extension) -> Option<String> {
        let latest = self.records.lock().get(key)?.latest.clone();
        match latest {
            Some(latest) => self.observer.detail(&latest.status),
            // A process before this one has seen it.
            None => self.observer.detail(&stands(extension, &self.times().key)?),
        }
    }

    /// Looks once, and says when to look again.
    pub(crate) async fn look(&self, key: &Key) -> Next {
        let (sight, extension) = (self.sight(key), self.cache.extension(key));
        let Some(extension) = extension.filter(|_| sight != Sight::Nothing) else {
            self.forget(key);
            return Next::Nothing;
        };
        let (under_way, ended) = oneshot::channel::<()>();
        let before = {
            let mut records = self.records.lock();
            let record = records.entry(key.clone()).or_insert_with(|| Record::new(sight));
            (record.sight, record.looked, record.under_way) = (sight, Some(Instant::now()), Some(under_way));
            record.latest.as_ref().map(|latest| latest.status.clone())
        };
        let before = before.or_else(|| stands(&extension, &self.times().key));
        if sight == Sight::Asleep {
            let status = self.observer.unseen(before.as_ref(), Timestamp::now(), &Unseen::Hibernated);
            let (_, notices) = self.took(key, Ok(Observation { status, is_settled: true }), before.as_ref());
            self.publish(&extension, notices).await;
            return Next::Nothing;
        }
        let found = async {
            let generic_kubeconfig = self.generic_kubeconfig(key).await?;
            let subject = Subject { namespace: key.namespace.clone(), generic_kubeconfig, before: before.clone() };
            self.observer.observe(&subject).await
        };
        let (next, notices) = tokio::select! {
            found = found => self.took(key, found, before.as_ref()),
            _ = ended => return Next::Nothing,
        };
        self.publish(&extension, notices).await;
        next
    }

    async fn publish(&self, extension: &Extension, notices: Vec<Notice>) {
        let events = EventSink::new(self.recorder.clone(), extension.object_ref(&()));
        for notice in notices {
            events.publish(notice).await;
        }
    }

    /// Keeps what was found, and has it written if it is news; what is to be told of it.
    fn took(&self, key: &Key, found: Result<Observation, String>, before: Option<&Value>) -> (Next, Vec<Notice>) {
        let (times, mut records) = (self.times(), self.records.lock());
        // The Extension went meanwhile.
        let Some(record) = records.get_mut(key) else { return (Next::Nothing, Vec::new()) };
        record.under_way = None;
        self.metrics.observed(found.is_ok());
        let (observation, wait) = match found {
            Ok(observation) => {
                (record.failures, record.failing_since) = (0, None);
                let is_settled = observation.is_settled && record.sight.is_good();
                (Some(observation), if is_settled { times.settled } else { times.unsettled })
            }
            Err(reason) => {
                record.failures = record.failures.saturating_add(1);
                let (begun, since) = *record.failing_since.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
                let grace = if before.is_some() { times.grace } else { times.first_grace };
                tracing::debug!(object.r#ref = %key, reason, failures = record.failures, "nothing was seen behind the Extension");
                let status =
                    (begun.elapsed() >= grace).then(|| self.observer.unseen(before, since, &Unseen::Failed(reason)));
                let backoff = Backoff { first: times.unsettled, factor: 2, cap: times.settled };
                let unseen = status.map(|status| Observation { status, is_settled: false });
                // What is random comes below.
                (unseen, backoff.delay(record.failures, 0.0))
            }
        };
        let mut notices = Vec::new();
        if let Some(observation) = observation
            && record.latest.as_deref() != Some(&observation)
        {
            notices = self.observer.notices(before, &observation.status);
            record.latest = Some(Arc::new(observation));
            self.health.add(key.clone(), Trigger::Changed);
        }
        (Next::After(wait.mul_f64(1.0 - JITTER * backoff::random()), Trigger::Resync.into()), notices)
    }

    fn sight(&self, key: &Key) -> Sight {
        let Some(extension) = self.cache.extension(key) else { return Sight::Nothing };
        let cluster = self.cache.cluster(&key.namespace);
        let resources = self.config.health.managed_resources.iter();
        let resources: Vec<_> = resources
            .map(|name| self.cache.managed_resource(&Key { namespace: key.namespace.clone(), name: name.clone() }))
            .collect();
        sight(&extension, cluster.as_ref(), &resources)
    }

    /// Of most Clusters it is kept; of one that is too large, asked for.
    async fn generic_kubeconfig(&self, key: &Key) -> Result<String, String> {
        if let Some(kept) = self.cache.lean_cluster(&key.namespace) {
            return Ok(generic_kubeconfig(Some(&kept.cluster)));
        }
        let clusters: Api<Cluster> = Api::all(self.client.clone());
        let read = call("get metadata of", format!("Cluster {}", key.namespace), clusters.get_metadata(&key.namespace));
        let metadata = read.await.map_err(|error| observability::ErrorChain(&error).to_string())?.metadata;
        let cluster = Cluster { metadata, shoot: None, faults: gardener_api::Faults::default() };
        Ok(generic_kubeconfig(Some(&cluster)))
    }

    fn times(&self) -> &ObservationConfig {
        &self.config.observation
    }
}

/// What stands in the status under this key.
pub(crate) fn stands(extension: &Extension, key: &str) -> Option<Value> {
    let mut status = extension.status.as_ref()?.provider_status.as_ref()?.read(OBSERVED_LIMIT).ok()?;
    status.get_mut(key).map(Value::take)
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
