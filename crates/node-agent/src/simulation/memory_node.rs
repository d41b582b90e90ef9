//! A node as its owner sees it, agent or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use node_plan::Entry;
use node_plan::testing::NodeState;

/// Cheap to clone; clones are the same node.
#[derive(Debug, Clone)]
pub struct MemoryNode {
    name: String,
    state: Arc<Mutex<NodeState>>,
    locked: Arc<AtomicBool>,
}

/// What has to be as before when the extension is gone: all but how often something was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    entries: BTreeMap<String, Entry>,
    loaded: BTreeSet<String>,
    has_journal: bool,
    is_locked: bool,
    is_on_proxy: bool,
    /// kubelet, the daemon and the guard's timer.
    runs: [bool; 3],
}

impl MemoryNode {
    pub(super) fn new(name: String) -> Self {
        // Time is the clock's, and a configuration may name any CPU.
        let state = NodeState { cpus: "", ..NodeState::new(0) };
        Self { name, state: Arc::new(Mutex::new(state)), locked: Arc::default() }
    }

    /// Name of its Node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a daemon that is started from now on, or runs, answers.
    pub fn let_daemon_work(&self, works: bool) {
        self.state().daemon_works = works;
    }

    /// Whether kubelet runs, and on the proxy.
    #[must_use]
    pub fn is_on_proxy(&self) -> bool {
        self.state().is_on_proxy()
    }

    /// Whether kubelet runs and the runtime that it was given answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        state.kubelet.active && (!state.is_on_proxy() || state.proxy_answers())
    }

    /// How often kubelet was started again since the node was made.
    #[must_use]
    pub fn kubelet_restarts(&self) -> u32 {
        self.state().kubelet.starts.saturating_sub(1)
    }

    /// The node as it is now.
    #[must_use]
    pub fn image(&self) -> Image {
        let state = self.state();
        Image {
            entries: state.entries.clone(),
            loaded: state.loaded.clone(),
            has_journal: state.journal.is_some(),
            is_locked: self.locked.load(Ordering::Relaxed),
            is_on_proxy: state.is_on_proxy(),
            runs: [state.kubelet.active, state.daemon.active, state.timer.active],
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's lock; false when another agent holds it.
    pub(super) fn lock(&self) -> bool {
        !self.locked.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }
}
