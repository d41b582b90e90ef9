//! Which configuration and which adjustments a running cri-resmgr has to be given, and what is reported about it.
//!
//! Nothing here touches anything. [`Core`] is given what is known (ConfigMaps, the node's group, Adjustments, which run of the daemon is up,
//! what the daemon answered) and says what to push next, what to write into the Adjustments' status, and whether the run of the daemon has to
//! end. What must outlive the agent is its [`Memory`].

mod adjustments;
mod config_status;
mod core;
#[cfg(test)]
mod golden;
mod memory;
mod selection;

pub use adjustments::{Adjustment, StatusWrite};
pub use config_status::{ConfigStatus, Meant, Problem, RestartRequest};
pub use core::{Answer, Core, DaemonMode, Push};
pub use memory::Memory;
pub use selection::{Data, Source};
