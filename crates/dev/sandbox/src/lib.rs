//! Stand-ins that speak the real protocols of a seed, a shoot and its nodes, on any machine and as anybody.
//!
//! The unchanged binaries run against them: a Kubernetes API over HTTP (crate `fake-kube-api`), systemd over D-Bus (crate `fake-systemd`), a
//! container runtime and a proxy over gRPC, and what gardener-resource-manager, the DaemonSet controller and kubelet do with our objects.
//! Each stand-in takes a fault script ([`Faults`]). What they have in common with the real components is in crate `contract`.

mod binaries;
mod daemon_set;
mod environment;
mod memory;
mod node;
mod resource_manager;
mod runtime;

pub use binaries::Binaries;
pub use environment::{NodeReport, SHOOT_NAMESPACE, Sandbox, SandboxFaults};
pub use fake_nri_runtime::machine::Machine;
pub use fake_systemd::UnitFacts;
pub use faults::{Fault, Faults};
pub use memory::peak as peak_memory;
pub use node::{Node, NodeFaults, WORKER_POOL, WithContainers};
pub use node_agent::simulation::{Image, MemoryNode};
pub use runtime::{Containers, InEffect, PolicyPrograms, faked_daemon};
