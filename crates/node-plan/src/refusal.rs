//! Reasons not to install on a node, with their sentences for people.

use std::fmt;

use extension_config::ReasonCode;
use kubelet_config::Setting;

use crate::kubelet::UnitShapeError;

/// What a refusal means for a node that is installed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Leave everything as it is.
    Hold,
    /// The proxy must not be used here: make the node clean.
    Leave,
}

/// A reason not to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// kubelet cannot be led onto the proxy.
    KubeletShape(UnitShapeError),
    /// systemd has not loaded kubelet's unit.
    KubeletNotLoaded {
        /// Its load state.
        load_state: String,
    },
    /// A resource manager of kubelet that the proxy works against.
    KubeletManager {
        /// kubelet's name for the setting.
        name: &'static str,
        /// What it is set to, and where.
        setting: Setting,
        /// The one value that works.
        works: &'static str,
    },
    /// A resource manager of kubelet that sets CPUs or memory nodes of containers, as a policy does.
    KubeletPins {
        /// kubelet's name for the setting.
        name: &'static str,
        /// What it is set to, and where.
        setting: Setting,
        /// The one value that works.
        works: &'static str,
    },
    /// The runtime is another one, or does not say which version it is.
    NotContainerd {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// containerd is too old for plugins.
    OldContainerd {
        /// Its version.
        version: String,
        /// The oldest that will do.
        oldest: String,
    },
    /// containerd takes no plugins.
    NriOff {
        /// Its version.
        version: String,
    },
    /// Somebody else's policy is here, or was.
    OtherPolicy {
        /// By what it is known.
        trace: String,
    },
    /// It is not known how kubelet is configured, and why.
    KubeletConfiguration(String),
    /// systemd is too old.
    Systemd {
        /// Its version, as it says it.
        version: String,
        /// The oldest that will do.
        oldest: u32,
    },
    /// The image has no program for this machine.
    Architecture {
        /// The program.
        program: &'static str,
        /// The machine's.
        node: String,
        /// The program's.
        image: String,
    },
    /// The former extension was here.
    Predecessor {
        /// What it left.
        path: &'static str,
    },
    /// Somebody has masked one of our units.
    Masked {
        /// Name of the masked unit.
        unit: &'static str,
    },
    /// What was there before us cannot be moved aside.
    AsideIsTaken {
        /// Where it stands.
        path: &'static str,
        /// Where something stands, too.
        aside: &'static str,
    },
    /// Somebody else's file stands where ours would.
    Foreign {
        /// Absolute path on the host.
        path: &'static str,
    },
    /// The configuration names CPUs that the node does not have; which ones.
    AbsentCpus(String),
    /// A file system is too full.
    Space {
        /// A path on it.
        path: &'static str,
        /// Free bytes.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
}

impl Refusal {
    /// The word by which programs distinguish it.
    #[must_use]
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::KubeletShape(_) => ReasonCode::KubeletShape,
            Self::KubeletNotLoaded { .. } => ReasonCode::KubeletNotLoaded,
            Self::KubeletManager { .. } => ReasonCode::KubeletManager,
            Self::KubeletPins { .. } => ReasonCode::KubeletPins,
            Self::NotContainerd { .. } => ReasonCode::NotContainerd,
            Self::OldContainerd { .. } => ReasonCode::OldContainerd,
            Self::NriOff { .. } => ReasonCode::NriOff,
            Self::OtherPolicy { .. } => ReasonCode::OtherPolicy,
            Self::KubeletConfiguration(_) => ReasonCode::KubeletConfiguration,
            Self::Systemd { .. } => ReasonCode::Systemd,
            Self::Architecture { .. } => ReasonCode::Architecture,
            Self::Predecessor { .. } => ReasonCode::Predecessor,
            Self::Masked { .. } => ReasonCode::Masked,
            Self::AsideIsTaken { .. } => ReasonCode::AsideIsTaken,
            Self::Foreign { .. } => ReasonCode::Foreign,
            Self::AbsentCpus(_) => ReasonCode::AbsentCpus,
            Self::Space { .. } => ReasonCode::Space,
        }
    }

    /// What it means for a node that is installed already.
    #[must_use]
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::KubeletShape(_)
            | Self::KubeletManager { .. }
            | Self::KubeletPins { .. }
            | Self::OtherPolicy { .. }
            | Self::Predecessor { .. }
            | Self::Masked { .. }
            | Self::Foreign { .. } => Consequence::Leave,
            Self::KubeletNotLoaded { .. }
            | Self::KubeletConfiguration(_)
            | Self::NotContainerd { .. }
            | Self::OldContainerd { .. }
            | Self::NriOff { .. }
            | Self::Systemd { .. }
            | Self::Architecture { .. }
            | Self::AsideIsTaken { .. }
            | Self::AbsentCpus(_)
            | Self::Space { .. } => Consequence::Hold,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KubeletShape(error) => error.fmt(f),
            Self::KubeletNotLoaded { load_state } => {
                write!(f, "kubelet.service is {load_state:?} in systemd, not loaded")
            }
            Self::KubeletManager { name, setting: Setting { value, origin }, works } => write!(
                f,
                "{name} of kubelet is {value:?} ({origin}): cri-resmgr swallows kubelet's updates, only {works:?} works with it"
            ),
            Self::KubeletPins { name, setting: Setting { value, origin }, works } => write!(
                f,
                "{name} of kubelet is {value:?} ({origin}): it sets what a policy sets, only {works:?} works beside one"
            ),
            Self::NotContainerd { name, version } => {
                write!(
                    f,
                    "the runtime calls itself {name:?} {version:?}: a policy needs a containerd of a known version"
                )
            }
            Self::OldContainerd { version, oldest } => {
                write!(f, "containerd is of version {version}, plugins work from {oldest} on")
            }
            Self::NriOff { version } => write!(
                f,
                "containerd {version} has no socket for plugins at {}: NRI is off in its configuration",
                extension_config::names::node::NRI_SOCKET
            ),
            Self::OtherPolicy { trace } => write!(
                f,
                "{trace} is of another policy of nri-plugins: remove that policy, then what it left; two of them are in each other's way"
            ),
            Self::KubeletConfiguration(reason) => write!(f, "the configuration of kubelet cannot be read: {reason}"),
            Self::Systemd { version, oldest } => {
                write!(f, "systemd is of version {version}, at least {oldest} is needed")
            }
            Self::Architecture { program, node, image } => {
                write!(f, "no {program} for the architecture {node}: the image carries {image:?}")
            }
            Self::Predecessor { path } => write!(
                f,
                "{path} is a trace of the former extension's installation: remove what it installed, then this file"
            ),
            Self::Masked { unit } => {
                write!(f, "{unit} is masked: unmask it (systemctl unmask {unit}) to let cri-resmgr run here")
            }
            Self::AsideIsTaken { path, aside } => {
                write!(f, "{path} would be moved aside to {aside}, which exists: move one of them elsewhere")
            }
            Self::Foreign { path } => write!(f, "{path} exists and is not ours: remove what put it there"),
            Self::AbsentCpus(which) => f.write_str(which),
            Self::Space { path, free, needed } => write!(f, "{path} has {free} bytes free, {needed} are needed"),
        }
    }
}
