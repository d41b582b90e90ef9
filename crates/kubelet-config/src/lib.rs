//! How a kubelet is configured, as far as it matters to a runtime proxy: its flags in every spelling that pflag takes, its configuration
//! file with the drop-ins of `--config-dir`, and the runtime that it ends up with.
//!
//! Nothing here reads a file: the gate, the agent's planner and the checks of `cargo xtask` hand over what they found, so that all of them
//! come to the same answer.

mod endpoint;
mod files;
mod flags;
mod settings;
mod words;

pub use endpoint::Endpoint;
pub use files::{Files, read_settings};
pub use flags::{ENDPOINT, Occurrence, effective_endpoint, last, occurrences};
pub use settings::{DROP_INS, FILE_BYTES, Setting, Settings, SettingsError, Sources, is_drop_in, sources};
pub use words::{Words, of_process};
