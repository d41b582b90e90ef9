//! Errors that name the operation and the path.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::attributes::FileKind;
use crate::checksum::Checksum;
use crate::operation::Operation;

/// Result of an operation on the host's files.
pub type Result<T> = std::result::Result<T, HostError>;

/// Why an operation on the host's files failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: Operation,
        /// Host-absolute path.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The path is relative, has `..`, or names the root itself.
    #[error("{} is not an absolute path of an entry below the root", path.display())]
    InvalidPath {
        /// The path as given.
        path: PathBuf,
    },
    /// The file is longer than the caller wants to read.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLarge {
        /// Host-absolute path.
        path: PathBuf,
        /// The caller's limit, bytes.
        limit: u64,
    },
    /// The directory has more names than the caller wants to read.
    #[error("{} has more than {limit} names", path.display())]
    TooMany {
        /// Host-absolute path.
        path: PathBuf,
        /// The caller's limit.
        limit: usize,
    },
    /// Something else stands where an entry of a certain kind was expected; it was left alone.
    #[error("{} is {found}, not {expected}", path.display())]
    UnexpectedKind {
        /// Host-absolute path.
        path: PathBuf,
        /// What was expected.
        expected: FileKind,
        /// What stands there.
        found: FileKind,
    },
    /// A file does not have the expected content.
    #[error("{} has the sha256 sum {found}, not {expected}", path.display())]
    UnexpectedContent {
        /// Host-absolute path.
        path: PathBuf,
        /// The expected sum.
        expected: Checksum,
        /// The sum found.
        found: Checksum,
    },
    /// A symbolic link points elsewhere; it was left alone.
    #[error("{} points to {}, not to {}", path.display(), found.display(), expected.display())]
    UnexpectedTarget {
        /// Host-absolute path.
        path: PathBuf,
        /// The expected text of the link.
        expected: PathBuf,
        /// The text found.
        found: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// Host-absolute path.
        path: PathBuf,
    },
}

impl HostError {
    pub(crate) fn io(operation: Operation, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.to_owned(), source: source.into() }
    }

    /// The host-absolute path that the error is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::InvalidPath { path }
            | Self::TooLarge { path, .. }
            | Self::TooMany { path, .. }
            | Self::UnexpectedKind { path, .. }
            | Self::UnexpectedContent { path, .. }
            | Self::UnexpectedTarget { path, .. }
            | Self::Locked { path } => path,
        }
    }

    /// What was tried, where the operating system refused it.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Io { operation, .. } => Some(*operation),
            _ => None,
        }
    }

    /// The operating system's kind of error.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// No space, no inodes or no quota left: retrying later may work.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOSPC | Errno::EDQUOT))
    }

    /// The file system is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.errno() == Some(Errno::EROFS)
    }

    /// Nothing stands at the path.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOENT | Errno::ENOTDIR))
    }

    /// Permission denied, by owner and mode or by a security module.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.errno(), Some(Errno::EACCES | Errno::EPERM))
    }

    /// Something else stands where ours was expected: a person, or another program, made it.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        matches!(self, Self::UnexpectedKind { .. } | Self::UnexpectedContent { .. } | Self::UnexpectedTarget { .. })
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { source, .. } => source.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }
}
