//! Names of the operations, for errors and for the fault hook.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// One elementary step on the host's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Open the root or a directory.
    Open,
    /// Read a file's content.
    Read,
    /// Look at an entry.
    Inspect,
    /// List a directory.
    List,
    /// Ask for free space.
    MeasureSpace,
    /// Make a temporary file.
    CreateTemporary,
    /// Write a temporary file's content.
    Write,
    /// Set mode or owner.
    SetAttributes,
    /// Flush a file to the disk.
    SyncFile,
    /// Give the temporary entry its final name.
    Rename,
    /// Flush a directory to the disk.
    SyncDirectory,
    /// Make a symbolic link.
    CreateSymlink,
    /// Make a directory.
    CreateDirectory,
    /// Remove a file, a link or a socket.
    Remove,
    /// Remove a directory.
    RemoveDirectory,
    /// Take a lock.
    Lock,
}

impl Operation {
    /// Whether the step can alter what is on the disk.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Inspect | Self::List | Self::MeasureSpace | Self::Lock)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Inspect => "look at",
            Self::List => "list",
            Self::MeasureSpace => "measure the free space at",
            Self::CreateTemporary => "create a temporary file for",
            Self::Write => "write",
            Self::SetAttributes => "set mode or owner of",
            Self::SyncFile => "flush",
            Self::Rename => "move into place",
            Self::SyncDirectory => "flush the directory",
            Self::CreateSymlink => "create the symbolic link",
            Self::CreateDirectory => "create the directory",
            Self::Remove => "remove",
            Self::RemoveDirectory => "remove the directory",
            Self::Lock => "lock",
        })
    }
}

/// A step that is about to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What is about to be done.
    pub operation: Operation,
    /// Host-absolute path that it is done to.
    pub path: &'a Path,
}

/// Asked before each step; an error stands for the step's own failure. Production code sets none.
pub type Hook = Arc<dyn Fn(Step<'_>) -> io::Result<()> + Send + Sync>;
