//! Observed node and desired node to ordered steps.
//!
//! Nothing here touches anything: [`plan`] looks at an [`Observed`] node, a [`Desired`] one and the [`Journal`] and says which [`Step`]s lead
//! from one to the other. Install, upgrade, configuration change, healing, roll-back and removal are the same function with another target,
//! so an interrupted execution needs no memory of where it stopped: observe again, plan again. Nothing is undone step by step either: the way
//! back is a plan with another target.

mod backend;
mod blob;
pub mod budget;
mod desired;
mod entry;
mod footprint;
#[cfg(test)]
mod golden;
mod hold;
mod journal;
mod kind;
mod kubelet;
mod managed_file;
mod observed;
mod override_undone;
pub mod pins;
mod plan;
mod preflight;
mod refusal;
mod restart;
mod slot;
mod static_config;
mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod texts;

pub use backend::{BackendSpec, PluginSpec, ProxySpec, daemon_paths, watched_paths};
pub use blob::Blob;
pub use desired::{Desired, Handover, Installation, NodePolicy, Programs, RestartRequest};
pub use entry::{Entry, MARKER};
pub use footprint::{Footprint, Guard, Service};
pub use hold::{Failure, Hold, KubeletOffProxy, PacedChange, SlotHold};
pub use journal::{
    Applied, Backoff, Change, FIRST_VERSION, HANDOVER_VERSION, Journal, Made, PLUGIN_VERSION, Phase, Proven,
    ProvenPlugin, ProvenProxy, Record,
};
pub use kind::Backend;
pub use kubelet::{UnitShapeError, check_kubelet};
pub use managed_file::{FileRole, ManagedFile, Source};
pub use observed::{Kubelet, Nri, Observed, Plugin, RuntimeVersion, Space, Unit};
pub use override_undone::{OverrideUndone, override_undone};
pub use plan::{Plan, Target, leftovers, leftovers_of, plan};
pub use preflight::{AbsentCpus, absent_cpus, kubelet_refusals, refusals};
pub use refusal::{Consequence, Refusal};
pub use restart::{Cause, Restart};
pub use slot::{Slot, Wait};
pub use static_config::StaticConfig;
pub use step::{Action, Check, FileAction, JournalAction, Proof, Restarts, Step, UnitAction};
