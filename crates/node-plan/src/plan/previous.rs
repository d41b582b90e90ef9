//! What was proven before the installation that is wanted now: what a failed change goes back to.

use crate::backend::{BackendSpec, PluginSpec, ProxySpec};
use crate::desired::Installation;
use crate::journal::Proven;
use crate::kind::Backend;
use crate::observed::Observed;
use crate::plan::handover::present;

impl Installation {
    /// The one that was proven before this one: of the other backend where that is here, too. `None` when that was the same, or its daemon is not
    /// at hand any more.
    #[must_use]
    pub fn before(&self, observed: &Observed) -> Option<Self> {
        let wanted = self.backend.backend();
        let other = present(observed).into_iter().find(|backend| *backend != wanted);
        let of_other = other.and_then(|other| self.proven_of(observed, other));
        of_other.or_else(|| self.proven_of(observed, wanted).filter(|before| before.inputs() != self.inputs()))
    }

    /// What was proven of a backend, if its daemon is at hand.
    pub(super) fn proven_of(&self, observed: &Observed, kind: Backend) -> Option<Self> {
        let proven = observed.journal.as_ref()?.of(kind).proven?;
        let binary = proven.binary();
        let is_there = |path: &str| observed.entry(path).has_content(&binary.sha256);
        let service = &kind.footprint().service;
        // The program of the other backend that the image carries is not known here: it is only kept.
        let in_image = kind == self.backend.backend() && binary.sha256 == self.backend.binary().sha256;
        let in_place = kind != self.backend.backend() && is_there(service.binary);
        let is_kept = !in_image && !in_place;
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
        Some(Self { backend, gate: self.gate.clone(), restart_request: None, handover: None })
    }
}
