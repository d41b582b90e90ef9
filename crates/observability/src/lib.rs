//! JSON logs, metrics, `/healthz` `/readyz` `/metrics`.
//!
//! Level L2, used by the seed controller and by the node agent; knows nothing of Kubernetes.
//! Logs go to stderr, one JSON object a line, so that stdout stays free for a command's own output.

pub mod build_info;
pub mod connections;
pub mod error_chain;
#[cfg(test)]
mod golden;
#[cfg(any(test, feature = "testing"))]
pub mod json_lines;
pub mod logging;
pub mod readiness;
pub mod server;

pub use build_info::BuildInfo;
pub use error_chain::ErrorChain;
pub use logging::{LogConfig, LogFormat};
pub use readiness::{Readiness, ReadinessHandle};
pub use server::{Server, ServerError};

use std::sync::Arc;

use prometheus_client::registry::Registry;

/// A registry that is complete: every metric is registered before the server starts, later ones cannot appear.
pub type SharedRegistry = Arc<Registry>;
