//! What the caller has to hand over.

use std::fmt;

/// What has to be read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The text of a file.
    File(String),
    /// The names of everything in a directory, those of directories and those with a dot included.
    Names(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.write_str(path),
            Self::Names(directory) => write!(formatter, "the directory {directory}"),
        }
    }
}
