//! Watches the operator's base configuration: one ConfigMap in our own namespace.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use extension_config::{Halt, names};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use observability::ErrorChain;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::configuration::BaseConfig;

/// Counts changes; 0 until the ConfigMap was read once.
pub(crate) type Revision = watch::Receiver<u64>;

/// The watch.
#[derive(Debug)]
pub(crate) struct BaseConfigWatch {
    base: Arc<BaseConfig>,
    revision: watch::Sender<u64>,
    faulty: Gauge,
}

impl BaseConfigWatch {
    /// The watch and where it reports changes.
    pub(crate) fn new(base: Arc<BaseConfig>, registry: &mut Registry) -> (Self, Revision) {
        let faulty = Gauge::default();
        registry.register(
            "base_config_faulty",
            "1 while the operator's base configuration has faults and the last good one stays in effect",
            faulty.clone(),
        );
        let (revision, receiver) = watch::channel(0);
        (Self { base, revision, faulty }, receiver)
    }

    /// There is no base configuration, and never will be.
    pub(crate) async fn none(&self) {
        self.update(None, None).await;
    }

    /// Watches, forever.
    pub(crate) async fn run(self, client: Client, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", names::BASE_CONFIG_MAP));
        let object = ObjectRef::new(names::BASE_CONFIG_MAP).within(namespace);
        let (store, writer) = reflector::store();
        let mut events = pin!(watcher(api, config).backoff(PatientBackoff::default()).reflect(writer));
        let mut broken = false;
        while let Some(event) = events.next().await {
            match event {
                // A list that has begun; the store shows what it holds once it is complete.
                Ok(Event::Init | Event::InitApply(_)) => {}
                Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
                    broken = false;
                    let map = store.get(&object);
                    let halt = map.as_ref().and_then(|map| Halt::of(map.metadata.annotations.as_ref()?));
                    self.update(map.map(|map| map.data.clone().unwrap_or_default()), halt).await;
                }
                Err(error) => {
                    // Once per interruption; the watcher goes on by itself.
                    if !std::mem::replace(&mut broken, true) {
                        tracing::warn!(error = %ErrorChain(&error), "the watch of the base configuration was interrupted");
                    }
                }
            }
        }
    }

    async fn update(&self, data: Option<BTreeMap<String, String>>, halt: Option<Halt>) {
        let is_halt_news = self.base.set_halt(halt.clone());
        match &halt {
            Some(halt) if is_halt_news => tracing::warn!(reason = halt.reason(), "all switches are halted"),
            None if is_halt_news => tracing::info!("switches are no longer halted"),
            _ => {}
        }
        let change = self.base.update(data).await;
        self.faulty.set(i64::from(change.problems.is_some()));
        if let Some(problems) = change.problems.filter(|_| change.changed) {
            for problem in problems.iter() {
                // Where, not what: values stay out of the log.
                tracing::error!(config = problem.config, path = problem.path, "the base configuration is faulty");
            }
        }
        self.revision.send_if_modified(|revision| {
            let changed = change.changed || is_halt_news || *revision == 0;
            *revision += u64::from(changed);
            changed
        });
    }
}

/// kube's back-off (0.8 s to 30 s, each longer by chance), but every attempt to list begins with an event that says nothing of its success,
/// and would reset it: only two minutes without an error do.
#[derive(Default)]
struct PatientBackoff(watcher::DefaultBackoff);

impl Iterator for PatientBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for PatientBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests;
