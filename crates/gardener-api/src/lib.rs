//! Types and constants of the Gardener APIs that we read or write.
//!
//! Level L0: no I/O, no client. The types are the subset that an extension needs (Gardener v1.54 to v1.149). They decode
//! leniently, part by part: unknown fields are skipped without recursion, absent and null fields take their empty value, and what is of
//! another shape counts as absent and is named in the object's [`Faults`]. Nothing that somebody writes into an object makes it
//! undecodable. Nobody may write a whole object back through them (that would drop what they do not model): writes are patches.

pub mod cluster;
pub mod condition;
pub mod constants;
pub mod extension;
mod lenient;
pub mod managed_resource;
pub mod operation;
pub mod raw;
mod read;
pub mod shoot;

pub use cluster::Cluster;
pub use condition::{Condition, ConditionStatus};
pub use extension::{AnyCondition, Extension, ExtensionSpec, ExtensionStatus};
pub use managed_resource::{ManagedResource, ManagedResourceSpec, ManagedResourceStatus};
pub use operation::{LastError, LastOperation, LastOperationState, LastOperationType};
pub use raw::{RawJson, Unreadable};
pub use read::Faults;
pub use shoot::{NotAShoot, Shoot};
