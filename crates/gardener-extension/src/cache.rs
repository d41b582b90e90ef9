//! What the watches saw last: our Extensions, our ManagedResources, and of each Cluster the few facts that matter.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gardener_api::constants::TIMESTAMP_ANNOTATION;
use gardener_api::{Extension, ManagedResource, Shoot};
use kube::ResourceExt as _;
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

/// What of a Cluster matters between reconciliations; a change of it is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one object, compared as a whole")]
pub(crate) struct ClusterFacts {
    pub(crate) hibernation_requested: bool,
    hibernated: bool,
    failed: bool,
    deleting: bool,
    force_deletion: bool,
    generation: Option<i64>,
    pub(crate) undecodable: Option<String>,
}

impl ClusterFacts {
    pub(crate) fn of(shoot: &Result<Option<Shoot>, serde_json::Error>) -> Self {
        let undecodable = shoot.as_ref().err().map(ToString::to_string);
        let shoot = shoot.as_ref().ok().and_then(Option::as_ref);
        Self {
            hibernation_requested: shoot.is_some_and(Shoot::is_hibernation_requested),
            hibernated: shoot.is_some_and(Shoot::is_hibernated),
            failed: shoot.is_some_and(Shoot::is_failed),
            deleting: shoot.is_some_and(Shoot::is_deleting),
            force_deletion: shoot.is_some_and(Shoot::is_force_deleted),
            generation: shoot.and_then(|shoot| shoot.metadata.generation),
            undecodable,
        }
    }
}

/// A ManagedResource as last seen; the error is why it could not be decoded.
pub(crate) type Seen<T> = Result<Arc<T>, String>;

#[derive(Debug, Default)]
struct Content {
    extensions: HashMap<Key, Arc<Extension>>,
    digests: HashMap<Key, Digest>,
    managed_resources: HashMap<Key, Seen<ManagedResource>>,
    clusters: HashMap<String, ClusterFacts>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache {
    content: RwLock<Content>,
    /// Watches that have not delivered their first list.
    missing: watch::Sender<BTreeSet<String>>,
}

impl Cache {
    pub(crate) fn new(watches: impl IntoIterator<Item = String>) -> Self {
        Self { content: RwLock::default(), missing: watch::Sender::new(watches.into_iter().collect()) }
    }

    /// The watches that have not delivered yet.
    pub(crate) fn missing(&self) -> watch::Receiver<BTreeSet<String>> {
        self.missing.subscribe()
    }

    /// A watch has delivered its first list.
    pub(crate) fn synced(&self, watch: &str) {
        self.missing.send_if_modified(|missing| missing.remove(watch));
    }

    /// Takes an Extension in; tells whether it is new, and if not, whether it asks for something it did not ask for before.
    pub(crate) fn put_extension(&self, extension: Extension) -> News {
        let key = Key::of(&extension);
        let digest = Digest::of(&extension);
        let mut content = self.write();
        content.extensions.insert(key.clone(), Arc::new(extension));
        match content.digests.insert(key, digest.clone()) {
            None => News::New,
            Some(before) if before == digest => News::None,
            Some(_) => News::Changed,
        }
    }

    /// Remembers what a worker made of an Extension, so that the same request made again counts as a new one, even if the
    /// watch never shows what was in between.
    pub(crate) fn note(&self, extension: &Extension) {
        let key = Key::of(extension);
        if let Some(digest) = self.write().digests.get_mut(&key) {
            *digest = Digest::of(extension);
        }
    }

    pub(crate) fn remove_extension(&self, key: &Key) {
        let mut content = self.write();
        content.extensions.remove(key);
        content.digests.remove(key);
    }

    /// Forgets all others; what a new list no longer holds is gone. Answers what went.
    pub(crate) fn retain_extensions(&self, keep: &BTreeSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self.read().extensions.keys().filter(|key| !keep.contains(*key)).cloned().collect();
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
        let mut keys: Vec<Key> = self.read().extensions.keys().cloned().collect();
        keys.sort();
        keys
    }

    pub(crate) fn extensions_in(&self, namespace: &str) -> Vec<Key> {
        self.read().extensions.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    pub(crate) fn extension_count(&self) -> usize {
        self.read().extensions.len()
    }

    pub(crate) fn put_managed_resource(&self, key: Key, seen: Seen<ManagedResource>) {
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

    pub(crate) fn managed_resource(&self, key: &Key) -> Option<Seen<ManagedResource>> {
        self.read().managed_resources.get(key).cloned()
    }

    /// Whether that is something new.
    pub(crate) fn put_cluster(&self, name: &str, facts: ClusterFacts) -> bool {
        let mut content = self.write();
        if content.clusters.get(name) == Some(&facts) {
            return false;
        }
        content.clusters.insert(name.to_owned(), facts);
        true
    }

    pub(crate) fn remove_cluster(&self, name: &str) {
        self.write().clusters.remove(name);
    }

    pub(crate) fn retain_clusters(&self, keep: &BTreeSet<String>) {
        self.write().clusters.retain(|name, _| keep.contains(name));
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<ClusterFacts> {
        self.read().clusters.get(name).cloned()
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
pub(crate) enum News {
    /// Never seen before.
    New,
    /// It asks for something.
    Changed,
    /// Nothing that concerns us.
    None,
}
