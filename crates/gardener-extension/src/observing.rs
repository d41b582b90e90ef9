//! When to observe what is behind an Extension, and what was found last. In workers of its own: a shoot takes its time, and no operation waits for it.

mod target_state;

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
use crate::queue::{Queue, Requeue};
use target_state::{TargetState, target_state};

/// Times are cut by up to this part, so that shoots that began together do not stay together.
const JITTER: f64 = 0.2;

/// See the module.
pub(crate) struct Observing {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) cache: Arc<Cache>,
    /// Observations that are due.
    pub(crate) queue: Queue<Key>,
    /// Notified of what was found.
    pub(crate) health: Arc<Queue<Key>>,
    pub(crate) records: Records,
    pub(crate) metrics: Metrics,
}

/// What is known of each Extension. All of it can be lost: then the status stays as it is until the next observation.
#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<Key, Record>>);

struct Record {
    /// Another state of it is a reason to observe it again.
    target_state: TargetState,
    observed_at: Option<Instant>,
    /// Failures in a row, and since when.
    failures: u32,
    failing_since: Option<(Instant, Timestamp)>,
    latest: Option<Arc<Observation>>,
    /// Dropped, it cancels the observation that is under way.
    cancel: Option<oneshot::Sender<()>>,
}

impl Record {
    fn new(target_state: TargetState) -> Self {
        Self { target_state, observed_at: None, failures: 0, failing_since: None, latest: None, cancel: None }
    }
}

impl Observing {
    /// Something about the Extension, its ManagedResource or its Cluster may have changed: plans an observation, if that is so, and ends them all where
    /// nothing is to be seen. Costs no call.
    pub(crate) fn notice(&self, key: &Key) {
        let target_state = self.target_state(key);
        let TargetState::Absent = target_state else {
            let wait = {
                let mut records = self.records.lock();
                match records.get_mut(key) {
                    Some(record) if record.target_state == target_state => return,
                    Some(record) => {
                        record.target_state = target_state;
                        let since = record.observed_at.map_or(Duration::MAX, |observed_at| observed_at.elapsed());
                        self.times().spacing.saturating_sub(since)
                    }
                    // After a start these are all that there are: they share the time.
                    None => {
                        records.insert(key.clone(), Record::new(target_state));
                        self.times().first.mul_f64(backoff::random())
                    }
                }
            };
            self.queue.add_after(key.clone(), Trigger::DependencyChanged, wait);
            return;
        };
        self.forget(key);
    }

    /// Nothing is to be seen any more. An observation under way ends.
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
            None => self.observer.detail(&current_status(extension, &self.times().key)?),
        }
    }

    /// Observes once, and returns when to do so again.
    pub(crate) async fn observe(&self, key: &Key) -> Requeue {
        let (target_state, extension) = (self.target_state(key), self.cache.extension(key));
        let Some(extension) = extension.filter(|_| target_state != TargetState::Absent) else {
            self.forget(key);
            return Requeue::Nothing;
        };
        let (cancel, ended) = oneshot::channel::<()>();
        let before = {
            let mut records = self.records.lock();
            let record = records.entry(key.clone()).or_insert_with(|| Record::new(target_state));
            (record.target_state, record.observed_at, record.cancel) =
                (target_state, Some(Instant::now()), Some(cancel));
            record.latest.as_ref().map(|latest| latest.status.clone())
        };
        let before = before.or_else(|| current_status(&extension, &self.times().key));
        if target_state == TargetState::Hibernated {
            let status = self.observer.unseen(before.as_ref(), Timestamp::now(), &Unseen::Hibernated);
            let (_, notices) = self.record_result(key, Ok(Observation { status, is_settled: true }), before.as_ref());
            self.publish(&extension, notices).await;
            return Requeue::Nothing;
        }
        let found = async {
            let generic_kubeconfig = self.generic_kubeconfig(key).await?;
            let subject = Subject { namespace: key.namespace.clone(), generic_kubeconfig, before: before.clone() };
            self.observer.observe(&subject).await
        };
        let (next, notices) = tokio::select! {
            found = found => self.record_result(key, found, before.as_ref()),
            _ = ended => return Requeue::Nothing,
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

    /// Keeps what was found, and has it written if it changed; returns the Events about it.
    fn record_result(
        &self,
        key: &Key,
        found: Result<Observation, String>,
        before: Option<&Value>,
    ) -> (Requeue, Vec<Notice>) {
        let (times, mut records) = (self.times(), self.records.lock());
        // The Extension went meanwhile.
        let Some(record) = records.get_mut(key) else { return (Requeue::Nothing, Vec::new()) };
        record.cancel = None;
        self.metrics.observed(found.is_ok());
        let (observation, wait) = match found {
            Ok(observation) => {
                (record.failures, record.failing_since) = (0, None);
                let is_settled = observation.is_settled && record.target_state.is_good();
                (Some(observation), if is_settled { times.steady_interval } else { times.progressing_interval })
            }
            Err(reason) => {
                record.failures = record.failures.saturating_add(1);
                let (begun, since) = *record.failing_since.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
                let grace = if before.is_some() { times.grace } else { times.first_grace };
                tracing::debug!(object.r#ref = %key, reason, failures = record.failures, "nothing was seen behind the Extension");
                let status =
                    (begun.elapsed() >= grace).then(|| self.observer.unseen(before, since, &Unseen::Failed(reason)));
                let backoff = Backoff { first: times.progressing_interval, factor: 2, cap: times.steady_interval };
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
        (Requeue::After(wait.mul_f64(1.0 - JITTER * backoff::random()), Trigger::Resync.into()), notices)
    }

    fn target_state(&self, key: &Key) -> TargetState {
        let Some(extension) = self.cache.extension(key) else { return TargetState::Absent };
        let cluster = self.cache.cluster(&key.namespace);
        let resources = self.config.health.managed_resources.iter();
        let resources: Vec<_> = resources
            .map(|name| self.cache.managed_resource(&Key { namespace: key.namespace.clone(), name: name.clone() }))
            .collect();
        target_state(&extension, cluster.as_ref(), &resources)
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
pub(crate) fn current_status(extension: &Extension, key: &str) -> Option<Value> {
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
