//! Backends by kind.

/// What decides about the CPUs and memory of the node's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// cri-resmgr, a CRI proxy between kubelet and containerd.
    Proxy,
    /// A policy of nri-plugins, a plugin of containerd.
    Plugin,
}

impl Backend {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Proxy, Self::Plugin];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Proxy => Self::Plugin,
            Self::Plugin => Self::Proxy,
        }
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "cri-resmgr",
            Self::Plugin => "a policy of nri-plugins",
        }
    }
}
