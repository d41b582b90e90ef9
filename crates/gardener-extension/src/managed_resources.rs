//! ManagedResources: apply, delete, let go, and what their status proves.

mod client;
mod proof;

pub(crate) use client::apply_one;
pub use client::{Deletion, apply, delete, delete_now, get, set_keep_objects};
pub use proof::{Health, health, is_applied, is_proven};
