//! Everything that is stored, and the log of its changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Failure;
use super::apply::Manager;
use super::object::{is_same, metadata};
use super::resource::Resource;
use super::selector::Selector;

/// Changes that watches can begin at.
const LOG: usize = 10_000;
/// The first revision: an empty API has a past, too, which nobody can ask for.
const BIRTH: u64 = 1000;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    revision: u64,
    objects: BTreeMap<Key, Stored>,
    log: VecDeque<Change>,
    /// Changes up to this revision are forgotten.
    forgotten: u64,
}

/// Group, plural, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) object: Arc<Value>,
    pub(super) managers: Vec<Manager>,
}

#[derive(Debug, Clone)]
struct Change {
    revision: u64,
    key: Key,
    before: Option<Arc<Value>>,
    after: Option<Arc<Value>>,
    /// The object as it was when it went, with the revision of that.
    last: Option<Arc<Value>>,
}

/// What a watch sends.
#[derive(Debug, Clone)]
pub(super) struct WatchEvent {
    pub(super) kind: &'static str,
    pub(super) object: Arc<Value>,
}

impl Default for Store {
    fn default() -> Self {
        let state = State { revision: BIRTH, objects: BTreeMap::new(), log: VecDeque::new(), forgotten: BIRTH };
        Self(Arc::new(Inner { state: Mutex::new(state), revision: watch::Sender::new(BIRTH) }))
    }
}

impl Store {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the watches what was done under the lock.
    pub(super) fn broadcast_change(&self, state: MutexGuard<'_, State>) {
        let revision = state.revision;
        drop(state);
        self.0.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }

    /// Turns whenever something was written.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = Resource::by_plural(group, plural).ok()?;
        self.lock().get(&Key::new(resource, namespace, name)).map(|stored| Value::clone(&stored.object))
    }

    /// All objects of a kind; in all namespaces where none is given.
    #[must_use]
    pub fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
        let Ok(resource) = Resource::by_plural(group, plural) else { return Vec::new() };
        self.lock()
            .list(resource, namespace, &Selector::default())
            .into_iter()
            .map(|object| Value::clone(&object))
            .collect()
    }

    /// Looks at one object without a copy of it.
    pub fn read<T>(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        read: impl FnOnce(&Value) -> T,
    ) -> Option<T> {
        let resource = Resource::by_plural(group, plural).ok()?;
        // The lock is for the search only.
        let found = self.lock().get(&Key::new(resource, namespace, name)).map(|stored| Arc::clone(&stored.object));
        found.map(|object| read(&object))
    }

    /// Looks at all objects of a kind without copies of them; in all namespaces where none is given.
    pub fn visit(&self, group: &str, plural: &str, namespace: &str, read: impl FnMut(&Value)) {
        let Ok(resource) = Resource::by_plural(group, plural) else { return };
        let found = self.lock().list(resource, namespace, &Selector::default());
        found.iter().map(AsRef::as_ref).for_each(read);
    }

    /// Forgets the log: watches that want to go on from before now learn that it expired.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.log.clear();
        state.forgotten = state.revision;
    }
}

impl Key {
    pub(super) fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace.to_owned() } else { String::new() };
        Self { group: resource.group, plural: resource.plural, namespace, name: name.to_owned() }
    }
}

impl State {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    pub(super) fn list(&self, resource: &Resource, namespace: &str, selector: &Selector) -> Vec<Arc<Value>> {
        let first = Key::new(resource, "", "");
        self.objects
            .range(first..)
            .take_while(|(key, _)| key.group == resource.group && key.plural == resource.plural)
            .filter(|(key, _)| namespace.is_empty() || key.namespace == namespace)
            .map(|(_, stored)| Arc::clone(&stored.object))
            .filter(|object| selector.matches(object))
            .collect()
    }

    /// Stores an object, unless it is what is stored already. Gives it as it is now.
    pub(super) fn put(&mut self, key: Key, mut object: Value, managers: Vec<Manager>) -> Arc<Value> {
        let before = self.objects.get(&key);
        if let Some(stored) = before
            && is_same(&stored.object, &object)
            && owners(&stored.managers) == owners(&managers)
        {
            return Arc::clone(&stored.object);
        }
        let before = before.map(|stored| Arc::clone(&stored.object));
        self.revision += 1;
        let entries: Vec<Value> = managers.iter().map(Manager::to_json).collect();
        metadata(&mut object).insert("resourceVersion".to_owned(), json!(self.revision.to_string()));
        metadata(&mut object).insert("managedFields".to_owned(), Value::Array(entries));
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Stored { object: Arc::clone(&object), managers });
        self.record(Change { revision: self.revision, key, before, after: Some(Arc::clone(&object)), last: None });
        object
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(stored) = self.objects.remove(key) else { return };
        self.revision += 1;
        let mut last = Value::clone(&stored.object);
        metadata(&mut last).insert("resourceVersion".to_owned(), json!(self.revision.to_string()));
        self.record(Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(stored.object),
            after: None,
            last: Some(Arc::new(last)),
        });
    }

    fn record(&mut self, change: Change) {
        self.log.push_back(change);
        while self.log.len() > LOG {
            self.forgotten = self.log.pop_front().map_or(self.forgotten, |change| change.revision);
        }
    }

    /// What happened after a revision to objects that are, or were, selected.
    pub(super) fn since(
        &self,
        resource: &Resource,
        namespace: &str,
        selector: &Selector,
        revision: u64,
    ) -> Result<Vec<WatchEvent>, Failure> {
        if revision < self.forgotten {
            return Err(Failure::expired(revision, self.forgotten));
        }
        let start = self.log.partition_point(|change| change.revision <= revision);
        let mut events = Vec::new();
        for change in self.log.range(start..) {
            let key = &change.key;
            let is_meant = key.group == resource.group
                && key.plural == resource.plural
                && (namespace.is_empty() || key.namespace == namespace);
            if !is_meant {
                continue;
            }
            let seen = |object: &Option<Arc<Value>>| object.clone().filter(|object| selector.matches(object));
            let (kind, object) = match (seen(&change.before), seen(&change.after)) {
                (None, Some(after)) => ("ADDED", after),
                (Some(_), Some(after)) => ("MODIFIED", after),
                // It is gone, or no longer selected; the revision must go forward in both cases.
                (Some(before), None) => {
                    ("DELETED", change.last.clone().unwrap_or_else(|| at_revision(&before, change.revision)))
                }
                (None, None) => continue,
            };
            events.push(WatchEvent { kind, object });
        }
        Ok(events)
    }
}

fn at_revision(object: &Value, revision: u64) -> Arc<Value> {
    let mut object = object.clone();
    metadata(&mut object).insert("resourceVersion".to_owned(), json!(revision.to_string()));
    Arc::new(object)
}

/// Ownership without its times: an apply of the same again is no change.
fn owners(managers: &[Manager]) -> Vec<Manager> {
    let mut all: Vec<Manager> =
        managers.iter().map(|manager| Manager { time: String::new(), ..manager.clone() }).collect();
    all.sort_by(|one, other| {
        (&one.name, one.operation, one.subresource).cmp(&(&other.name, other.operation, other.subresource))
    });
    all
}
