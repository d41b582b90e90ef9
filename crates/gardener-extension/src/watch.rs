//! The watches. They fill the cache and tell the queues which keys deserve a look; they decide nothing.

mod cluster;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;

use futures::StreamExt as _;
use gardener_api::{Extension, ManagedResource};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use observability::ErrorChain;
use serde::de::DeserializeOwned;

use crate::Metrics;
use crate::cache::{Cache, ClusterFacts, News};
use crate::config::ControllerConfig;
use crate::key::Key;
use crate::operation::Trigger;
use crate::queue::Queue;
use cluster::WatchedCluster;

/// Clusters are large; this many are in memory at a time during the first list.
const CLUSTER_PAGE: u32 = 25;
/// Names of the watches in logs, metrics and the readiness text.
const EXTENSIONS: &str = "Extension";
const CLUSTERS: &str = "Cluster";
const MANAGED_RESOURCES: &str = "ManagedResource";

/// What the watches feed.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<Cache>,
    pub(crate) work: Arc<Queue<Key>>,
    pub(crate) health: Arc<Queue<Key>>,
}

/// Names of all watches, for [`Cache::new`].
pub(crate) fn names(config: &ControllerConfig) -> Vec<String> {
    let resources = config.managed_resources.iter().map(|name| format!("{MANAGED_RESOURCES} {name}"));
    [EXTENSIONS.to_owned(), CLUSTERS.to_owned()].into_iter().chain(resources).collect()
}

impl Watches {
    /// Watches the Extensions, forever.
    pub(crate) async fn extensions(self: Arc<Self>) {
        let mut listed = BTreeSet::new();
        let mut reported: HashMap<Key, String> = HashMap::new();
        let api: Api<DeserializeGuard<Extension>> = Api::all(self.client.clone());
        self.follow(api, watcher::Config::default(), EXTENSIONS, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(guard) => {
                listed.insert(Key::of(&guard));
                self.extension(guard, &mut reported);
            }
            Event::Apply(guard) => self.extension(guard, &mut reported),
            Event::InitDone => {
                for key in self.cache.retain_extensions(&listed) {
                    self.work.add(key, Trigger::Changed);
                }
                self.metrics.extensions(self.cache.extension_count());
                self.cache.synced(EXTENSIONS);
            }
            Event::Delete(guard) => {
                let key = Key::of(&guard);
                reported.remove(&key);
                if self.cache.extension(&key).is_some() {
                    self.cache.remove_extension(&key);
                    self.metrics.extensions(self.cache.extension_count());
                    self.work.add(key, Trigger::Changed);
                }
            }
        })
        .await;
    }

    fn extension(&self, guard: DeserializeGuard<Extension>, reported: &mut HashMap<Key, String>) {
        let key = Key::of(&guard);
        match guard.0 {
            Ok(extension) if self.config.serves(&extension) => {
                reported.remove(&key);
                match self.cache.put_extension(extension) {
                    News::New => self.work.add(key.clone(), Trigger::Seen),
                    News::Changed => self.work.add(key.clone(), Trigger::Changed),
                    News::None => {}
                }
                self.metrics.extensions(self.cache.extension_count());
                self.health.add(key, Trigger::Changed);
            }
            Ok(_) => {}
            Err(invalid) => {
                if reported.insert(key.clone(), invalid.error.clone()).as_ref() != Some(&invalid.error) {
                    self.metrics.undecodable(EXTENSIONS);
                    tracing::error!(object.r#ref = %key, error = invalid.error, "skipping an Extension that cannot be decoded");
                }
            }
        }
    }

    /// Watches the ManagedResources of one name, forever.
    pub(crate) async fn managed_resources(self: Arc<Self>, name: String) {
        let mut listed = BTreeSet::new();
        let watch = format!("{MANAGED_RESOURCES} {name}");
        let api: Api<DeserializeGuard<ManagedResource>> = Api::all(self.client.clone());
        // Of the dozens of ManagedResources in a shoot's namespace only ours leave the API server.
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.follow(api, config, MANAGED_RESOURCES, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(guard) => {
                listed.insert(Key::of(&guard));
                self.managed_resource(guard);
            }
            Event::Apply(guard) => self.managed_resource(guard),
            Event::InitDone => {
                for key in self.cache.retain_managed_resources(&name, &listed) {
                    self.managed_resource_changed(&key.namespace);
                }
                self.cache.synced(&watch);
            }
            Event::Delete(guard) => {
                let key = Key::of(&guard);
                self.cache.remove_managed_resource(&key);
                self.managed_resource_changed(&key.namespace);
            }
        })
        .await;
    }

    fn managed_resource(&self, guard: DeserializeGuard<ManagedResource>) {
        let key = Key::of(&guard);
        let seen = guard.0.map(Arc::new).map_err(|invalid| invalid.error);
        if let Err(error) = &seen {
            self.metrics.undecodable(MANAGED_RESOURCES);
            tracing::error!(object.r#ref = %key, error, "a ManagedResource cannot be decoded");
        }
        let namespace = key.namespace.clone();
        self.cache.put_managed_resource(key, seen);
        self.managed_resource_changed(&namespace);
    }

    fn managed_resource_changed(&self, namespace: &str) {
        for key in self.cache.extensions_in(namespace) {
            // An operation in back-off after an error is not woken by this: its cause is elsewhere.
            if self.work.is_running_or_planned(&key, Trigger::Awaited) {
                self.work.add(key.clone(), Trigger::Awaited);
            }
            self.health.add(key, Trigger::Changed);
        }
    }

    /// Watches the Clusters, forever.
    pub(crate) async fn clusters(self: Arc<Self>) {
        let mut listed = BTreeSet::new();
        let api: Api<WatchedCluster> = Api::all(self.client.clone());
        let config = watcher::Config::default().page_size(CLUSTER_PAGE);
        self.follow(api, config, CLUSTERS, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(cluster) => {
                listed.insert(cluster.name().to_owned());
                self.cluster(&cluster);
            }
            Event::Apply(cluster) => self.cluster(&cluster),
            Event::InitDone => {
                self.cache.retain_clusters(&listed);
                self.cache.synced(CLUSTERS);
            }
            Event::Delete(cluster) => self.cache.remove_cluster(cluster.name()),
        })
        .await;
    }

    fn cluster(&self, cluster: &WatchedCluster) {
        let facts = ClusterFacts::of(&cluster.shoot());
        let undecodable = facts.undecodable.clone();
        if !self.cache.put_cluster(cluster.name(), facts) {
            return;
        }
        let keys = self.cache.extensions_in(cluster.name());
        if let Some(error) = undecodable.filter(|_| !keys.is_empty()) {
            self.metrics.undecodable(CLUSTERS);
            tracing::error!(object.r#ref = cluster.name(), error, "the Shoot in a Cluster cannot be decoded");
        }
        for key in keys {
            self.work.add(key.clone(), Trigger::Awaited);
            self.health.add(key, Trigger::Changed);
        }
    }

    async fn follow<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        kind: &'static str,
        mut handle: impl FnMut(Event<K>),
    ) where
        K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut broken = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    broken = false;
                    handle(event);
                }
                Err(error) => {
                    self.metrics.watch_error(kind);
                    // Once per interruption; the watcher goes on by itself.
                    if !broken {
                        tracing::warn!(kind, error = %ErrorChain(&error), "a watch is interrupted");
                    }
                    broken = true;
                }
            }
        }
    }
}

/// Waits until all watches have delivered their first list.
pub(crate) fn synced(cache: &Cache) -> impl Future<Output = ()> + Send + use<> {
    let mut missing = cache.missing();
    async move {
        // The sender lives as long as the cache; without it nobody waits.
        let _ = missing.wait_for(BTreeSet::is_empty).await;
    }
}
