//! cri-resmgr, a CRI proxy: what is its own.

use extension_config::names::node;

use crate::blob::{Blob, sha256};
use crate::footprint::{Footprint, Guard, Service};
use crate::managed_file::{FileRole, ManagedFile, Source};
use crate::static_config::StaticConfig;
use crate::texts;

/// What cri-resmgr runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySpec {
    /// The daemon's static configuration.
    pub config: StaticConfig,
    /// Further options of the daemon's command line.
    pub extra_options: String,
    /// The daemon.
    pub daemon: Blob,
    /// The image carries another daemon; this one was kept on the host.
    pub daemon_is_kept: bool,
}

/// What of it may stand on a host.
pub(super) static FOOTPRINT: Footprint = Footprint {
    files: &[
        node::DAEMON,
        node::KEPT_DAEMON,
        node::GATE,
        node::FALLBACK_CONFIG,
        node::FORCE_CONFIG,
        node::ENVIRONMENT_FILE,
        node::DAEMON_UNIT_FILE,
        node::GUARD_UNIT_FILE,
        node::GUARD_TIMER_FILE,
        node::KUBELET_DROP_IN,
    ],
    shared: &[node::GATE],
    links: &[(node::DAEMON_UNIT_LINK, node::DAEMON_UNIT_FILE), (node::GUARD_TIMER_LINK, node::GUARD_TIMER_FILE)],
    directories: &[
        "/opt/intel",
        "/opt/intel/bin",
        "/opt/gardener-extension-cri-resmgr",
        node::GATE_DIR,
        "/etc/default",
        node::CONFIG_DIR,
        "/etc/systemd/system/multi-user.target.wants",
        "/etc/systemd/system/timers.target.wants",
    ],
    // Of the override of kubelet.
    late_directories: &["/etc/systemd/system.control", node::KUBELET_DROP_IN_DIR],
    own_directories: &["/opt/gardener-extension-cri-resmgr", node::GATE_DIR],
    own_trees: &[
        (node::DAEMON_STATE_DIR, node::ASIDE_STATE_DIR),
        (node::DAEMON_RUN_DIR, node::ASIDE_RUN_DIR),
        (node::DAEMON_PID_FILE, node::ASIDE_PID_FILE),
    ],
    // Configuration, policy and allocations.
    cache: "/var/lib/cri-resmgr/cache",
    written: &[node::RUNTIME_ENV],
    bookkeeping: &[node::STATE_DIR, node::RUN_DIR],
    // Of the Go original's installation script.
    predecessor: "/etc/cri-resmgr/EXTRA_OPTIONS.cfg",
    service: Service {
        unit: node::DAEMON_UNIT,
        file: node::DAEMON_UNIT_FILE,
        binary: node::DAEMON,
        kept_binary: node::KEPT_DAEMON,
    },
    guard: Some(Guard {
        unit: node::GUARD_UNIT,
        unit_file: node::GUARD_UNIT_FILE,
        timer: node::GUARD_TIMER,
        timer_file: node::GUARD_TIMER_FILE,
    }),
};

impl ProxySpec {
    /// Its files and the host's gate, in the order in which they are put in place.
    pub(crate) fn files(&self, gate: &Blob) -> Vec<ManagedFile> {
        let text = |path, mode, text: String, role| {
            let sha256 = sha256(text.as_bytes());
            ManagedFile { path, mode, source: Source::Text(text), sha256, role }
        };
        let mut files = vec![
            ManagedFile {
                path: node::DAEMON,
                mode: 0o755,
                source: if self.daemon_is_kept { Source::Host(node::KEPT_DAEMON) } else { Source::Daemon },
                sha256: self.daemon.sha256.clone(),
                role: FileRole::Daemon,
            },
            ManagedFile {
                path: node::GATE,
                mode: 0o755,
                source: Source::Gate,
                sha256: gate.sha256.clone(),
                role: FileRole::Gate,
            },
        ];
        match &self.config {
            StaticConfig::BuiltIn => {}
            StaticConfig::Fallback(config) => {
                files.push(text(node::FALLBACK_CONFIG, 0o644, texts::configuration(config), FileRole::Daemon));
            }
            StaticConfig::Force(config) => {
                files.push(text(node::FORCE_CONFIG, 0o644, texts::configuration(config), FileRole::Daemon));
            }
        }
        files.push(text(
            node::ENVIRONMENT_FILE,
            0o644,
            texts::environment(&self.config, &self.extra_options),
            FileRole::Daemon,
        ));
        files.push(text(node::DAEMON_UNIT_FILE, 0o644, texts::daemon_unit(), FileRole::DaemonUnit));
        files.push(text(node::GUARD_UNIT_FILE, 0o644, texts::guard_unit(), FileRole::GuardUnit));
        files.push(text(node::GUARD_TIMER_FILE, 0o644, texts::guard_timer(), FileRole::GuardUnit));
        files.push(text(node::KUBELET_DROP_IN, 0o644, texts::kubelet_override(), FileRole::Override));
        files
    }
}
