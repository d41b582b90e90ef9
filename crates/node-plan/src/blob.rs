//! Contents by their sum.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file that the agent's image carries: the daemon or the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// Architecture of the ELF file by Rust's name (`x86_64`), or what stands for it when it is no ELF file.
    pub architecture: String,
    /// The newest version of the host's C library that it asks for (`GLIBC_2.34`); `None` when it is linked statically. The agent does not
    /// see the host's own: it reports this when the program does not start.
    #[serde(default)]
    pub needs: Option<String>,
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
