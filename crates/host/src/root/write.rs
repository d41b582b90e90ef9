//! Writing: always a temporary file in the same directory, flushed, then renamed; never in place.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, symlinkat, unlinkat};

use super::{Change, Copied, HostRoot, Removal, split};
use crate::attributes::{FileAttributes, FileKind};
use crate::checksum::{Checksum, Summing};
use crate::error::{HostError, Result};
use crate::lock::HostLock;
use crate::operation::Operation;
use crate::temporary;

impl HostRoot {
    /// Puts these bytes at the path, atomically and durably. A link at the path is replaced, not followed. The directory must exist.
    pub fn write_atomic(&self, path: impl AsRef<Path>, content: &[u8], attributes: FileAttributes) -> Result<()> {
        self.copy_in(path, &mut &*content, attributes, None).map(drop)
    }

    /// [`Self::write_atomic`], but nothing is touched when content, mode and owner are as wanted already.
    pub fn ensure_file(&self, path: impl AsRef<Path>, content: &[u8], attributes: FileAttributes) -> Result<Change> {
        let path = path.as_ref();
        let found = self.metadata(path)?;
        let same_content = match &found {
            Some(metadata) if metadata.kind == FileKind::File => {
                metadata.size == content.len() as u64 && self.checksum(path)? == Some(Checksum::of(content))
            }
            _ => false,
        };
        match found {
            Some(metadata) if same_content && metadata.has(attributes) => Ok(Change::Unchanged),
            Some(_) if same_content => self.set_attributes(path, attributes),
            _ => {
                self.write_atomic(path, content, attributes)?;
                Ok(Change::Content)
            }
        }
    }

    /// Streams a file of any size to the path, atomically and durably, and sums it on the way. With `expected`, a file with another sum
    /// never gets its final name. Safe over a running binary: the old process keeps the old file.
    pub fn copy_in(
        &self,
        path: impl AsRef<Path>,
        source: &mut dyn Read,
        attributes: FileAttributes,
        expected: Option<Checksum>,
    ) -> Result<Copied> {
        let path = path.as_ref();
        let (directory, name) = self.parent(path)?;
        let directory = directory.as_fd();
        let (mut file, temporary) = self.create_temporary(directory, path, name)?;
        let outcome = self.fill(&mut file, path, source, attributes, expected).and_then(|copied| {
            self.rename(directory, &temporary, path, name)?;
            Ok(copied)
        });
        if outcome.is_err() {
            self.discard(directory, &temporary, path);
        }
        let copied = outcome?;
        self.sync_directory(directory, path)?;
        Ok(copied)
    }

    /// [`Self::copy_in`] from another path below the root.
    pub fn copy(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        attributes: FileAttributes,
        expected: Option<Checksum>,
    ) -> Result<Copied> {
        let mut source = self.open_file(from.as_ref())?;
        self.copy_in(to, &mut source, attributes, expected)
    }

    /// Makes the path a symbolic link with this text, atomically; an equal link is not touched. Refuses to replace anything but a link.
    pub fn ensure_symlink(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Change> {
        let (path, target) = (path.as_ref(), target.as_ref());
        if let Some(found) = self.metadata(path)? {
            if found.kind != FileKind::Symlink {
                return Err(HostError::UnexpectedKind {
                    path: path.to_owned(),
                    expected: FileKind::Symlink,
                    found: found.kind,
                });
            }
            if found.link_target.as_deref() == Some(target) {
                return Ok(Change::Unchanged);
            }
        }
        let (directory, name) = self.parent(path)?;
        let directory = directory.as_fd();
        let temporary = loop {
            let temporary = temporary::name_for(name);
            let made = self.step_io(Operation::CreateSymlink, path, || {
                match symlinkat(target, directory, temporary.as_os_str()) {
                    Err(Errno::EEXIST) => Ok(false),
                    other => other.map(|()| true).map_err(Into::into),
                }
            });
            if made? {
                break temporary;
            }
        };
        if let Err(error) = self.rename(directory, &temporary, path, name) {
            self.discard(directory, &temporary, path);
            return Err(error);
        }
        self.sync_directory(directory, path)?;
        Ok(Change::Content)
    }

    /// Sets mode and owner of a file or directory where they differ; a link in the last component is refused.
    pub fn set_attributes(&self, path: impl AsRef<Path>, attributes: FileAttributes) -> Result<Change> {
        let path = path.as_ref();
        let (directory, name) = self.parent(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let entry =
            self.step(Operation::SetAttributes, path, || openat(directory.as_fd(), name, flags, Mode::empty()))?;
        self.apply(entry.as_fd(), path, attributes)
    }

    /// Gives an entry of any kind another name in the same directory, atomically and durably. [`Removal::Absent`] where nothing stands; an error
    /// where something has the new name. Not followed: a link keeps its text, a directory its content.
    pub fn rename_aside(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Removal> {
        let (from, to) = (from.as_ref(), to.as_ref());
        if from.parent() != to.parent() {
            return Err(HostError::InvalidPath { path: to.to_owned() });
        }
        let (is_there, is_taken) = (self.metadata(from)?.is_some(), self.metadata(to)?.is_some());
        if !is_there && !is_taken {
            return Ok(Removal::Absent);
        }
        let (directory, old) = self.parent(from)?;
        let (_, new) = split(to)?;
        let directory = directory.as_fd();
        if is_there {
            // Nobody else uses these names, and the host lock keeps other agents out.
            if is_taken {
                return Err(HostError::io(Operation::Rename, to, Errno::EEXIST));
            }
            self.step(Operation::Rename, to, || renameat(directory, old, directory, new))?;
        }
        // Also after an earlier call that failed here.
        self.sync_directory(directory, to)?;
        Ok(Removal::Removed)
    }

    /// Takes the exclusive lock on this file, which is made (mode 0600) where it is missing; does not wait.
    pub fn lock(&self, path: impl AsRef<Path>) -> Result<HostLock> {
        let path = path.as_ref();
        let (directory, name) = self.parent(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = self
            .step(Operation::Lock, path, || openat(directory.as_fd(), name, flags, Mode::from_bits_truncate(0o600)))?;
        HostLock::try_take(File::from(file), path)
    }

    fn create_temporary(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        name: &std::ffi::OsStr,
    ) -> Result<(File, OsString)> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        loop {
            let temporary = temporary::name_for(name);
            let file = self.step_io(Operation::CreateTemporary, path, || {
                let mode = Mode::from_bits_truncate(0o600);
                match openat(directory, temporary.as_os_str(), flags, mode) {
                    Ok(descriptor) => Ok(Some(File::from(descriptor))),
                    Err(Errno::EEXIST) => Ok(None),
                    Err(errno) => Err(errno.into()),
                }
            })?;
            if let Some(file) = file {
                return Ok((file, temporary));
            }
        }
    }

    fn fill(
        &self,
        file: &mut File,
        path: &Path,
        source: &mut dyn Read,
        attributes: FileAttributes,
        expected: Option<Checksum>,
    ) -> Result<Copied> {
        let mut source = Summing::new(source);
        self.step_io(Operation::Write, path, || {
            std::io::copy(&mut source, file)?;
            file.flush()
        })?;
        let (checksum, bytes) = source.finish();
        if let Some(expected) = expected.filter(|expected| *expected != checksum) {
            return Err(HostError::UnexpectedContent { path: path.to_owned(), expected, found: checksum });
        }
        self.apply(file.as_fd(), path, attributes)?;
        self.step_io(Operation::SyncFile, path, || file.sync_all())?;
        Ok(Copied { bytes, checksum })
    }

    /// Owner first: changing it can clear permission bits.
    pub(super) fn apply(&self, entry: BorrowedFd<'_>, path: &Path, attributes: FileAttributes) -> Result<Change> {
        let stat = self.step(Operation::Inspect, path, || fstat(entry))?;
        let mut change = Change::Unchanged;
        if let Some(owner) = attributes.owner {
            let uid = (stat.st_uid != owner.uid).then(|| Uid::from_raw(owner.uid));
            let gid = (stat.st_gid != owner.gid).then(|| Gid::from_raw(owner.gid));
            if uid.is_some() || gid.is_some() {
                self.step(Operation::SetAttributes, path, || fchown(entry, uid, gid))?;
                change = Change::Attributes;
            }
        }
        if change == Change::Attributes || stat.st_mode & 0o7777 != attributes.mode {
            self.step(Operation::SetAttributes, path, || fchmod(entry, Mode::from_bits_truncate(attributes.mode)))?;
            change = Change::Attributes;
        }
        Ok(change)
    }

    fn rename(
        &self,
        directory: BorrowedFd<'_>,
        temporary: &OsString,
        path: &Path,
        name: &std::ffi::OsStr,
    ) -> Result<()> {
        self.step(Operation::Rename, path, || renameat(directory, temporary.as_os_str(), directory, name))
    }

    pub(super) fn sync_directory(&self, directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
        self.step(Operation::SyncDirectory, path, || fsync(directory))
    }

    /// Best effort after a failure; what stays is found by [`HostRoot::remove_stale_temporaries`].
    fn discard(&self, directory: BorrowedFd<'_>, temporary: &OsString, path: &Path) {
        let removed = self
            .step(Operation::Remove, path, || unlinkat(directory, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir));
        if let Err(error) = removed {
            tracing::debug!(%error, "a temporary file stays behind");
        }
    }
}
