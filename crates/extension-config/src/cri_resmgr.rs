//! The configuration of cri-resmgr (v0.9): what the daemon would accept, checked without the daemon.
//!
//! Stricter than the daemon where the daemon is careless: it compares deep keys without regard to case and ignores unknown
//! ones, takes any policy name and crashes at the next start, and panics on some values. What depends on the node (which CPUs
//! exist, cache ways, block devices) cannot be checked here.

mod cpus;
mod document;
mod kept;
mod policy;
mod rdt;
mod schema;
mod value;
mod walk;

pub use document::{Checked, Finding, check, check_modules};
pub use kept::Kept;
pub(crate) use value::is_duration;

#[cfg(test)]
mod tests;
