//! The configuration of cri-resmgr (v0.9): what the daemon would accept, checked without the daemon.
//!
//! Takes what the daemon takes in any of its forms, and is stricter where the daemon is careless: it ignores unknown deep keys,
//! takes any policy name and crashes at the next start, and panics on some values. What depends on the node (cache ways, block
//! devices) cannot be checked here; which CPUs exist only the node knows, and [`NamedCpus`] says what it has to look at.

mod cpus;
mod document;
mod json;
mod named_cpus;
mod number;
mod pattern;
mod policy;
mod quantity;
mod rdt;
mod report;
mod restart_bound;
mod schema;
mod sieve;
mod value;
mod walk;

pub use cpus::CpuSet;
pub(crate) use document::check_within;
pub use document::{Checked, canonical, check, check_modules};
pub(crate) use json::{is_within, text as canonical_text};
pub use named_cpus::NamedCpus;
pub use report::Finding;
pub(crate) use report::Steps;
pub use restart_bound::RestartBoundState;
/// Names of the daemon's modules: the top-level keys of its configuration.
pub fn module_names() -> impl Iterator<Item = &'static str> {
    schema::MODULES.iter().map(|module| module.name)
}

pub use sieve::go_bool;
pub(crate) use sieve::{TO_FILES, is_stderr_threshold, is_vmodule};
pub(crate) use value::{is_duration, nanoseconds};

#[cfg(test)]
mod tests;
