//! containerd's configuration as a node has it: which files it consists of, what NRI (the interface that resource policies plug into) is
//! going to be with them, and the drop-in that switches NRI on or changes its timeouts.
//!
//! Nothing here reads a file or asks a runtime: the agent hands over what it found. What is said holds for the next start of containerd,
//! which reads its configuration at no other time.
//!
//! The rules were read in containerd 1.7.34, 2.0.14, 2.2.9, 2.3.7 and 2.4.2, and `tests/contract` holds them against binaries of 1.7, 2.2 and 2.3.

mod assess;
mod config;
mod document;
mod drop_in;
mod duration;
mod error;
mod imports;
pub mod limits;
mod pattern;
mod prelaunched;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod version;
mod wanted;

pub use assess::{Nri, Off, Refusal, assess};
pub use config::Config;
pub use document::imports;
pub use drop_in::{DropIn, FILE_NAME, MARKER, Timeouts, drop_in, drop_in_path};
pub use error::ConfigError;
pub use imports::{Import, ImportPattern};
pub use prelaunched::{Prelaunched, PrelaunchedPlugin, prelaunched};
pub use sources::Sources;
pub use table::{NriTable, Setting, Timeout};
pub use version::{ContainerdVersion, OLDEST, VersionError};
pub use wanted::Wanted;
