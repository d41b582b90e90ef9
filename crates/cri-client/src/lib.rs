//! What we ask of CRI (version, status, containers and their resources), and cri-resmgr's Config service, over a unix socket.
//!
//! The handful of messages is written by hand after the published protocol definitions (CRI v1, cri-resmgr's agent API v1), so that no
//! protocol compiler is needed. Unknown fields are ignored, as protobuf demands.

mod connect;
mod containers;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod probe;
mod resmgr_config;
mod runtime;

pub use tonic::Code;

pub use containers::{ContainerInfo, ContainerRecord, ContainerState, ResourceUpdate};
pub use error::{CriError, Phase};
pub use probe::{ProbeOutcome, probe};
pub use resmgr_config::ConfigClient;
pub use runtime::{RuntimeClient, RuntimeCondition, RuntimeStatus, RuntimeVersion};
