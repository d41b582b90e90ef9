//! The crash matrix: the unchanged node agent on a stand-in node (`sandbox`), with one thing going wrong at one exact place, once for
//! every place there is.
//!
//! A tracer (`ptrace(2)`) sees each system call with which the agent changes the host's files or asks systemd for something. At the n-th
//! of them it kills the agent, or lets the call fail. After each such row the node must have had a runtime all along, converge, and be as
//! before once the extension is gone. Nothing of this crate ships.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod operation;
mod restarts;
mod row;
mod run;
mod tracer;
mod worker_node;

pub use restarts::restarts;
pub use run::{Options, Outcome, Report, run};
