//! ManagedResources: delete, let go, and what their status proves.

mod applied;
mod client;
mod proof;

pub use applied::Applied;
pub use client::{Deletion, delete, delete_now, get, set_keep_objects};
pub use proof::{Health, health, is_applied, is_proven};
