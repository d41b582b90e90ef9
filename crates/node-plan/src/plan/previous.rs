//! What was proven before the installation that is wanted now: what a failed change goes back to.

use crate::backend::{BackendSpec, ProxySpec};
use crate::desired::Installation;
use crate::observed::Observed;

impl Installation {
    /// The one that was proven before this one; `None` when that was the same, or its daemon is not at hand any more.
    #[must_use]
    pub fn before(&self, observed: &Observed) -> Option<Self> {
        let proven = observed.journal.as_ref()?.proven.as_ref()?;
        let daemon_is_kept = proven.daemon.sha256 != self.backend.binary().sha256;
        let is_there = |path: &str| observed.entry(path).has_content(&proven.daemon.sha256);
        let service = &self.backend.backend().footprint().service;
        if daemon_is_kept && !is_there(service.kept_binary) && !is_there(service.binary) {
            return None;
        }
        let backend = BackendSpec::Proxy(ProxySpec {
            config: proven.config.clone(),
            extra_options: proven.extra_options.clone(),
            daemon: proven.daemon.clone(),
            daemon_is_kept,
        });
        let before = Self { backend, gate: self.gate.clone(), restart_request: None };
        (before.inputs() != self.inputs()).then_some(before)
    }
}
