//! Which inotify watches stand for the wanted directories, missing ones included.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use inotify::{WatchDescriptor, WatchMask, Watches};

use super::{WatchError, Watched};
use crate::root::HostRoot;
use crate::temporary;

/// A directory can appear between looking and watching; this often it is checked again.
const ATTEMPTS: usize = 8;

/// Names that matter in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Only(Vec<OsString>),
}

#[derive(Debug)]
pub(super) struct WatchSet {
    root: HostRoot,
    watched: Vec<Watched>,
    current: HashMap<WatchDescriptor, Names>,
}

impl WatchSet {
    pub(super) fn new(root: HostRoot, watched: Vec<Watched>) -> Self {
        Self { root, watched, current: HashMap::new() }
    }

    /// Whether an event of this watch is worth a tick.
    pub(super) fn matters(&self, watch: &WatchDescriptor, name: Option<&OsStr>) -> bool {
        let Some(names) = self.current.get(watch) else {
            return false;
        };
        match (name, names) {
            (None, _) => true,
            (Some(name), Names::All) => !temporary::is_temporary(name),
            (Some(name), Names::Only(only)) => only.iter().any(|wanted| wanted == name),
        }
    }

    /// Adds and removes watches so that each wanted directory, or the nearest one above it, is watched.
    pub(super) fn refresh(&mut self, inotify: &mut Watches) -> Result<(), WatchError> {
        let mut fresh = HashMap::new();
        for watched in &self.watched {
            self.add(inotify, watched, &mut fresh)?;
        }
        for (stale, _) in self.current.drain() {
            if !fresh.contains_key(&stale) {
                // Fails where the kernel has dropped the watch already.
                drop(inotify.remove(stale));
            }
        }
        self.current = fresh;
        Ok(())
    }

    fn add(
        &self,
        inotify: &mut Watches,
        watched: &Watched,
        fresh: &mut HashMap<WatchDescriptor, Names>,
    ) -> Result<(), WatchError> {
        for _ in 0..ATTEMPTS {
            let missing = self.root.missing_directories(&watched.directory)?;
            let (existing, names) = match missing.first() {
                None => (watched.directory.as_path(), Names::of(&watched.names)),
                Some(first) => (
                    first.parent().unwrap_or(Path::new("/")),
                    Names::Only(first.file_name().map(OsStr::to_owned).into_iter().collect()),
                ),
            };
            let Some(watch) = self.watch(inotify, existing)? else {
                continue;
            };
            fresh.entry(watch).and_modify(|held| held.join(&names)).or_insert(names);
            if self.root.missing_directories(&watched.directory)? == missing {
                break;
            }
        }
        Ok(())
    }

    /// Watches an existing directory; `None` if it has just gone.
    fn watch(&self, inotify: &mut Watches, directory: &Path) -> Result<Option<WatchDescriptor>, WatchError> {
        let opened = match self.root.open_for_watch(directory) {
            Ok(opened) => opened,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The magic link leads to the directory that was resolved below the root, whatever its name means in this process's view.
        let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
        match inotify.add(&link, mask()) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WatchError::Add { directory: directory.to_owned(), source }),
        }
    }
}

impl Names {
    fn of(names: &[OsString]) -> Self {
        if names.is_empty() { Self::All } else { Self::Only(names.to_vec()) }
    }

    fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Only(held), Self::Only(more)) => held.extend_from_slice(more),
            _ => *self = Self::All,
        }
    }
}

/// Changes only: no openings, no readings.
fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}
