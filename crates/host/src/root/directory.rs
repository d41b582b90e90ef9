//! Directories: listing and making them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat, mkdirat};

use super::{DirectoryEntry, HostRoot, check, kind_of, optional};
use crate::attributes::{FileAttributes, FileKind};
use crate::error::{HostError, Result};
use crate::operation::Operation;

impl HostRoot {
    /// Entries of a directory, sorted by name; `None` where nothing stands.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Option<Vec<DirectoryEntry>>> {
        self.list_at_most(path, usize::MAX)
    }

    /// As [`Self::list`], but an error where there are more.
    pub fn list_at_most(&self, path: impl AsRef<Path>, most: usize) -> Result<Option<Vec<DirectoryEntry>>> {
        let path = path.as_ref();
        check(path)?;
        let Some(directory) = optional(self.open_directory(path))? else {
            return Ok(None);
        };
        self.list_descriptor(directory, path, most).map(Some)
    }

    /// Makes the directory and those above it that are missing, each with these attributes, and gives the ones that it made, outermost
    /// first, for the journal. Directories that exist are left as they are.
    pub fn create_directories(&self, path: impl AsRef<Path>, attributes: FileAttributes) -> Result<Vec<PathBuf>> {
        let path = path.as_ref();
        check(path)?;
        let mut made = Vec::new();
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for directory in ancestors {
            if directory.parent().is_some() && self.create_directory(directory, attributes)? {
                made.push(directory.to_owned());
            }
        }
        Ok(made)
    }

    /// Directories of the path that do not exist yet, outermost first: what [`Self::create_directories`] is going to make. A journal can
    /// thus be written before they are made.
    pub fn missing_directories(&self, path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let path = path.as_ref();
        check(path)?;
        let mut missing = Vec::new();
        for candidate in path.ancestors() {
            if optional(self.open_directory(candidate))?.is_some() {
                break;
            }
            missing.push(candidate.to_owned());
        }
        missing.reverse();
        Ok(missing)
    }

    /// Makes one directory; false where one (or a link to one) stands already.
    fn create_directory(&self, path: &Path, attributes: FileAttributes) -> Result<bool> {
        if optional(self.open_directory(path))?.is_some() {
            return Ok(false);
        }
        let (parent, name) = self.parent(path)?;
        // Born with the wanted mode where the umask allows it: an agent that dies before the next call must not leave a wrong one.
        let permissions = Mode::from_bits_truncate(attributes.mode);
        let made =
            self.step_io(Operation::CreateDirectory, path, || match mkdirat(parent.as_fd(), name, permissions) {
                Ok(()) => Ok(true),
                Err(Errno::EEXIST) => Ok(false),
                Err(errno) => Err(errno.into()),
            })?;
        if !made {
            return Err(self.not_a_directory(path));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = self.step(Operation::Inspect, path, || openat(parent.as_fd(), name, flags, Mode::empty()))?;
        self.apply(directory.as_fd(), path, attributes)?;
        self.sync_directory(parent.as_fd(), path)?;
        Ok(true)
    }

    fn not_a_directory(&self, path: &Path) -> HostError {
        match self.metadata(path) {
            Ok(Some(found)) => {
                HostError::UnexpectedKind { path: path.to_owned(), expected: FileKind::Directory, found: found.kind }
            }
            Ok(None) => HostError::io(Operation::CreateDirectory, path, Errno::EAGAIN),
            Err(error) => error,
        }
    }

    pub(super) fn list_descriptor(&self, directory: OwnedFd, path: &Path, most: usize) -> Result<Vec<DirectoryEntry>> {
        let mut stream = self.step(Operation::List, path, || Dir::from_fd(directory))?;
        let mut entries = Vec::new();
        let mut untyped = Vec::new();
        for entry in stream.iter() {
            let entry = entry.map_err(|errno| HostError::io(Operation::List, path, errno))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() + untyped.len() == most {
                return Err(HostError::TooMany { path: path.to_owned(), limit: most });
            }
            match entry.file_type() {
                Some(kind) => entries.push(DirectoryEntry { name, is_directory: kind == Type::Directory }),
                None => untyped.push(name),
            }
        }
        // Some file systems do not give the kind while listing.
        for name in untyped {
            let stat = fstatat(&stream, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            match stat {
                Ok(stat) => {
                    entries.push(DirectoryEntry { name, is_directory: kind_of(stat.st_mode) == FileKind::Directory });
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(HostError::io(Operation::List, path, errno)),
            }
        }
        entries.sort();
        Ok(entries)
    }
}
