//! The desired state, as it is mounted into the agent's pod.

use std::path::{Path, PathBuf};

use extension_config::desired_state::{DesiredState, hash8};

/// A desired state with the hash that names it.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    /// The state.
    pub(crate) state: DesiredState,
    /// First eight digits of the text's SHA-256.
    pub(crate) hash: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredFileError {
    /// The file.
    #[error("cannot read the desired state {}", path.display())]
    Unreadable {
        /// Path in the agent's container.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Its text.
    #[error(transparent)]
    Decode(#[from] extension_config::desired_state::DecodeError),
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Mounted, DesiredFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DesiredFileError::Unreadable { path: path.to_owned(), source })?;
    decode(&text)
}

/// The file's text.
pub(crate) fn decode(text: &str) -> Result<Mounted, DesiredFileError> {
    Ok(Mounted { state: DesiredState::decode(text)?, hash: hash8(text) })
}
