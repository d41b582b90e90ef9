//! providerConfig, the model of a cri-resmgr configuration, the desired-state format and shared names.
//!
//! `seed-controller` and `node-agent` meet only here: every name, path and format that both must agree on is defined in this
//! crate, once. Nothing in it does I/O.

mod absent;
pub mod cri_resmgr;
pub mod desired_state;
mod effect;
pub mod effective;
pub mod extra_options;
mod facts;
#[cfg(test)]
mod field_cases;
#[cfg(test)]
mod golden;
mod halt;
mod key;
pub mod limits;
pub mod names;
mod node_event;
pub mod node_report;
pub mod node_status;
pub mod nri;
mod problem;
pub mod provider_config;
mod reason_code;
mod selection;
mod workers;

pub use effective::{Convert, Converted, Effective, resolve, resolve_with};
pub use facts::kubernetes_minor;
pub use halt::Halt;
pub use key::ConfigKey;
pub use node_event::NodeEvent;
pub use problem::{Origin, Problem, Problems};
pub use reason_code::ReasonCode;
pub use workers::{CpuManager, Facts, LeftAlone, WorkerFacts};
