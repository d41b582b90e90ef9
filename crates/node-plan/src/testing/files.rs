//! The node's files.

use extension_config::names::node;
use kubelet_config::Files;

use super::NodeState;
use crate::entry::{Entry, MARKER};
use crate::managed_file::Source;
use crate::step::FileAction;

/// A file that is none of ours.
pub(super) fn unmarked(sha256: &str, mode: u32) -> Entry {
    Entry::File { sha256: sha256.into(), mode, own: true, marked: false }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

impl NodeState {
    /// What stands at a path.
    #[must_use]
    pub fn entry(&self, path: &str) -> Entry {
        match self.entries.get(path) {
            None => Entry::Absent,
            Some(Entry::Directory { .. }) => {
                // The host has more in these than is modelled.
                let is_shared = path.starts_with("/etc/default") || path.ends_with("multi-user.target.wants");
                let empty = !is_shared && !self.entries.keys().any(|other| is_below(other, path));
                Entry::Directory { empty }
            }
            Some(entry) => entry.clone(),
        }
    }

    /// Carries out a change of files.
    ///
    /// # Panics
    /// When no plan should have it: a file without its directory, for one.
    pub fn change_files(&mut self, action: &FileAction) {
        match action {
            FileAction::MakeDirectory { path } => {
                self.entries.insert(path.clone(), Entry::Directory { empty: true });
            }
            FileAction::Write { path, mode, source, sha256 } => self.write(path, *mode, source, sha256),
            FileAction::MakeLink { path, target } => {
                assert!(self.has_parent(path), "{path} without its directory");
                self.entries.insert(path.clone(), Entry::Link { target: target.clone() });
            }
            FileAction::Remove { path } => {
                assert!(!matches!(self.entries.get(path), Some(Entry::Directory { .. })), "{path} is a directory");
                self.entries.remove(path);
            }
            FileAction::RemoveDirectory { path } => {
                if self.entry(path) == (Entry::Directory { empty: true }) {
                    self.entries.remove(path);
                }
            }
            FileAction::RemoveTree { path } => {
                self.entries.retain(|other, _| other != path && !is_below(other, path));
            }
            FileAction::Rename { from, to } => {
                assert!(!self.entries.contains_key(to), "{to} is overwritten");
                let is_moved = |path: &&String| *path == from || is_below(path, from);
                let moved: Vec<String> = self.entries.keys().filter(is_moved).cloned().collect();
                for path in moved {
                    if let Some(entry) = self.entries.remove(&path) {
                        self.entries.insert(format!("{to}{}", &path[from.len()..]), entry);
                    }
                }
            }
        }
    }

    fn write(&mut self, path: &str, mode: u32, source: &Source, sha256: &str) {
        let marked = match source {
            Source::Text(text) => {
                assert!(text.starts_with(MARKER), "{path} without the marker");
                true
            }
            Source::Host(from) => {
                let has_it = self.entries.get(*from).is_some_and(|entry| entry.has_content(sha256));
                assert!(has_it, "{path} from {from}, which has another content");
                false
            }
            Source::Daemon | Source::Gate => false,
        };
        assert!(self.has_parent(path), "{path} without its directory");
        self.entries.insert(path.to_owned(), Entry::File { sha256: sha256.to_owned(), mode, own: true, marked });
    }

    fn has_parent(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        parent == node::UNIT_DIR || matches!(self.entries.get(parent), Some(Entry::Directory { .. }))
    }
}

/// Only the texts can be read; the content of [`NodeState::entries`] is not kept.
impl Files for NodeState {
    fn text(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.texts.get(path).cloned())
    }

    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>, String> {
        let inside = self.texts.keys().filter_map(|text| text.strip_prefix(path)?.strip_prefix('/'));
        let names = inside.filter(|name| !name.contains('/'));
        Ok(names.map(|name| (name.to_owned(), false)).take(most).collect())
    }
}
