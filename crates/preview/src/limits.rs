//! How much is read. What is judged has limits of its own (`extension_config::limits`), which are smaller and lead to findings.

/// Bytes of one file or of standard input: more than Kubernetes keeps of one object.
pub const FILE_BYTES: usize = 4 << 20;
/// Documents of one file.
pub const DOCUMENTS: usize = 1000;
/// Files of a node's directory.
pub const NODE_FILES: usize = 500;
/// Files, directories and all else in a node's directory.
pub const NODE_ENTRIES: usize = 5000;
/// Levels of a node's directory.
pub const NODE_DEPTH: usize = 12;
