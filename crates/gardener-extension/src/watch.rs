//! The watches. They fill the cache and add to the queues which keys deserve a reconciliation; they decide nothing.

mod source;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;

use gardener_api::{Cluster, Extension, ManagedResource};
use kube::{Client, ResourceExt as _};
use serde_json::value::RawValue;

use crate::Metrics;
use crate::cache::{
    Cache, ClusterFacts, ClusterUpdate, EXTENSION_LIMIT, ExtensionUpdate, LeanCluster, MANAGED_RESOURCE_LIMIT,
    managed_resources_watch,
};
use crate::config::ControllerConfig;
use crate::key::Key;
use crate::operation::Trigger;
use crate::queue::Queue;
use source::{Event, Source};

/// So many are in memory at a time during the first list, if their bytes allow; Clusters are large.
const PAGE: u32 = 500;
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
    let resources = config.managed_resources.iter().map(|name| managed_resources_watch(name));
    [EXTENSIONS.to_owned(), CLUSTERS.to_owned()].into_iter().chain(resources).collect()
}

impl Watches {
    /// Watches the Extensions, forever.
    pub(crate) async fn extensions(self: Arc<Self>) {
        let mut listed = BTreeSet::new();
        let mut reported: HashMap<Key, String> = HashMap::new();
        let source = self.source::<Extension>(EXTENSIONS, self.config.extension_name.clone(), PAGE);
        let follow = source.follow(|event| match event {
            Event::Begin => listed.clear(),
            Event::Listed(raw) => listed.extend(self.extension(raw, &mut reported, Cache::put_extension)),
            Event::Changed(raw) => drop(self.extension(raw, &mut reported, Cache::put_changed_extension)),
            Event::Complete => {
                for key in self.cache.retain_extensions(&listed) {
                    self.health.add(key.clone(), Trigger::Changed);
                    self.work.add(key, Trigger::Changed);
                }
                reported.retain(|key, _| listed.contains(key));
                self.metrics.extensions(self.cache.extension_count());
                self.cache.synced(EXTENSIONS);
            }
            Event::Gone(raw) => {
                let Some(extension) = self.read(EXTENSIONS, raw, Extension::from_raw) else { return };
                let key = Key::of(&extension);
                reported.remove(&key);
                if self.cache.knows(&key) {
                    self.cache.remove_extension(&key);
                    self.metrics.extensions(self.cache.extension_count());
                    self.health.add(key.clone(), Trigger::Changed);
                    self.work.add(key, Trigger::Changed);
                }
            }
        });
        follow.await;
    }

    fn extension(
        &self,
        raw: &RawValue,
        reported: &mut HashMap<Key, String>,
        put: impl FnOnce(&Cache, Extension, usize) -> ExtensionUpdate,
    ) -> Option<Key> {
        let extension = self.read(EXTENSIONS, raw, Extension::from_raw)?;
        let (key, bytes) = (Key::of(&extension), raw.get().len());
        if !self.config.serves(&extension) {
            return Some(key);
        }
        // The owner gets an Event when it is worked on.
        let fault = match bytes {
            _ if !extension.faults.is_empty() => Some(extension.faults.to_string()),
            bytes if bytes > EXTENSION_LIMIT => Some(format!("{bytes} bytes; at most {EXTENSION_LIMIT} are kept")),
            _ => None,
        };
        self.report(EXTENSIONS, &key, fault, reported);
        match put(&self.cache, extension, bytes) {
            ExtensionUpdate::New => self.work.add(key.clone(), Trigger::FirstSeen),
            ExtensionUpdate::Changed => self.work.add(key.clone(), Trigger::Changed),
            ExtensionUpdate::None => {}
            ExtensionUpdate::Old => return Some(key),
        }
        self.metrics.extensions(self.cache.extension_count());
        self.health.add(key.clone(), Trigger::Changed);
        Some(key)
    }

    /// Counts and logs what is wrong with an object, if that changed.
    fn report(&self, kind: &'static str, key: &Key, fault: Option<String>, reported: &mut HashMap<Key, String>) {
        let Some(fault) = fault else {
            reported.remove(key);
            return;
        };
        if reported.get(key) != Some(&fault) {
            self.metrics.undecodable(kind);
            tracing::error!(kind, object.r#ref = %key, fault, "an object cannot be read as a whole");
            reported.insert(key.clone(), fault);
        }
    }

    /// Watches the ManagedResources of one name, forever.
    pub(crate) async fn managed_resources(self: Arc<Self>, name: String) {
        let mut listed = BTreeSet::new();
        let mut reported: HashMap<Key, String> = HashMap::new();
        let watch = managed_resources_watch(&name);
        // Of the dozens of ManagedResources in a shoot's namespace only ours leave the API server.
        let source = self.source::<ManagedResource>(MANAGED_RESOURCES, Some(name.clone()), PAGE);
        let follow = source.follow(|event| match event {
            Event::Begin => listed.clear(),
            Event::Listed(raw) => listed.extend(self.managed_resource(raw, &mut reported)),
            Event::Changed(raw) => drop(self.managed_resource(raw, &mut reported)),
            Event::Complete => {
                for key in self.cache.retain_managed_resources(&name, &listed) {
                    self.managed_resource_changed(&key.namespace);
                }
                reported.retain(|key, _| listed.contains(key));
                self.cache.synced(&watch);
            }
            Event::Gone(raw) => {
                let Some(gone) = self.read(MANAGED_RESOURCES, raw, ManagedResource::from_raw) else { return };
                let key = Key::of(&gone);
                reported.remove(&key);
                self.cache.remove_managed_resource(&key);
                self.managed_resource_changed(&key.namespace);
            }
        });
        follow.await;
    }

    fn managed_resource(&self, raw: &RawValue, reported: &mut HashMap<Key, String>) -> Option<Key> {
        let resource = self.read(MANAGED_RESOURCES, raw, ManagedResource::from_raw)?;
        let (key, bytes) = (Key::of(&resource), raw.get().len());
        let seen = if bytes > MANAGED_RESOURCE_LIMIT {
            Err(format!("{bytes} bytes; at most {MANAGED_RESOURCE_LIMIT} are read"))
        } else if resource.faults.is_empty() {
            Ok(Arc::new(resource))
        } else {
            Err(resource.faults.to_string())
        };
        self.report(MANAGED_RESOURCES, &key, seen.as_ref().err().cloned(), reported);
        self.cache.put_managed_resource(key.clone(), seen);
        self.managed_resource_changed(&key.namespace);
        Some(key)
    }

    fn managed_resource_changed(&self, namespace: &str) {
        for key in self.cache.extensions_in(namespace) {
            // An operation in back-off after an error is not woken by this: its cause is elsewhere.
            if self.work.is_running_or_planned(&key, Trigger::DependencyChanged) {
                self.work.add(key.clone(), Trigger::DependencyChanged);
            }
            self.health.add(key, Trigger::Changed);
        }
    }

    /// Watches the Clusters, forever.
    pub(crate) async fn clusters(self: Arc<Self>) {
        let mut listed = BTreeSet::new();
        let source = self.source::<Cluster>(CLUSTERS, None, CLUSTER_PAGE);
        let follow = source.follow(|event| match event {
            Event::Begin => listed.clear(),
            Event::Listed(raw) => listed.extend(self.cluster(raw)),
            Event::Changed(raw) => drop(self.cluster(raw)),
            Event::Complete => {
                self.cache.retain_clusters(&listed);
                self.cache.synced(CLUSTERS);
            }
            Event::Gone(raw) => {
                if let Some(gone) = self.read(CLUSTERS, raw, Cluster::from_raw) {
                    self.cache.remove_cluster(&gone.name_any());
                }
            }
        });
        follow.await;
    }

    /// Of a Cluster only facts and what an operation needs are kept, so that it may be of any size.
    fn cluster(&self, raw: &RawValue) -> Option<String> {
        let cluster = self.read(CLUSTERS, raw, Cluster::from_raw)?;
        let name = cluster.name_any();
        let shoot = cluster.shoot();
        let facts = ClusterFacts::of(&shoot);
        let undecodable = facts.undecodable.clone();
        let lean = LeanCluster::of(&cluster, &shoot, &self.config.extension_type);
        let trigger = match self.cache.put_cluster(&name, cluster.metadata.resource_version, facts, lean) {
            ClusterUpdate::None => return Some(name),
            ClusterUpdate::Facts => Trigger::DependencyChanged,
            ClusterUpdate::Late => Trigger::External,
        };
        let keys = self.cache.extensions_in(&name);
        if let Some(fault) = undecodable.filter(|_| !keys.is_empty()) {
            self.metrics.undecodable(CLUSTERS);
            tracing::error!(object.r#ref = name, fault, "the Shoot in a Cluster cannot be read as a whole");
        }
        for key in keys {
            self.work.add(key.clone(), trigger);
            self.health.add(key, Trigger::Changed);
        }
        Some(name)
    }

    /// Reads an object that has a name. One that has none is nobody's, and the API server gives none such.
    fn read<K: kube::Resource>(
        &self,
        kind: &'static str,
        raw: &RawValue,
        read: impl FnOnce(&RawValue) -> Option<K>,
    ) -> Option<K> {
        let found = read(raw).filter(|object| object.meta().name.is_some());
        if found.is_none() {
            self.metrics.undecodable(kind);
            tracing::error!(kind, "skipping what is no object with a name");
        }
        found
    }

    fn source<K: kube::Resource<DynamicType = ()>>(
        &self,
        kind: &'static str,
        name: Option<String>,
        page: u32,
    ) -> Source {
        let (client, metrics) = (self.client.clone(), self.metrics.clone());
        Source { client, metrics, kind, path: K::url_path(&(), None), name, page }
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
