//! The host's files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use extension_config::names::node;
use host::{Checksum, FileAttributes, FileKind, HostLock, Metadata, Owner, Removal};
use node_plan::{Entry, FileAction, Journal, MARKER, Source};

use super::RealNode;
use crate::effects::{EffectError, Files, Result};

/// Texts of ours and the configurations that we read are far smaller.
const TEXT_LIMIT: u64 = 4 << 20;
const DIRECTORY_MODE: u32 = 0o755;
const STATE_MODE: u32 = 0o700;

/// What the sum of a file is remembered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    stamp: [i128; 6],
    sha256: String,
}

impl RealNode {
    fn take_lock(&self) -> Result<HostLock> {
        loop {
            self.root.create_directories(node::RUN_DIR, FileAttributes::with_mode(DIRECTORY_MODE))?;
            let lock = self.root.lock(node::LOCK)?;
            // A removal by another agent deletes the file that it holds; a lock on a deleted file keeps nobody out.
            if self.root.metadata(node::LOCK)?.is_some() {
                self.sweep()?;
                return Ok(lock);
            }
        }
    }

    /// Temporary files that a killed agent left.
    fn sweep(&self) -> Result<()> {
        let mut directories: Vec<&Path> =
            node_plan::watched_paths().into_iter().filter_map(|path| Path::new(path).parent()).collect();
        directories.push(Path::new(node::STATE_DIR));
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            for path in self.root.remove_stale_temporaries(directory)? {
                tracing::info!(path = %path.display(), "removed a temporary file of a killed agent");
            }
        }
        Ok(())
    }

    /// The sum of a file, remembered as long as its inode, size and times are the same: the daemon is tens of megabytes.
    fn sha256(&mut self, path: &str) -> Result<Option<String>> {
        let stamp = std::fs::symlink_metadata(self.root.path_in_this_namespace(path)).ok().map(|found| {
            [
                i128::from(found.dev()),
                i128::from(found.ino()),
                i128::from(found.size()),
                i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
                i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec()),
                i128::from(found.mode()),
            ]
        });
        if let (Some(stamp), Some(known)) = (stamp, self.sums.get(path))
            && known.stamp == stamp
        {
            return Ok(Some(known.sha256.clone()));
        }
        let Some(sum) = self.root.checksum(path)? else { return Ok(None) };
        let sha256 = sum.to_string();
        if let Some(stamp) = stamp {
            self.sums.insert(path.to_owned(), Sums { stamp, sha256: sha256.clone() });
        }
        Ok(Some(sha256))
    }

    fn file_entry(&mut self, path: &str, found: &Metadata) -> Result<Entry> {
        let Some(sha256) = self.sha256(path)? else { return Ok(Entry::Absent) };
        let marked = found.size <= TEXT_LIMIT
            && self.root.read_optional(path, TEXT_LIMIT)?.is_some_and(|bytes| bytes.starts_with(MARKER.as_bytes()));
        Ok(Entry::File { sha256, mode: found.mode, own: found.owner == self.owner(), marked })
    }

    /// Files are made as root; in a sandbox, where the agent is somebody else, as that one.
    fn owner(&self) -> Owner {
        self.binaries.owner
    }

    fn write(&mut self, path: &str, mode: u32, source: &Source, sha256: &str) -> Result<()> {
        let attributes = FileAttributes::with_mode(mode).owned_by(self.owner());
        let expected: Option<Checksum> = sha256.parse().ok();
        match source {
            Source::Text(text) => {
                self.root.ensure_file(path, text.as_bytes(), attributes)?;
            }
            _ if self.sha256(path)?.as_deref() == Some(sha256) => {
                self.root.set_attributes(path, attributes)?;
            }
            Source::Host(from) => {
                self.root.copy(from, path, attributes, expected)?;
            }
            Source::Daemon | Source::Policy(_) | Source::Gate => {
                let mut file = self.binaries.open(source)?;
                self.root.copy_in(path, &mut file, attributes, expected)?;
            }
        }
        Ok(())
    }

    fn remove_directory(&self, path: &str) -> Result<()> {
        if self.root.remove_directory(path)? == Removal::Busy {
            return Err(EffectError::MountPoint { path: path.to_owned() });
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        if self.root.rename_aside(from, to)? == Removal::Absent {
            tracing::warn!(path = from, "found nothing to rename");
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        match self.root.metadata(path)?.map(|found| found.kind) {
            None => {}
            Some(FileKind::Symlink) => {
                self.root.remove_symlink(path, None)?;
            }
            Some(_) => {
                self.root.remove_file(path, None)?;
            }
        }
        Ok(())
    }
}

impl Files for RealNode {
    fn entry(&mut self, path: &str) -> Result<Entry> {
        let Some(found) = self.root.metadata(path)? else { return Ok(Entry::Absent) };
        Ok(match found.kind {
            FileKind::File => self.file_entry(path, &found)?,
            FileKind::Directory => {
                let entries = self.root.list(path)?;
                Entry::Directory { empty: entries.is_some_and(|entries| entries.is_empty()) }
            }
            FileKind::Symlink => {
                let target = found.link_target.unwrap_or_default();
                Entry::Link { target: target.to_string_lossy().into_owned() }
            }
            FileKind::Socket | FileKind::Other => Entry::Other,
        })
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.root.read_optional(path, TEXT_LIMIT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>> {
        let entries = self.root.list_at_most(path, most)?.unwrap_or_default();
        let listed = entries.into_iter().map(|entry| (entry.name.to_string_lossy().into_owned(), entry.is_directory));
        Ok(listed.collect())
    }

    fn free_space(&self, path: &str) -> Result<u64> {
        Ok(self.root.free_space(path)?)
    }

    fn journal(&self) -> Result<Option<Journal>> {
        match self.journal.read() {
            Err(error) if error.is_damaged() => {
                tracing::warn!(error = %observability::ErrorChain(&error), "ignored a damaged journal; going by what is on the host");
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    fn write_journal(&mut self, journal: &Journal) -> Result<()> {
        self.root.create_directories(node::STATE_DIR, FileAttributes::with_mode(STATE_MODE))?;
        self.journal.write(journal.version(), journal)?;
        Ok(())
    }

    fn change(&mut self, action: &FileAction) -> Result<()> {
        match action {
            FileAction::MakeDirectory { path } => {
                self.root.create_directories(path, FileAttributes::with_mode(DIRECTORY_MODE))?;
            }
            FileAction::Write { path, mode, source, sha256 } => self.write(path, *mode, source, sha256)?,
            FileAction::MakeLink { path, target } => {
                self.root.ensure_symlink(path, target)?;
            }
            FileAction::Remove { path } => self.remove(path)?,
            FileAction::RemoveDirectory { path } => self.remove_directory(path)?,
            FileAction::RemoveTree { path } => {
                self.root.remove_tree(path)?;
            }
            FileAction::Rename { from, to } => self.rename(from, to)?,
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        self.journal.remove()?;
        if self.root.metadata(node::STATE_DIR)?.is_some() {
            self.root.remove_stale_temporaries(node::STATE_DIR)?;
            self.root.remove_directory(node::STATE_DIR)?;
        }
        self.root.remove_file(node::DYNAMIC_MEMORY, None)?;
        self.root.remove_file(node::LOCK, None)?;
        if self.root.metadata(node::RUN_DIR)?.is_some() {
            self.root.remove_directory(node::RUN_DIR)?;
        }
        Ok(())
    }

    fn lock(&mut self) -> Result<()> {
        if self.lock.is_none() {
            self.lock = Some(self.take_lock()?);
        }
        Ok(())
    }

    fn unlock(&mut self) {
        self.lock = None;
    }
}
