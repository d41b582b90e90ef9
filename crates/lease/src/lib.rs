//! Leases: leader election that can lose its lock safely, slots for what only a few may do at a time, and the heartbeat that gardenlet looks for.
//!
//! Level L2. Who holds a lease is judged by this process's own monotonic clock, from when it saw the record change; the times in
//! the record are for people. What writes goes through a [`Fence`], which closes before anybody else can take the lease.

pub mod election;
pub mod fence;
pub mod heartbeat;
mod identity;
mod record;
pub mod slots;

pub use election::{ElectionConfig, ElectionError, Elector};
pub use fence::{Fence, fenced_client};
pub use heartbeat::Heartbeat;
pub use identity::identity;
pub use record::Timing;
pub use slots::{Slots, SlotsConfig};
