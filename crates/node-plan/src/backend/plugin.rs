//! A policy of nri-plugins, a plugin of containerd: what is its own.

use extension_config::names::node;
use nri_policy::Kind;

use crate::blob::{Blob, sha256};
use crate::footprint::{Footprint, Service};
use crate::managed_file::{FileRole, ManagedFile, Source};
use crate::texts;

/// What a policy of nri-plugins runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSpec {
    /// Which policy.
    pub kind: Kind,
    /// Its whole document ([`nri_policy::Checked::document`]).
    pub document: String,
    /// Its program.
    pub binary: Blob,
    /// The image carries another program; this one was kept on the host.
    pub binary_is_kept: bool,
    /// How long containerd waits for an answer of the policy before it drops it, seconds.
    pub request_timeout_seconds: u64,
}

/// What of it may stand on a host.
pub(super) static FOOTPRINT: Footprint = Footprint {
    files: &[
        node::PLUGIN,
        node::KEPT_PLUGIN,
        node::TRIED_PLUGIN,
        node::GATE,
        node::PLUGIN_CONFIG,
        node::PLUGIN_UNIT_FILE,
    ],
    shared: &[node::GATE],
    links: &[(node::PLUGIN_UNIT_LINK, node::PLUGIN_UNIT_FILE)],
    directories: &[
        "/opt/gardener-extension-cri-resmgr",
        node::GATE_DIR,
        node::PLUGIN_CONFIG_DIR,
        "/etc/systemd/system/multi-user.target.wants",
    ],
    late_directories: &[],
    own_directories: &["/opt/gardener-extension-cri-resmgr", node::GATE_DIR, node::PLUGIN_CONFIG_DIR],
    own_trees: &[
        (node::PLUGIN_STATE_DIR, node::ASIDE_PLUGIN_STATE_DIR),
        (node::PLUGIN_RUN_DIR, node::ASIDE_PLUGIN_RUN_DIR),
    ],
    cache: node::PLUGIN_BOOKS,
    written: &[node::TRIAL_OUTPUT],
    bookkeeping: &[node::STATE_DIR, node::RUN_DIR],
    predecessor: node::FOREIGN_PLUGIN_RUN_DIR,
    service: Service {
        unit: node::PLUGIN_UNIT,
        file: node::PLUGIN_UNIT_FILE,
        binary: node::PLUGIN,
        kept_binary: node::KEPT_PLUGIN,
    },
    guard: None,
};

impl PluginSpec {
    /// Its files and the host's gate, in the order in which they are put in place.
    pub(crate) fn files(&self, gate: &Blob) -> Vec<ManagedFile> {
        let text = |path, text: String, role| {
            let sha256 = sha256(text.as_bytes());
            ManagedFile { path, mode: 0o644, source: Source::Text(text), sha256, role }
        };
        vec![
            ManagedFile {
                path: node::PLUGIN,
                mode: 0o755,
                source: if self.binary_is_kept { Source::Host(node::KEPT_PLUGIN) } else { Source::Policy(self.kind) },
                sha256: self.binary.sha256.clone(),
                role: FileRole::Daemon,
            },
            ManagedFile {
                path: node::GATE,
                mode: 0o755,
                source: Source::Gate,
                sha256: gate.sha256.clone(),
                role: FileRole::Gate,
            },
            text(node::PLUGIN_CONFIG, texts::configuration(&self.document), FileRole::Daemon),
            text(node::PLUGIN_UNIT_FILE, texts::plugin_unit(self.kind), FileRole::DaemonUnit),
        ]
    }
}
