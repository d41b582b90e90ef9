//! Stand-ins that speak the real protocols of a seed, a shoot and its nodes, on any machine and as anybody.
//!
//! The unchanged binaries run against them: a Kubernetes API over HTTP ([`api`]), systemd over D-Bus on a unix socket ([`systemd`]), a
//! container runtime and a proxy over gRPC, and what gardener-resource-manager, the DaemonSet controller and kubelet do with our objects.
//! Nothing of this crate ships. [`contract`] is what an API here has in common with a kube-apiserver, as checks that run against both.

pub mod api;
mod bed;
pub mod contract;
mod daemon_set;
mod node;
mod resource_manager;
mod runtime;
pub mod systemd;

pub use bed::{Binaries, NodeReport, SHOOT_NAMESPACE, Sandbox};
pub use node::{Node, WORKER_POOL};
pub use systemd::UnitFacts;
