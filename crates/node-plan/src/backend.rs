//! Backends: what decides about the CPUs and memory of the node's containers. They are a closed set, so that whatever depends on which one it is
//! is a `match` that a new one does not get past unseen; all else is written once, over its [`Footprint`].

pub(crate) mod proxy;

use crate::blob::Blob;
use crate::footprint::Footprint;
use crate::journal::Proven;
use crate::managed_file::ManagedFile;

pub use proxy::ProxySpec;

/// A backend by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// cri-resmgr, a CRI proxy between kubelet and containerd.
    Proxy,
}

impl Backend {
    /// Every one.
    pub const ALL: [Self; 1] = [Self::Proxy];

    /// What of it may stand on a host. By kind and not by what it is configured with, because a removal does not know that.
    #[must_use]
    pub fn footprint(self) -> &'static Footprint {
        match self {
            Self::Proxy => &proxy::FOOTPRINT,
        }
    }
}

/// A backend with all that it is to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSpec {
    /// cri-resmgr, a CRI proxy.
    Proxy(ProxySpec),
}

impl BackendSpec {
    /// Which one it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::Proxy(_) => Backend::Proxy,
        }
    }

    /// Its program.
    #[must_use]
    pub fn binary(&self) -> &Blob {
        match self {
            Self::Proxy(proxy) => &proxy.daemon,
        }
    }

    /// Its files and the host's gate, in the order in which they are put in place.
    pub(crate) fn files(&self, gate: &Blob) -> Vec<ManagedFile> {
        match self {
            Self::Proxy(proxy) => proxy.files(gate),
        }
    }

    /// Name of its policy: what it keeps of another one must not meet this one.
    pub(crate) fn policy(&self) -> String {
        match self {
            Self::Proxy(proxy) => proxy.config.active_policy(),
        }
    }

    /// What is remembered of it once it is proven.
    pub(crate) fn to_remember(&self) -> Proven {
        match self {
            Self::Proxy(proxy) => Proven {
                config: proxy.config.clone(),
                extra_options: proxy.extra_options.clone(),
                daemon: proxy.daemon.clone(),
            },
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
    Backend::ALL.iter().flat_map(|backend| backend.footprint().paths()).collect()
}
