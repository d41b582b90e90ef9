//! The main job on the real components: on, off, and what is true of a node in between.
//!
//! `cargo xtask demo --real` shows it and `cargo xtask test --real` checks it, with the same assertions.

mod artifacts;
pub mod kernel;
mod landscape;
mod node;
mod policy;
pub mod printed;
pub mod rbac;
mod stage;
mod traffic;
mod workload;

pub use artifacts::Artifacts;
pub use landscape::Landscape;
pub use node::{Endpoint, NodeFacts};
pub use policy::balloons_reserving;
pub use stage::{Release, Stage, StageOptions};
pub use traffic::{Counts, Readiness, Traffic};
pub use workload::{Container, Workload};
