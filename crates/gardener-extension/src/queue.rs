//! The work queue: keys with their causes. One key is never handed out twice at a time; what comes meanwhile is kept for later.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::operation::{Trigger, Triggers};

/// What becomes of a key after its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// Reconcile again after this time, for these causes. Replaces what was planned before the work, not what was planned meanwhile.
    After(Duration, Triggers),
    /// Nothing is planned any more.
    Nothing,
    /// As planned before.
    Unchanged,
}

type Plan = (Instant, Triggers);

#[derive(Debug, Default)]
struct Entry {
    /// Causes that are due.
    due: Triggers,
    /// Causes that become due later.
    planned: Option<Plan>,
    /// What was planned when the worker took it.
    set_aside: Option<Plan>,
    /// A worker has it.
    running: bool,
    /// It stands in `ready`.
    queued: bool,
}

#[derive(Debug)]
struct State<K> {
    entries: HashMap<K, Entry>,
    ready: VecDeque<K>,
    /// What is planned, the soonest first; each key with the time in its entry.
    plans: BTreeSet<(Instant, K)>,
    /// Entries that a worker has.
    running: usize,
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

impl<K: Clone + Ord + Hash> Queue<K> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::new()), changed: Notify::new() }
    }

    /// Hands the key to a worker as soon as one is free.
    pub(crate) fn add(&self, key: K, trigger: Trigger) {
        self.lock().make_due(key, trigger.into());
        self.changed.notify_one();
    }

    /// Hands the key to a worker after `delay`, or sooner if that is planned.
    pub(crate) fn add_after(&self, key: K, trigger: Trigger, delay: Duration) {
        if delay.is_zero() {
            return self.add(key, trigger);
        }
        let at = Instant::now() + delay;
        self.lock().plan(key, (at, trigger.into()));
        self.changed.notify_one();
    }

    /// Whether a worker has the key, or something is planned for it for this cause.
    pub(crate) fn is_running_or_planned(&self, key: &K, trigger: Trigger) -> bool {
        self.lock()
            .entries
            .get(key)
            .is_some_and(|entry| entry.running || entry.planned.is_some_and(|(_, planned)| planned.contains(trigger)))
    }

    /// The next key and its causes; `None` once the queue is closed. The worker must give it back with [`Self::done`].
    pub(crate) async fn next(&self) -> Option<(K, Triggers)> {
        loop {
            let planned = {
                let mut state = self.lock();
                if state.closed {
                    // Pass it on: each waiter gets one permit only.
                    self.changed.notify_one();
                    return None;
                }
                let planned = state.ripen(Instant::now());
                if let Some(taken) = state.take() {
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(taken);
                }
                planned
            };
            match planned {
                Some(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Gives a key back.
    pub(crate) fn done(&self, key: K, next: Requeue) {
        self.lock().give_back(key, next);
        self.changed.notify_one();
    }

    /// No more work is handed out; what is under way goes on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Keys that are due, and keys that are worked on.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ready.len(), state.running)
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing in here can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Hash> State<K> {
    fn new() -> Self {
        Self { entries: HashMap::new(), ready: VecDeque::new(), plans: BTreeSet::new(), running: 0, closed: false }
    }

    fn make_due(&mut self, key: K, triggers: Triggers) {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.due = entry.due.union(triggers);
        if !entry.running && !entry.queued {
            entry.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Plans it; of two times the sooner counts, and serves the causes of both.
    fn plan(&mut self, key: K, (at, triggers): Plan) {
        let entry = self.entries.entry(key.clone()).or_default();
        let plan = match entry.planned {
            None => (at, triggers),
            Some((before, others)) => {
                self.plans.remove(&(before, key.clone()));
                (at.min(before), triggers.union(others))
            }
        };
        entry.planned = Some(plan);
        self.plans.insert((plan.0, key));
    }

    /// Makes due what is planned up to now, the soonest first; returns when the next is.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, _)) = self.plans.first() {
            if *at > now {
                return Some(*at);
            }
            let Some((_, key)) = self.plans.pop_first() else { break };
            if let Some((_, triggers)) = self.entries.get_mut(&key).and_then(|entry| entry.planned.take()) {
                self.make_due(key, triggers);
            }
        }
        None
    }

    fn take(&mut self) -> Option<(K, Triggers)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        entry.queued = false;
        entry.running = true;
        self.running += 1;
        entry.set_aside = entry.planned.take();
        if let Some((at, _)) = entry.set_aside {
            self.plans.remove(&(at, key.clone()));
        }
        Some((key, std::mem::take(&mut entry.due)))
    }

    fn give_back(&mut self, key: K, next: Requeue) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.running -= usize::from(std::mem::take(&mut entry.running));
        let before = entry.set_aside.take();
        let plan = match next {
            Requeue::After(delay, triggers) => Some((Instant::now() + delay, triggers)),
            Requeue::Nothing => None,
            Requeue::Unchanged => before,
        };
        if !entry.due.is_empty() && !entry.queued {
            entry.queued = true;
            self.ready.push_back(key.clone());
        } else if entry.due.is_empty() && entry.planned.is_none() && plan.is_none() {
            self.entries.remove(&key);
        }
        if let Some(plan) = plan {
            self.plan(key, plan);
        }
    }
}

#[cfg(test)]
mod tests;
