//! Removing: only what is as expected, and a missing entry is a success.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{HostRoot, Removal, optional};
use crate::attributes::FileKind;
use crate::checksum::Checksum;
use crate::error::{HostError, Result};
use crate::operation::Operation;
use crate::temporary;

impl HostRoot {
    /// Removes a regular file; with `expected` only if its content still has that sum.
    pub fn remove_file(&self, path: impl AsRef<Path>, expected: Option<Checksum>) -> Result<Removal> {
        let path = path.as_ref();
        let Some(found) = self.metadata(path)? else {
            return Ok(Removal::Absent);
        };
        expect_kind(path, FileKind::File, found.kind)?;
        if let Some(expected) = expected {
            match self.checksum(path)? {
                None => return Ok(Removal::Absent),
                Some(found) if found != expected => {
                    return Err(HostError::UnexpectedContent { path: path.to_owned(), expected, found });
                }
                Some(_) => {}
            }
        }
        self.unlink(path)
    }

    /// Removes a symbolic link; with `expected` only if it still has that text.
    pub fn remove_symlink(&self, path: impl AsRef<Path>, expected: Option<&Path>) -> Result<Removal> {
        let path = path.as_ref();
        let Some(found) = self.metadata(path)? else {
            return Ok(Removal::Absent);
        };
        expect_kind(path, FileKind::Symlink, found.kind)?;
        let target = found.link_target.unwrap_or_default();
        match expected {
            Some(expected) if expected != target => {
                Err(HostError::UnexpectedTarget { path: path.to_owned(), expected: expected.to_owned(), found: target })
            }
            _ => self.unlink(path),
        }
    }

    /// Removes a directory if it is empty.
    pub fn remove_directory(&self, path: impl AsRef<Path>) -> Result<Removal> {
        let path = path.as_ref();
        let Some(found) = self.metadata(path)? else {
            return Ok(Removal::Absent);
        };
        expect_kind(path, FileKind::Directory, found.kind)?;
        let Some((parent, name)) = optional(self.parent(path))? else {
            return Ok(Removal::Absent);
        };
        let removal = self.remove_directory_at(parent.as_fd(), name, path)?;
        if removal == Removal::Removed {
            self.sync_directory(parent.as_fd(), path)?;
        }
        Ok(removal)
    }

    /// Removes whatever stands at the path, a directory with all that is in it. Links are removed, never followed, and file systems
    /// mounted below are not entered: they make it fail.
    pub fn remove_tree(&self, path: impl AsRef<Path>) -> Result<Removal> {
        let path = path.as_ref();
        let Some(found) = self.metadata(path)? else {
            return Ok(Removal::Absent);
        };
        if found.kind != FileKind::Directory {
            return self.unlink(path);
        }
        let Some((parent, name)) = optional(self.parent(path))? else {
            return Ok(Removal::Absent);
        };
        let removal = self.remove_tree_at(parent.as_fd(), name, path)?;
        self.sync_directory(parent.as_fd(), path)?;
        Ok(removal)
    }

    /// Removes the temporary files that a killed process left in this directory, and gives their paths. Call it only under the lock.
    pub fn remove_stale_temporaries(&self, directory: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let directory = directory.as_ref();
        let mut removed = Vec::new();
        for entry in self.list(directory)?.unwrap_or_default() {
            if temporary::is_temporary(&entry.name) && !entry.is_directory {
                let path = directory.join(&entry.name);
                if self.unlink(&path)? == Removal::Removed {
                    removed.push(path);
                }
            }
        }
        Ok(removed)
    }

    fn unlink(&self, path: &Path) -> Result<Removal> {
        let Some((parent, name)) = optional(self.parent(path))? else {
            return Ok(Removal::Absent);
        };
        let removal = self.unlink_at(parent.as_fd(), name, path)?;
        if removal == Removal::Removed {
            self.sync_directory(parent.as_fd(), path)?;
        }
        Ok(removal)
    }

    fn unlink_at(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Removal> {
        let removed = self.step(Operation::Remove, path, || unlinkat(parent, name, UnlinkatFlags::NoRemoveDir));
        Ok(match optional(removed)? {
            Some(()) => Removal::Removed,
            None => Removal::Absent,
        })
    }

    fn remove_directory_at(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Removal> {
        self.step_io(Operation::RemoveDirectory, path, || match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => Ok(Removal::Removed),
            Err(Errno::ENOENT) => Ok(Removal::Absent),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(Removal::NotEmpty),
            Err(Errno::EBUSY) => Ok(Removal::Busy),
            Err(errno) => Err(errno.into()),
        })
    }

    fn remove_tree_at(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Removal> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV);
        let opened = self.step(Operation::Open, path, || openat2(parent, name, how));
        let Some(directory) = optional(opened)? else {
            return Ok(Removal::Absent);
        };
        let listing = directory.try_clone().map_err(|source| HostError::io(Operation::List, path, source))?;
        for entry in self.list_descriptor(listing, path, usize::MAX)? {
            let inner = path.join(&entry.name);
            if entry.is_directory {
                self.remove_tree_at(directory.as_fd(), &entry.name, &inner)?;
            } else {
                self.unlink_at(directory.as_fd(), &entry.name, &inner)?;
            }
        }
        self.remove_directory_at(parent, name, path)
    }
}

fn expect_kind(path: &Path, expected: FileKind, found: FileKind) -> Result<()> {
    if expected == found { Ok(()) } else { Err(HostError::UnexpectedKind { path: path.to_owned(), expected, found }) }
}
