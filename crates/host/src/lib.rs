//! Files under a host root: rooted, atomic, journalled, locked.
//!
//! Every path is host-absolute (`/etc/…`) and resolved below the root by `openat2` with `RESOLVE_IN_ROOT`, so that no symbolic link of the
//! host can lead out of it. All calls but the [`watch`] block: run them where blocking is allowed.

mod attributes;
mod checksum;
mod error;
pub mod fault;
mod lock;
mod operation;
mod root;
mod state_file;
mod temporary;
pub mod watch;

pub use attributes::{FileAttributes, FileKind, Metadata, Owner};
pub use checksum::{Checksum, ParseChecksumError};
pub use error::{HostError, Result};
pub use lock::HostLock;
pub use operation::{Hook, Operation, Step};
pub use root::{Change, Copied, DirectoryEntry, HostRoot, Removal};
pub use state_file::{StateFile, StateFileError};
pub use watch::{Watch, WatchError, Watched};
