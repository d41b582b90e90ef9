//! Stand-ins that speak the real protocols of a seed, a shoot and its nodes, on any machine and as anybody.
//!
//! The unchanged binaries run against them: a Kubernetes API over HTTP ([`api`]), systemd over D-Bus on a unix socket ([`systemd`]), a
//! container runtime and a proxy over gRPC, and what gardener-resource-manager, the DaemonSet controller and kubelet do with our objects.
//! Each stand-in takes a fault script ([`Faults`]). Nothing of this crate ships. [`contract`] is what an API here has in common with a kube-apiserver, as checks that run against both.

pub mod api;
mod bed;
mod binaries;
pub mod contract;
mod daemon_set;
mod faults;
mod memory;
mod node;
mod resource_manager;
mod runtime;
pub mod systemd;

pub use bed::{BedFaults, NodeReport, SHOOT_NAMESPACE, Sandbox};
pub use binaries::Binaries;
pub use faults::{Fault, Faults};
pub use memory::peak as peak_memory;
pub use node::{Node, NodeFaults, WORKER_POOL};
pub use node_agent::simulation::{Image, MemoryNode};
pub use runtime::played_daemon;
pub use systemd::UnitFacts;
