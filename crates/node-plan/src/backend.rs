//! Backends: what decides about the CPUs and memory of the node's containers. They are a closed set, so that whatever depends on which one it is
//! is a `match` that a new one does not get past unseen; all else is written once, over its [`Footprint`].

pub(crate) mod plugin;
pub(crate) mod proxy;

use crate::blob::Blob;
use crate::footprint::Footprint;
use crate::journal::{Proven, ProvenPlugin, ProvenProxy};
use crate::kind::Backend;
use crate::managed_file::ManagedFile;

pub use plugin::PluginSpec;
pub use proxy::ProxySpec;

impl Backend {
    /// What of it may stand on a host. By kind and not by what it is configured with, because a removal does not know that.
    #[must_use]
    pub fn footprint(self) -> &'static Footprint {
        match self {
            Self::Proxy => &proxy::FOOTPRINT,
            Self::Plugin => &plugin::FOOTPRINT,
        }
    }
}

/// A backend with all that it is to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSpec {
    /// cri-resmgr, a CRI proxy.
    Proxy(ProxySpec),
    /// A policy of nri-plugins.
    Plugin(PluginSpec),
}

impl BackendSpec {
    /// Which one it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::Proxy(_) => Backend::Proxy,
            Self::Plugin(_) => Backend::Plugin,
        }
    }

    /// Its program.
    #[must_use]
    pub fn binary(&self) -> &Blob {
        match self {
            Self::Proxy(proxy) => &proxy.daemon,
            Self::Plugin(plugin) => &plugin.binary,
        }
    }

    /// Its files and the host's gate, in the order in which they are put in place.
    pub(crate) fn files(&self, gate: &Blob) -> Vec<ManagedFile> {
        match self {
            Self::Proxy(proxy) => proxy.files(gate),
            Self::Plugin(plugin) => plugin.files(gate),
        }
    }

    /// Name of its policy: what it keeps of another one must not meet this one.
    pub(crate) fn policy(&self) -> String {
        match self {
            Self::Proxy(proxy) => proxy.config.active_policy(),
            Self::Plugin(plugin) => plugin.kind.name().to_owned(),
        }
    }

    /// What is remembered of it once it is proven.
    pub(crate) fn to_remember(&self) -> Proven {
        match self {
            Self::Proxy(proxy) => Proven::Proxy(ProvenProxy {
                config: proxy.config.clone(),
                extra_options: proxy.extra_options.clone(),
                daemon: proxy.daemon.clone(),
            }),
            Self::Plugin(plugin) => Proven::Plugin(ProvenPlugin {
                kind: plugin.kind,
                document: plugin.document.clone(),
                binary: plugin.binary.clone(),
                request_timeout_seconds: plugin.request_timeout_seconds,
            }),
        }
    }
}

/// What the daemon makes itself; deleted at removal.
#[must_use]
pub fn daemon_paths() -> Vec<&'static str> {
    Backend::ALL.iter().flat_map(|backend| backend.footprint().own_trees.iter().map(|(path, _)| *path)).collect()
}

/// Every path that the planner wants to know about.
#[must_use]
pub fn watched_paths() -> Vec<&'static str> {
    let all = Backend::ALL.iter().flat_map(|backend| backend.footprint().paths());
    // Some are of several.
    all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_files_are_those_that_both_backends_have() {
        for backend in Backend::ALL {
            let other = backend.other().footprint().files;
            let both: Vec<&str> =
                backend.footprint().files.iter().copied().filter(|path| other.contains(path)).collect();
            assert_eq!(backend.footprint().shared, both);
        }
    }
}
