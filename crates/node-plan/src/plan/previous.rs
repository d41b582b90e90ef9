//! What was proven before the installation that is wanted now: what a failed change goes back to.

use crate::backend::{BackendSpec, PluginSpec, ProxySpec};
use crate::desired::Installation;
use crate::journal::Proven;
use crate::observed::Observed;

impl Installation {
    /// The one that was proven before this one; `None` when that was the same, or its daemon is not at hand any more.
    #[must_use]
    pub fn before(&self, observed: &Observed) -> Option<Self> {
        let kind = self.backend.backend();
        let proven = observed.journal.as_ref()?.of(kind).proven?;
        let binary = proven.binary();
        let is_kept = binary.sha256 != self.backend.binary().sha256;
        let is_there = |path: &str| observed.entry(path).has_content(&binary.sha256);
        let service = &kind.footprint().service;
        if is_kept && !is_there(service.kept_binary) && !is_there(service.binary) {
            return None;
        }
        let backend = match proven {
            Proven::Proxy(proven) => BackendSpec::Proxy(ProxySpec {
                config: proven.config,
                extra_options: proven.extra_options,
                daemon: proven.daemon,
                daemon_is_kept: is_kept,
            }),
            Proven::Plugin(proven) => BackendSpec::Plugin(PluginSpec {
                kind: proven.kind,
                document: proven.document,
                binary: proven.binary,
                binary_is_kept: is_kept,
                request_timeout_seconds: proven.request_timeout_seconds,
            }),
        };
        let before = Self { backend, gate: self.gate.clone(), restart_request: None };
        (before.inputs() != self.inputs()).then_some(before)
    }
}
