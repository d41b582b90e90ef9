//! What a file is: kind, permissions, owner.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Numeric owner and group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// User and group 0.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Permissions that a written file or a made directory gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAttributes {
    /// Permission bits (`0o7777` at most), applied whatever the umask is.
    pub mode: u32,
    /// Owner to set; `None` leaves the owner that creation gave. `chown` is called only where it changes something.
    pub owner: Option<Owner>,
}

impl FileAttributes {
    /// These permission bits, and the owner that creation gives.
    #[must_use]
    pub const fn with_mode(mode: u32) -> Self {
        Self { mode, owner: None }
    }

    /// The same with an owner.
    #[must_use]
    pub const fn owned_by(self, owner: Owner) -> Self {
        Self { mode: self.mode, owner: Some(owner) }
    }
}

/// Kind of a directory entry; a symbolic link is never followed to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Unix socket.
    Socket,
    /// Device or pipe.
    Other,
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Socket => "a socket",
            Self::Other => "a special file",
        })
    }
}

/// What stands at a path, without following a symbolic link in the last component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Kind of the entry.
    pub kind: FileKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner and group.
    pub owner: Owner,
    /// Size in bytes.
    pub size: u64,
    /// Text of a symbolic link; `None` for every other kind.
    pub link_target: Option<PathBuf>,
}

impl Metadata {
    /// Whether mode and, where wanted, owner are the given ones already.
    #[must_use]
    pub fn has(&self, attributes: FileAttributes) -> bool {
        self.mode == attributes.mode && attributes.owner.is_none_or(|owner| owner == self.owner)
    }
}
