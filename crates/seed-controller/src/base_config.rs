//! Watches the operator's base configuration: one ConfigMap in our own namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use extension_config::names;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use observability::ErrorChain;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::configuration::BaseConfig;

/// Counts changes; 0 until the ConfigMap was looked for once.
pub(crate) type Revision = watch::Receiver<u64>;

/// The watch.
#[derive(Debug)]
pub(crate) struct BaseConfigWatch {
    base: Arc<BaseConfig>,
    revision: watch::Sender<u64>,
    faulty: Gauge,
}

impl BaseConfigWatch {
    /// The watch and where it tells of changes.
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
        self.update(None).await;
    }

    /// Watches, forever.
    pub(crate) async fn run(self, client: Client, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", names::BASE_CONFIG_MAP));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = None;
        let mut broken = false;
        while let Some(event) = events.next().await {
            let known = match event {
                // Begins every attempt to list, good or bad.
                Ok(Event::Init) => {
                    listed = None;
                    continue;
                }
                Ok(Event::InitApply(map)) => {
                    listed = Some(data(map));
                    continue;
                }
                Ok(Event::InitDone) => listed.take(),
                Ok(Event::Apply(map)) => Some(data(map)),
                Ok(Event::Delete(_)) => None,
                Err(error) => {
                    // Once per interruption; the watcher goes on by itself.
                    if !std::mem::replace(&mut broken, true) {
                        tracing::warn!(error = %ErrorChain(&error), "the watch of the base configuration is interrupted");
                    }
                    continue;
                }
            };
            broken = false;
            self.update(known).await;
        }
    }

    async fn update(&self, data: Option<BTreeMap<String, String>>) {
        let change = self.base.update(data).await;
        self.faulty.set(i64::from(change.problems.is_some()));
        if let Some(problems) = change.problems.filter(|_| change.changed) {
            for problem in problems.iter() {
                // Where, not what: values stay out of the log.
                tracing::error!(config = problem.config, path = problem.path, "the base configuration is faulty");
            }
        }
        self.revision.send_if_modified(|revision| {
            let news = change.changed || *revision == 0;
            *revision += u64::from(news);
            news
        });
    }
}

fn data(map: ConfigMap) -> BTreeMap<String, String> {
    map.data.unwrap_or_default()
}
