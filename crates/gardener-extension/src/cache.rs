//! What the watches saw last: our Extensions, our ManagedResources, and of each Cluster the few facts that matter.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gardener_api::constants::{FORCE_DELETION_ANNOTATION, GENERIC_KUBECONFIG_ANNOTATION, TIMESTAMP_ANNOTATION};
use gardener_api::{Cluster, Extension, ManagedResource, NotAShoot, RawJson, Shoot};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::key::Key;

/// What of an Extension can be a request. The status is no part of it: our own writes must not wake us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    annotation: Option<String>,
    timestamp: Option<String>,
}

impl Digest {
    pub(crate) fn of(extension: &Extension) -> Self {
        Self {
            uid: extension.uid(),
            generation: extension.metadata.generation,
            deleting: extension.metadata.deletion_timestamp.is_some(),
            annotation: extension.operation_annotation().map(str::to_owned),
            timestamp: extension.annotations().get(TIMESTAMP_ANNOTATION).cloned(),
        }
    }
}

/// A Cluster as last seen.
#[derive(Clone, Debug)]
struct SeenCluster {
    version: Option<String>,
    facts: ClusterFacts,
    /// What an operation needs of it; `None` where it has to be read.
    lean: Option<LeanCluster>,
    /// Version of the last Extension that was worked on with what is kept, without checking whether there is a newer one.
    trusted_by: Option<String>,
}

/// What an event on a Cluster means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterUpdate {
    /// Nothing that matters.
    None,
    /// Its facts are others.
    Facts,
    /// It was written before a request that has been served with an older one.
    Late,
}

/// What an operation needs of a Cluster.
#[derive(Clone, Debug)]
pub(crate) struct LeanCluster {
    /// Of the object that it was made of.
    pub(crate) version: String,
    /// Without the Shoot.
    pub(crate) cluster: Arc<Cluster>,
    /// Without other extensions' entries and others' annotations.
    pub(crate) shoot: Option<Arc<Shoot>>,
}

/// Longest configuration in a Shoot that is kept, in bytes of JSON, and most worker pools. A Cluster with more is read for each operation.
const CONFIGURATION_LIMIT: usize = 4 << 10;
const WORKERS_LIMIT: usize = 100;

impl LeanCluster {
    /// `None` when it is too large to be kept, or cannot be read as a whole.
    pub(crate) fn of(
        cluster: &Cluster,
        shoot: &Result<Option<Shoot>, NotAShoot>,
        extension_type: &str,
    ) -> Option<Self> {
        let mut shoot = shoot.as_ref().ok()?.clone();
        if let Some(shoot) = &mut shoot {
            shoot.spec.extensions.retain(|extension| extension.type_ == extension_type);
            shoot.metadata.annotations.retain(|name, _| name == FORCE_DELETION_ANNOTATION);
            let configurations =
                shoot.spec.extensions.iter().filter_map(|extension| extension.provider_config.as_ref());
            let bytes: usize = configurations.map(|configuration| configuration.get().len()).sum();
            if bytes > CONFIGURATION_LIMIT || shoot.spec.provider.workers.len() > WORKERS_LIMIT {
                return None;
            }
        }
        let metadata = ObjectMeta {
            name: cluster.metadata.name.clone(),
            resource_version: cluster.metadata.resource_version.clone(),
            annotations: cluster.metadata.annotations.clone().map(|mut annotations| {
                annotations.retain(|name, _| name == GENERIC_KUBECONFIG_ANNOTATION);
                annotations
            }),
            ..ObjectMeta::default()
        };
        let version = cluster.metadata.resource_version.clone()?;
        let cluster = Cluster { metadata, shoot: None, faults: cluster.faults.clone() };
        Some(Self { version, cluster: Arc::new(cluster), shoot: shoot.map(Arc::new) })
    }
}

/// What of a Cluster matters between reconciliations; a change of it is worth a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one object, compared as a whole")]
pub(crate) struct ClusterFacts {
    pub(crate) hibernation_requested: bool,
    hibernated: bool,
    failed: bool,
    migrating: bool,
    deleting: bool,
    force_deletion: bool,
    generation: Option<i64>,
    /// What of its Shoot cannot be read, if anything.
    pub(crate) undecodable: Option<String>,
}

impl ClusterFacts {
    /// The shoot is neither on its way to another seed nor going.
    pub(crate) fn is_at_home(&self) -> bool {
        !self.migrating && !self.deleting
    }

    pub(crate) fn of(shoot: &Result<Option<Shoot>, NotAShoot>) -> Self {
        let undecodable = match shoot {
            Ok(Some(shoot)) if !shoot.faults.is_empty() => Some(shoot.faults.to_string()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let shoot = shoot.as_ref().ok().and_then(Option::as_ref);
        Self {
            hibernation_requested: shoot.is_some_and(Shoot::is_hibernation_requested),
            hibernated: shoot.is_some_and(Shoot::is_hibernated),
            failed: shoot.is_some_and(Shoot::is_failed),
            migrating: shoot.is_some_and(Shoot::is_migrating),
            deleting: shoot.is_some_and(Shoot::is_deleting),
            force_deletion: shoot.is_some_and(Shoot::is_force_deleted),
            generation: shoot.and_then(|shoot| shoot.metadata.generation),
            undecodable,
        }
    }
}

/// Largest Extension that is kept, in bytes of JSON, and largest ManagedResource. Ours have a few KB. A larger Extension is worked on, but
/// its health is not looked after; a larger ManagedResource counts as one that cannot be read.
pub(crate) const EXTENSION_LIMIT: usize = 1 << 20;
pub(crate) const MANAGED_RESOURCE_LIMIT: usize = 512 << 10;

/// A ManagedResource as last seen; the error is why it could not be read.
pub(crate) type LastSeen<T> = Result<Arc<T>, String>;

#[derive(Debug, Default)]
struct Content {
    /// Without what only the actuator needs. One that is too large is missing.
    extensions: HashMap<Key, Arc<Extension>>,
    /// Of all that there are, in order, so that those of one namespace stand together.
    digests: BTreeMap<Key, Digest>,
    /// What was last published as unreadable of each.
    faults: HashMap<Key, String>,
    managed_resources: HashMap<Key, LastSeen<ManagedResource>>,
    clusters: HashMap<String, SeenCluster>,
}

/// Longest value of an observer that is kept and compared, in bytes of JSON. They write a fraction of it.
pub(crate) const OBSERVED_LIMIT: usize = 64 << 10;

/// What is kept: the configurations are read anew for each operation, and of any size. Of the providerStatus one key stays, `observed`, to which
/// what is observed is compared.
fn facts(mut extension: Extension, observed: &str) -> Extension {
    extension.spec.provider_config = None;
    if let Some(status) = &mut extension.status {
        status.provider_status = status.provider_status.take().and_then(|whole| only(&whole, observed));
    }
    extension
}

fn only(whole: &RawJson, key: &str) -> Option<RawJson> {
    let all: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(whole.get()).ok()?;
    let value = all.get(key).filter(|value| value.get().len() <= OBSERVED_LIMIT)?;
    serde_json::value::to_raw_value(&BTreeMap::from([(key, value)])).ok().map(|kept| RawJson::from(&*kept))
}

/// Whether `one` is of before `other`; `None` where nobody knows. Versions of one cluster are numbers that grow (KEP-5504), those of all custom
/// resources by one count.
fn is_before(one: Option<&str>, other: Option<&str>) -> Option<bool> {
    let number = |version: Option<&str>| version?.parse::<u64>().ok();
    Some(number(one)? < number(other)?)
}

fn is_older(one: &Extension, other: &Extension) -> bool {
    let version = |extension: &Extension| extension.metadata.resource_version.clone();
    is_before(version(one).as_deref(), version(other).as_deref()).unwrap_or(false)
}

/// The watch of the ManagedResources of one name, as it is called among [`Cache::missing`].
pub(crate) fn managed_resources_watch(name: &str) -> String {
    format!("ManagedResource {name}")
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    /// See [`facts`].
    observed: String,
    content: RwLock<Content>,
    /// Watches that have not delivered their first list.
    missing: watch::Sender<BTreeSet<String>>,
}

impl Cache {
    pub(crate) fn new(watches: impl IntoIterator<Item = String>, observed: &str) -> Self {
        Self {
            observed: observed.to_owned(),
            content: RwLock::default(),
            missing: watch::Sender::new(watches.into_iter().collect()),
        }
    }

    /// The watches that have not delivered yet.
    pub(crate) fn missing(&self) -> watch::Receiver<BTreeSet<String>> {
        self.missing.subscribe()
    }

    /// Every watch has delivered.
    pub(crate) fn is_synced(&self) -> bool {
        self.missing.borrow().is_empty()
    }

    /// A watch has delivered its first list.
    pub(crate) fn synced(&self, watch: &str) {
        self.missing.send_if_modified(|missing| missing.remove(watch));
    }

    /// Takes a listed Extension in; returns whether it is new, and if not, whether it asks for something it did not ask for before.
    /// `bytes` is its size.
    pub(crate) fn put_extension(&self, extension: Extension, bytes: usize) -> ExtensionUpdate {
        let key = Key::of(&extension);
        let digest = Digest::of(&extension);
        let mut content = self.write();
        if bytes > EXTENSION_LIMIT {
            content.extensions.remove(&key);
        } else {
            content.extensions.insert(key.clone(), Arc::new(facts(extension, &self.observed)));
        }
        match content.digests.insert(key, digest.clone()) {
            None => ExtensionUpdate::New,
            Some(before) if before == digest => ExtensionUpdate::None,
            Some(_) => ExtensionUpdate::Changed,
        }
    }

    /// As [`Self::put_extension`], of an event. One of before our own last write means nothing any more; the one of that write is still to come.
    pub(crate) fn put_changed_extension(&self, extension: Extension, bytes: usize) -> ExtensionUpdate {
        if self.extension(&Key::of(&extension)).is_some_and(|kept| is_older(&extension, &kept)) {
            return ExtensionUpdate::Old;
        }
        self.put_extension(extension, bytes)
    }

    /// Remembers what a worker made of a request, so that the same request made again counts as a new one, even if the
    /// watch never shows what was in between.
    pub(crate) fn record(&self, extension: &Extension) {
        let key = Key::of(extension);
        if let Some(digest) = self.write().digests.get_mut(&key) {
            *digest = Digest::of(extension);
        }
        self.record_write(extension);
    }

    /// Remembers what our own write made of an Extension: the next one is based on it. Whatever others have asked for meanwhile comes with its own event.
    pub(crate) fn record_write(&self, extension: &Extension) {
        let mut content = self.write();
        if let Some(kept) = content.extensions.get_mut(&Key::of(extension))
            && !is_older(extension, kept)
        {
            *kept = Arc::new(facts(extension.clone(), &self.observed));
        }
    }

    /// Whether nothing newer is known of it.
    pub(crate) fn is_last(&self, extension: &Extension) -> bool {
        let version = &extension.metadata.resource_version;
        let kept = self.extension(&Key::of(extension));
        version.is_some() && kept.is_some_and(|kept| kept.metadata.resource_version == *version)
    }

    pub(crate) fn remove_extension(&self, key: &Key) {
        let mut content = self.write();
        content.extensions.remove(key);
        content.digests.remove(key);
        content.faults.remove(key);
    }

    /// Whether there is one, of whatever size.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.read().digests.contains_key(key)
    }

    /// There is one, and it is too large to be kept.
    pub(crate) fn is_too_large(&self, key: &Key) -> bool {
        let content = self.read();
        content.digests.contains_key(key) && !content.extensions.contains_key(key)
    }

    /// Records what cannot be read of the Extension, as it is about to be published; returns whether it differs from the last one.
    pub(crate) fn record_fault(&self, key: &Key, text: &str) -> bool {
        let mut content = self.write();
        if !content.digests.contains_key(key) || content.faults.get(key).map_or("", String::as_str) == text {
            return false;
        }
        content.faults.insert(key.clone(), text.to_owned());
        true
    }

    /// Forgets all others; what a new list no longer holds is gone. Answers what went.
    pub(crate) fn retain_extensions(&self, keep: &BTreeSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self.read().digests.keys().filter(|key| !keep.contains(*key)).cloned().collect();
        for key in &gone {
            self.remove_extension(key);
        }
        gone
    }

    pub(crate) fn extension(&self, key: &Key) -> Option<Arc<Extension>> {
        self.read().extensions.get(key).cloned()
    }

    /// All keys, in order.
    pub(crate) fn extensions(&self) -> Vec<Key> {
        self.read().digests.keys().cloned().collect()
    }

    pub(crate) fn extensions_in(&self, namespace: &str) -> Vec<Key> {
        // No name sorts before the empty one.
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        let content = self.read();
        let from_first = content.digests.range(first..).map(|(key, _)| key);
        from_first.take_while(|key| key.namespace == namespace).cloned().collect()
    }

    pub(crate) fn extension_count(&self) -> usize {
        self.read().digests.len()
    }

    pub(crate) fn put_managed_resource(&self, key: Key, seen: LastSeen<ManagedResource>) {
        self.write().managed_resources.insert(key, seen);
    }

    pub(crate) fn remove_managed_resource(&self, key: &Key) {
        self.write().managed_resources.remove(key);
    }

    /// Forgets those of this name that are not to be kept; answers what went.
    pub(crate) fn retain_managed_resources(&self, name: &str, keep: &BTreeSet<Key>) -> Vec<Key> {
        let mut gone = Vec::new();
        self.write().managed_resources.retain(|key, _| {
            let stays = key.name != name || keep.contains(key);
            if !stays {
                gone.push(key.clone());
            }
            stays
        });
        gone
    }

    pub(crate) fn managed_resource(&self, key: &Key) -> Option<LastSeen<ManagedResource>> {
        self.read().managed_resources.get(key).cloned()
    }

    /// As it was last seen, or that there is none; `None` before its watch has delivered.
    pub(crate) fn synced_managed_resource(&self, key: &Key) -> Option<Result<Option<Arc<ManagedResource>>, String>> {
        if self.missing.borrow().contains(&managed_resources_watch(&key.name)) {
            return None;
        }
        Some(self.managed_resource(key).transpose())
    }

    /// Takes a Cluster in, as a watch has shown it.
    pub(crate) fn put_cluster(
        &self,
        name: &str,
        version: Option<String>,
        facts: ClusterFacts,
        lean: Option<LeanCluster>,
    ) -> ClusterUpdate {
        let mut content = self.write();
        let Some(seen) = content.clusters.get_mut(name) else {
            content.clusters.insert(name.to_owned(), SeenCluster { version, facts, lean, trusted_by: None });
            return ClusterUpdate::Facts;
        };
        // Where nobody knows, it is safer to work once more.
        let is_late = seen.trusted_by.is_some()
            && seen.version != version
            && is_before(version.as_deref(), seen.trusted_by.as_deref()).unwrap_or(true);
        let is_changed = seen.facts != facts;
        (seen.version, seen.facts, seen.lean) = (version, facts, lean);
        match (is_late, is_changed) {
            (true, _) => ClusterUpdate::Late,
            (false, true) => ClusterUpdate::Facts,
            (false, false) => ClusterUpdate::None,
        }
    }

    pub(crate) fn remove_cluster(&self, name: &str) {
        self.write().clusters.remove(name);
    }

    pub(crate) fn retain_clusters(&self, keep: &BTreeSet<String>) {
        self.write().clusters.retain(|name, _| keep.contains(name));
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<ClusterFacts> {
        self.read().clusters.get(name).map(|seen| seen.facts.clone())
    }

    /// What of it an operation needs, if that is kept.
    pub(crate) fn lean_cluster(&self, name: &str) -> Option<LeanCluster> {
        self.read().clusters.get(name)?.lean.clone()
    }

    /// The same for callers that do not check whether there is a newer one: [`ClusterUpdate::Late`] says if there was.
    pub(crate) fn trusted_cluster(&self, name: &str, request: &Extension) -> Option<LeanCluster> {
        let mut content = self.write();
        let seen = content.clusters.get_mut(name)?;
        let lean = seen.lean.clone()?;
        seen.trusted_by.clone_from(&request.metadata.resource_version);
        Some(lean)
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        // Every change is a single insertion or removal: a panic cannot leave it half done.
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event on an Extension means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionUpdate {
    /// Never seen before.
    New,
    /// It asks for something.
    Changed,
    /// Nothing that concerns us.
    None,
    /// Of before our own last write.
    Old,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn extension(generation: i64) -> Extension {
        let object = json!({
            "metadata": { "name": "e", "namespace": "ns", "generation": generation },
            "spec": { "type": "t", "providerConfig": { "configs": "hunter2" } },
            "status": { "providerStatus": { "configs": "hunter2" }, "observedGeneration": 1 },
        });
        serde_json::from_value(object).expect("an Extension")
    }

    #[test]
    fn configurations_and_what_is_too_large_are_not_kept() {
        let (cache, key) = (Cache::new([], "nodes"), Key { namespace: "ns".to_owned(), name: "e".to_owned() });
        assert_eq!(cache.put_extension(extension(1), EXTENSION_LIMIT), ExtensionUpdate::New);
        let kept = cache.extension(&key).expect("it is kept");
        assert!(
            kept.spec.provider_config.is_none() && kept.status.as_ref().is_some_and(|s| s.provider_status.is_none())
        );
        assert!(!cache.is_too_large(&key));
        let mut observed = json!(extension(1));
        observed["status"]["providerStatus"]["nodes"] = json!({ "count": 3 });
        cache.put_extension(serde_json::from_value(observed).expect("an Extension"), 1);
        let kept = cache.extension(&key).and_then(|kept| kept.status.clone()?.provider_status);
        assert_eq!(kept.expect("what was observed is kept").get(), r#"{"nodes":{"count":3}}"#);
        // It grows: what is asked for counts all the same.
        assert_eq!(cache.put_extension(extension(2), EXTENSION_LIMIT + 1), ExtensionUpdate::Changed);
        assert!(cache.extension(&key).is_none() && cache.is_too_large(&key));
        assert_eq!(
            (cache.extensions(), cache.extensions_in("ns").len(), cache.extension_count()),
            (vec![key.clone()], 1, 1)
        );
        assert_eq!(cache.put_extension(extension(2), 1), ExtensionUpdate::None);
        assert!(cache.extension(&key).is_some());
        assert_eq!(cache.retain_extensions(&BTreeSet::new()), std::slice::from_ref(&key));
        assert!(!cache.knows(&key) && !cache.is_too_large(&key));
    }

    #[test]
    fn cluster_that_comes_after_the_request_that_it_was_written_before_is_late() {
        let put = |cache: &Cache, version: &str, generation: i64| {
            let object = json!({
                "metadata": { "name": "ns", "resourceVersion": version },
                "spec": { "shoot": { "metadata": { "generation": generation } } },
            });
            let cluster: Cluster = serde_json::from_value(object).expect("a Cluster");
            let shoot = cluster.shoot();
            let lean = LeanCluster::of(&cluster, &shoot, "t");
            cache.put_cluster("ns", cluster.metadata.resource_version.clone(), ClusterFacts::of(&shoot), lean)
        };
        let request = |version: &str| {
            let mut request = extension(1);
            request.metadata.resource_version = Some(version.to_owned());
            request
        };
        let cache = Cache::new([], "nodes");
        assert!(cache.trusted_cluster("ns", &request("9")).is_none(), "nothing is known of it yet");
        assert_eq!(put(&cache, "3", 1), ClusterUpdate::Facts);
        assert_eq!(put(&cache, "5", 1), ClusterUpdate::None, "nobody has worked with the one before");
        let trusted = cache.trusted_cluster("ns", &request("9")).expect("it is known");
        assert_eq!(trusted.version, "5");
        assert_eq!(put(&cache, "5", 1), ClusterUpdate::None, "it is listed again");
        assert_eq!(put(&cache, "7", 1), ClusterUpdate::Late);
        assert_eq!(put(&cache, "10", 1), ClusterUpdate::None, "it was written after the request");
        assert_eq!(put(&cache, "11", 2), ClusterUpdate::Facts);
        assert_eq!(put(&cache, "odd", 2), ClusterUpdate::Late, "nobody knows");
    }

    #[test]
    fn event_from_before_our_own_write_changes_nothing() {
        let at = |version: &str, generation: i64| {
            let mut extension = extension(generation);
            extension.metadata.resource_version = Some(version.to_owned());
            extension
        };
        let (cache, key) = (Cache::new([], "nodes"), Key { namespace: "ns".to_owned(), name: "e".to_owned() });
        let known = |version: &str| {
            cache.extension(&key).and_then(|kept| kept.metadata.resource_version.clone()) == Some(version.to_owned())
        };
        assert_eq!(cache.put_changed_extension(at("5", 1), 1), ExtensionUpdate::New);
        cache.record_write(&at("7", 1));
        assert!(known("7") && cache.is_last(&at("7", 1)) && !cache.is_last(&at("5", 1)));
        assert_eq!(cache.put_changed_extension(at("6", 2), 1), ExtensionUpdate::Old);
        assert!(known("7"));
        assert_eq!(cache.put_changed_extension(at("7", 1), 1), ExtensionUpdate::None);
        assert_eq!(cache.put_changed_extension(at("8", 2), 1), ExtensionUpdate::Changed);
        cache.record_write(&at("7", 1));
        assert!(known("8"), "an answer that comes late changes nothing");
        // A list is the truth, whatever the numbers say: etcd may have been restored.
        cache.put_extension(at("2", 2), 1);
        assert!(known("2"));
    }

    #[test]
    fn same_fault_is_recorded_once() {
        let (cache, key) = (Cache::new([], "nodes"), Key { namespace: "ns".to_owned(), name: "e".to_owned() });
        assert!(!cache.record_fault(&key, "before it is known"));
        cache.put_extension(extension(1), 1);
        assert!(!cache.record_fault(&key, ""), "an empty note is no change");
        assert!(cache.record_fault(&key, "a") && !cache.record_fault(&key, "a"));
        assert!(cache.record_fault(&key, "") && cache.record_fault(&key, "a"), "it was well in between");
    }

    proptest! {
        /// What the walk over all of them finds, in the same order.
        #[test]
        fn extensions_of_a_namespace_are_those_that_a_walk_finds(
            keys in proptest::collection::vec(("[a-c]{1,2}(-[a-b])?", "[a-c]{1,2}"), 0..30), namespace in "[a-c]{1,2}(-[a-b])?",
        ) {
            let cache = Cache::new([], "nodes");
            for (namespace, name) in keys {
                let object = json!({ "metadata": { "name": name, "namespace": namespace }, "spec": { "type": "t" } });
                cache.put_extension(serde_json::from_value(object).expect("an Extension"), 1);
            }
            let walked: Vec<Key> = cache.extensions().into_iter().filter(|key| key.namespace == namespace).collect();
            prop_assert_eq!(cache.extensions_in(&namespace), walked);
        }
    }
}
