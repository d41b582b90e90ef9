//! Looking: nothing here alters the host.

use std::fs::File;
use std::io::{Read, Take};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, fstatat};
use nix::sys::statvfs::fstatvfs;

use super::{HostRoot, check, kind_of, optional};
use crate::attributes::{FileKind, Metadata, Owner};
use crate::checksum::Checksum;
use crate::error::{HostError, Result};
use crate::operation::Operation;

impl HostRoot {
    /// Content of a regular file of at most `limit` bytes; links are followed below the root.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let file = self.open_file(path)?;
        let mut content = Vec::new();
        self.step_io(Operation::Read, path, || file.take(limit.saturating_add(1)).read_to_end(&mut content))?;
        if content.len() as u64 > limit {
            return Err(HostError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(content)
    }

    /// Opens a regular file to be read piece by piece: after `limit` bytes it ends. `None` where nothing stands.
    pub fn open_bounded(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Take<File>>> {
        let file = optional(self.open_file(path.as_ref()))?;
        Ok(file.map(|file| file.take(limit)))
    }

    /// [`Self::read`], with `None` where nothing stands.
    pub fn read_optional(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        optional(self.read(path, limit))
    }

    /// What stands at the path; `None` where nothing stands. A link in the last component is not followed.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Option<Metadata>> {
        let path = path.as_ref();
        let Some((directory, name)) = optional(self.parent(path))? else {
            return Ok(None);
        };
        let stat =
            self.step(Operation::Inspect, path, || fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW));
        let Some(stat) = optional(stat)? else {
            return Ok(None);
        };
        let mut metadata = metadata_of(&stat);
        if metadata.kind == FileKind::Symlink {
            let target = self.step(Operation::Inspect, path, || readlinkat(directory.as_fd(), name));
            let Some(target) = optional(target)? else {
                return Ok(None);
            };
            metadata.link_target = Some(target.into());
        }
        Ok(Some(metadata))
    }

    /// SHA-256 sum of a regular file; `None` where nothing stands.
    pub fn checksum(&self, path: impl AsRef<Path>) -> Result<Option<Checksum>> {
        let path = path.as_ref();
        let Some(mut file) = optional(self.open_file(path))? else {
            return Ok(None);
        };
        self.step_io(Operation::Read, path, || Checksum::of_reader(&mut file)).map(Some)
    }

    /// Bytes that an unprivileged process may still write at the path; the nearest existing directory above a missing path counts.
    pub fn free_space(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        check(path)?;
        for candidate in path.ancestors() {
            let opened = self.step(Operation::MeasureSpace, candidate, || self.resolve(candidate, OFlag::O_PATH));
            if let Some(descriptor) = optional(opened)? {
                let space = self.step(Operation::MeasureSpace, candidate, || fstatvfs(descriptor.as_fd()))?;
                return Ok(space.blocks_available() * space.fragment_size());
            }
        }
        Err(HostError::io(Operation::MeasureSpace, path, nix::errno::Errno::ENOENT))
    }

    /// Opens for reading, without blocking on a pipe and without taking anything but a regular file.
    pub(super) fn open_file(&self, path: &Path) -> Result<File> {
        check(path)?;
        let file = self.step_io(Operation::Read, path, || {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            let file = File::from(self.resolve(path, flags)?);
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let (file, metadata) = file?;
        if metadata.is_file() {
            Ok(file)
        } else {
            use std::os::unix::fs::MetadataExt;
            Err(HostError::UnexpectedKind {
                path: path.to_owned(),
                expected: FileKind::File,
                found: kind_of(metadata.mode()),
            })
        }
    }
}

fn metadata_of(stat: &FileStat) -> Metadata {
    Metadata {
        kind: kind_of(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        link_target: None,
    }
}
