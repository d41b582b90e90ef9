//! A container runtime's side of NRI, as containerd has it, without containers: it holds pods and containers, notifies real
//! plugins of them over the real protocol, and records what they make of it. For tests of plugins' documents, of budgets,
//! restarts and losses, and of what supervises plugins on a node.
//!
//! It follows github.com/containerd/nri v0.12.2 and containerd v1.7.34 in what a plugin can notice: one plugin registers at
//! a time; events come one after another; a plugin that is too slow or gone is dropped and the event goes on without it,
//! one that answers with an error refuses the event; and each field of a container is one plugin's.
//!
//! It does less than containerd: no validators, no plugins that it starts itself, no updates of pods and no `Post…`
//! events; of what plugins set it takes CPU settings and mounts, and skips the rest.

mod api;
mod error;
mod field;
pub mod limits;
mod link;
pub mod machine;
mod objects;
mod outcome;
mod plugin;
mod record;
mod runtime;
pub mod stand_in;
mod trunk;
mod ttrpc;

pub use error::Error;
pub use field::Field;
pub use objects::{Container, Cpu, Mount, NewContainer, Pod, State};
pub use plugin::Timeouts;
pub use record::Record;
pub use runtime::FakeRuntime;
