//! Pins: which CPUs, memory nodes and shares of CPU time a resource policy has given to containers, by its own books and in effect.
//!
//! A policy that runs proves nothing: the runtime drops a slow one and goes on without it. What counts is that every container that runs is in
//! the policy's [`Books`] and that its control group has the same CPUs and memory nodes ([`compare`]). And a policy that is taken away leaves its
//! pins behind: [`reset`] says which updates give containers back what they would have without it.

mod books;
mod cgroup;
mod compare;
pub mod limits;
mod reset;

pub use books::{Books, BooksError, Entry as BooksEntry, books_lag};
pub use cgroup::{Cgroup, Weight, cgroup_path};
pub use compare::{Container, Difference, Miss, Misses, compare};
pub use reset::{Pinned, Update, reset};
