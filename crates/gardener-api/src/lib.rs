//! Types and constants of the Gardener APIs that we read or write.
//!
//! Level L0: no I/O, no client. The types are the subset that an extension needs (Gardener v1.54 to v1.149). They decode
//! leniently: unknown fields are ignored, absent and null fields take their empty value. Nobody may write a whole object
//! back through them (that would drop what they do not model): writes are patches.

pub mod cluster;
pub mod condition;
pub mod constants;
pub mod extension;
mod lenient;
pub mod managed_resource;
pub mod operation;
pub mod shoot;

pub use cluster::{Cluster, ClusterSpec};
pub use condition::{Condition, ConditionStatus};
pub use extension::{Extension, ExtensionSpec, ExtensionStatus};
pub use managed_resource::{ManagedResource, ManagedResourceSpec, ManagedResourceStatus, ObjectReference};
pub use operation::{LastError, LastOperation, LastOperationState, LastOperationType};
pub use shoot::Shoot;
