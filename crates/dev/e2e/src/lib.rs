//! The main job on the real components: on, off, and what is true of a node in between.
//!
//! `cargo xtask demo --real` shows it and `cargo xtask test --real` checks it, with the same assertions.

mod artifacts;
mod gardener_shoot;
pub mod kernel;
mod node;
mod policy;
pub mod printed;
pub mod rbac;
mod test_environment;
mod traffic;
mod workload;

pub use artifacts::Artifacts;
pub use gardener_shoot::GardenerShoot;
pub use node::{Endpoint, NodeFacts};
pub use policy::balloons_reserving;
pub use test_environment::{Release, TestEnvironment, TestEnvironmentOptions};
pub use traffic::{Counts, Readiness, Traffic};
pub use workload::{Container, Workload};
