//! The host root and how paths are resolved below it.

mod directory;
mod read;
mod remove;
mod write;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::attributes::FileKind;
use crate::checksum::Checksum;
use crate::error::{HostError, Result};
use crate::operation::{Hook, Operation, Step};

/// `openat2` gives up with `EAGAIN` when something is renamed or mounted while it resolves; this often it is asked again.
const RESOLVE_ATTEMPTS: usize = 32;

/// The root of the host's file system as this process sees it. Cheap to clone.
#[derive(Clone)]
pub struct HostRoot {
    directory: Arc<OwnedFd>,
    path: Arc<Path>,
    hook: Option<Hook>,
}

/// What [`HostRoot::ensure_file`] and its like had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Everything was as wanted; nothing was written.
    Unchanged,
    /// Only mode or owner were set.
    Attributes,
    /// The content was written.
    Content,
}

/// What a removal found; a missing entry is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone.
    Removed,
    /// It was not there.
    Absent,
    /// The directory holds entries and was left alone.
    NotEmpty,
    /// The directory is a mount point in this process's view and cannot be removed from here.
    Busy,
}

/// What [`HostRoot::copy_in`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Length in bytes.
    pub bytes: u64,
    /// Sum of the content.
    pub checksum: Checksum,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// Name without directory.
    pub name: OsString,
    /// Whether it is a directory (a link to one is not).
    pub is_directory: bool,
}

impl fmt::Debug for HostRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HostRoot")
            .field("path", &self.path)
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}

impl HostRoot {
    /// Opens the directory (`/host` in the agent's pod) that all host-absolute paths are resolved below.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
            .map_err(|errno| HostError::io(Operation::Open, path, errno))?;
        Ok(Self { directory: Arc::new(directory), path: Arc::from(path), hook: None })
    }

    /// The same root with a hook that is asked before each step; for tests (see [`crate::fault`]).
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Where the root is in this process's own view.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A host-absolute path in this process's own view, for what cannot be opened by us (the bus address, a socket to connect to).
    /// Links in it are *not* resolved below the root.
    #[must_use]
    pub fn path_in_this_namespace(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Asks the hook, then does the step and names it in the error.
    fn step<T>(&self, operation: Operation, path: &Path, act: impl FnOnce() -> nix::Result<T>) -> Result<T> {
        self.step_io(operation, path, || act().map_err(Into::into))
    }

    /// [`Self::step`] for what yields the standard library's errors.
    fn step_io<T>(&self, operation: Operation, path: &Path, act: impl FnOnce() -> std::io::Result<T>) -> Result<T> {
        if let Some(hook) = &self.hook {
            hook(Step { operation, path }).map_err(|source| HostError::io(operation, path, source))?;
        }
        act().map_err(|source| HostError::io(operation, path, source))
    }

    /// `openat2` below the root, with the flags of `open`.
    fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut outcome = Err(Errno::EAGAIN);
        for _ in 0..RESOLVE_ATTEMPTS {
            outcome = openat2(self.directory.as_fd(), path, how);
            if !matches!(outcome, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        outcome
    }

    /// Opens the directory that holds the entry, and gives the entry's own name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let (directory, name) = split(path)?;
        let descriptor = self.open_directory(directory)?;
        Ok((descriptor, name))
    }

    /// A directory's descriptor that serves only to name it.
    pub(crate) fn open_for_watch(&self, path: &Path) -> Result<OwnedFd> {
        self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .map_err(|errno| HostError::io(Operation::Open, path, errno))
    }

    fn open_directory(&self, path: &Path) -> Result<OwnedFd> {
        self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map_err(|errno| HostError::io(Operation::Open, path, errno))
    }
}

/// Splits a path into directory and name after checking its form.
fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    check(path)?;
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => Ok((directory, name)),
        _ => Err(HostError::InvalidPath { path: path.to_owned() }),
    }
}

/// Absolute and without `..`: anything else is a bug of the caller.
fn check(path: &Path) -> Result<()> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain { Ok(()) } else { Err(HostError::InvalidPath { path: path.to_owned() }) }
}

/// `NotFound` as `None`.
fn optional<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind_of(mode: u32) -> FileKind {
    use nix::sys::stat::SFlag;
    match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => FileKind::File,
        SFlag::S_IFDIR => FileKind::Directory,
        SFlag::S_IFLNK => FileKind::Symlink,
        SFlag::S_IFSOCK => FileKind::Socket,
        _ => FileKind::Other,
    }
}
