//! Which kubelet, containerd and runc the workers have, and which control plane goes with them.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;

use crate::components::{
    Component, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KUBELET, NEW_KUBE_APISERVER,
    NEW_KUBE_CONTROLLER_MANAGER, NEW_KUBE_SCHEDULER, NEW_KUBELET,
};

/// See the module. Gardener supports four minor versions of Kubernetes at a time; these are the oldest and the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Generation {
    /// Kubernetes 1.34 on the containerd and runc of Debian 12.
    Old,
    /// Kubernetes 1.37 on containerd 2.3 and the runc that it pins: what a Gardener of today runs on.
    #[default]
    New,
}

/// Programs of Kubernetes, one version. A kubelet must not be newer than its API server.
pub(crate) struct Kubernetes {
    pub(crate) apiserver: Component,
    pub(crate) controller_manager: Component,
    pub(crate) scheduler: Component,
    pub(crate) kubelet: Component,
}

impl Generation {
    /// Environment variable by which `cargo xtask test --real` hands it to the tests.
    pub const VARIABLE: &str = "TESTBED_GENERATION";

    /// What the environment says, or the default.
    ///
    /// # Errors
    /// When it says something else than `old` or `new`.
    pub fn from_env() -> anyhow::Result<Self> {
        match std::env::var(Self::VARIABLE) {
            Ok(word) => word.parse().with_context(|| format!("environment variable {}", Self::VARIABLE)),
            Err(_absent) => Ok(Self::default()),
        }
    }

    pub(crate) const fn kubernetes(self) -> Kubernetes {
        match self {
            Self::Old => Kubernetes {
                apiserver: KUBE_APISERVER,
                controller_manager: KUBE_CONTROLLER_MANAGER,
                scheduler: KUBE_SCHEDULER,
                kubelet: KUBELET,
            },
            Self::New => Kubernetes {
                apiserver: NEW_KUBE_APISERVER,
                controller_manager: NEW_KUBE_CONTROLLER_MANAGER,
                scheduler: NEW_KUBE_SCHEDULER,
                kubelet: NEW_KUBELET,
            },
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

impl FromStr for Generation {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "old" => Ok(Self::Old),
            "new" => Ok(Self::New),
            other => anyhow::bail!("{other:?} is no generation of workers: old or new"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_as_it_is_written() {
        for generation in [Generation::Old, Generation::New] {
            assert_eq!(generation.to_string().parse::<Generation>().unwrap(), generation);
        }
        assert!("1.37".parse::<Generation>().unwrap_err().to_string().contains("old or new"));
    }
}
