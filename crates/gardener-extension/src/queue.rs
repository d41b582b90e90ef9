//! The work queue: keys with their causes. One key is never handed out twice at a time; what comes meanwhile is kept for later.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::operation::{Trigger, Triggers};

/// What becomes of a key after its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look again after this time, for these causes. Replaces what was planned before the work, not what was planned meanwhile.
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
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub(crate) fn new() -> Self {
        let state = State { entries: HashMap::new(), ready: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
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
        let mut state = self.lock();
        state.entries.entry(key).or_default().plan((at, trigger.into()));
        drop(state);
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
    pub(crate) fn done(&self, key: K, next: Next) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(&key) {
            entry.running = false;
            let before = entry.set_aside.take();
            let next = match next {
                Next::After(delay, triggers) => Some((Instant::now() + delay, triggers)),
                Next::Nothing => None,
                Next::Unchanged => before,
            };
            if let Some(plan) = next {
                entry.plan(plan);
            }
            if !entry.due.is_empty() && !entry.queued {
                entry.queued = true;
                state.ready.push_back(key);
            } else if entry.due.is_empty() && entry.planned.is_none() {
                state.entries.remove(&key);
            }
        }
        drop(state);
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
        (state.ready.len(), state.entries.values().filter(|entry| entry.running).count())
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing in here can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The sooner time counts.
    fn plan(&mut self, (at, triggers): Plan) {
        self.planned = Some(match self.planned {
            None => (at, triggers),
            // The causes of the later one are served with the sooner one.
            Some((sooner, others)) => (at.min(sooner), triggers.union(others)),
        });
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn make_due(&mut self, key: K, triggers: Triggers) {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.due = entry.due.union(triggers);
        if !entry.running && !entry.queued {
            entry.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Makes due what is planned up to now; answers when the next is.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        let mut ripe: Vec<(Instant, K, Triggers)> = Vec::new();
        let mut next: Option<Instant> = None;
        for (key, entry) in &mut self.entries {
            match entry.planned {
                Some((at, triggers)) if at <= now => {
                    entry.planned = None;
                    ripe.push((at, key.clone(), triggers));
                }
                Some((at, _)) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        ripe.sort_by_key(|(at, ..)| *at);
        for (_, key, triggers) in ripe {
            self.make_due(key, triggers);
        }
        next
    }

    fn take(&mut self) -> Option<(K, Triggers)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        entry.queued = false;
        entry.running = true;
        entry.set_aside = entry.planned.take();
        Some((key, std::mem::take(&mut entry.due)))
    }
}

#[cfg(test)]
mod tests;
