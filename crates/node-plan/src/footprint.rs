//! What a backend may leave on a host, and who owns what is found there: pure data, over which planning is written once.

use crate::entry::Entry;
use crate::journal::Journal;
use crate::observed::Observed;

/// The unit that runs a backend, and its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Name of the unit.
    pub unit: &'static str,
    /// File of the unit.
    pub file: &'static str,
    /// The program.
    pub binary: &'static str,
    /// The program that ran before an upgrade, until the new one is proven.
    pub kept_binary: &'static str,
}

/// What works on the host without the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Name of the service.
    pub unit: &'static str,
    /// File of the service.
    pub unit_file: &'static str,
    /// Name of the timer.
    pub timer: &'static str,
    /// File of the timer.
    pub timer_file: &'static str,
}

/// Everything of a backend that may stand on a host, whatever it is configured with and whichever version put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Files that an installation of any version may have put there.
    pub files: &'static [&'static str],
    /// Those of them that the other backend has, too.
    pub shared: &'static [&'static str],
    /// Links that enable our units, with their targets.
    pub links: &'static [(&'static str, &'static str)],
    /// Directories that may have to be made before the service is started, outermost first. Those of the journal and of the lock are the
    /// executor's.
    pub directories: &'static [&'static str],
    /// Directories that may have to be made after it has proven itself, outermost first.
    pub late_directories: &'static [&'static str],
    /// Directories with names of ours alone: everything in them is ours, journal or not.
    pub own_directories: &'static [&'static str],
    /// What the service makes itself (deleted at removal), and the name under which waits what stood there before us.
    pub own_trees: &'static [(&'static str, &'static str)],
    /// File among them that a policy must not find of another one.
    pub cache: &'static str,
    /// Files that its programs write while they run, removed with it.
    pub written: &'static [&'static str],
    /// Where journal and lock are. Without a journal they are what an interrupted removal has left, or the lock of another agent.
    pub bookkeeping: &'static [&'static str],
    /// What a predecessor leaves and this one never makes.
    pub predecessor: &'static str,
    /// The service.
    pub service: Service,
    /// Its guard, if it needs one.
    pub guard: Option<Guard>,
}

impl Footprint {
    /// All directories that may have to be made, outermost first.
    pub(crate) fn all_directories(&self) -> impl DoubleEndedIterator<Item = &'static str> {
        self.directories.iter().chain(self.late_directories).copied()
    }

    /// Files and links that may have been made.
    pub(crate) fn files_and_links(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().copied().chain(self.links.iter().map(|(path, _)| *path))
    }

    /// Whether a file or directory of this path may be made for it.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files_and_links().chain(self.all_directories()).any(|own| own == path)
    }

    /// Every path of it.
    pub(crate) fn paths(&self) -> Vec<&'static str> {
        let mut paths: Vec<&'static str> = self.all_directories().collect();
        paths.extend(self.files_and_links());
        paths.extend(self.own_trees.iter().flat_map(|(path, aside)| [*path, *aside]));
        paths.extend(self.bookkeeping);
        paths.extend(self.written);
        paths.extend([self.cache, self.predecessor]);
        paths
    }

    /// Files of its units.
    pub(crate) fn unit_files(&self) -> impl Iterator<Item = &'static str> {
        let guard = self.guard.iter().flat_map(|guard| [guard.unit_file, guard.timer_file]);
        std::iter::once(self.service.file).chain(guard)
    }

    /// Its units.
    pub(crate) fn units(&self) -> impl Iterator<Item = &'static str> {
        let guard = self.guard.iter().flat_map(|guard| [guard.unit, guard.timer]);
        std::iter::once(self.service.unit).chain(guard)
    }

    /// Whether what stands at one of our paths was put there by us: the journal says so, it carries our marker, or it is in a directory of
    /// ours.
    pub(crate) fn is_ours(&self, observed: &Observed, path: &str) -> bool {
        let in_journal = observed.journal.as_ref().is_some_and(|journal| journal.made.files.contains(path));
        match observed.entry(path) {
            Entry::File { marked, .. } => {
                in_journal
                    || *marked
                    || self.in_own_directory(path)
                    || (path == self.service.binary && self.our_unit_runs_it(observed))
            }
            // A mask is somebody's intention, also where our unit used to stand.
            Entry::Link { .. } if observed.entry(path).is_mask() => false,
            Entry::Link { target } => {
                let is_link_of_ours =
                    self.links.iter().any(|(link, to)| *link == path && to == target && self.is_ours(observed, to));
                in_journal || is_link_of_ours
            }
            Entry::Absent | Entry::Directory { .. } | Entry::Other => false,
        }
    }

    /// A binary carries no marker, but a unit of ours that runs it says the same.
    fn our_unit_runs_it(&self, observed: &Observed) -> bool {
        matches!(observed.entry(self.service.file), Entry::File { marked: true, .. })
    }

    fn in_own_directory(&self, path: &str) -> bool {
        self.own_directories.iter().any(|directory| path.starts_with(directory))
    }

    /// Whether a directory was made by us.
    pub(crate) fn is_our_directory(&self, journal: Option<&Journal>, path: &str) -> bool {
        self.own_directories.contains(&path) || journal.is_some_and(|journal| journal.made.directories.contains(path))
    }

    /// Whether what stands at a place of the service is not the service's: one of ours was never started, or what stood there before us was
    /// put back already.
    pub(crate) fn is_foreign_state(&self, observed: &Observed, (path, aside): (&str, &str)) -> bool {
        if observed.entry(path).is_absent() {
            return false;
        }
        let Some(journal) = observed.journal.as_ref().filter(|_| !observed.is_forgotten()) else {
            return !self.own_trace(observed);
        };
        let was_moved = journal.made.aside.contains(path) && !observed.entry(aside).is_absent();
        journal.made.put_back.contains(path) || (journal.applied.is_none() && !was_moved)
    }

    /// Whether something of others waits under our name for its place to become free.
    pub(crate) fn waits_aside(&self, observed: &Observed, (path, aside): (&str, &str)) -> bool {
        !observed.entry(aside).is_absent()
            && (observed.entry(path).is_absent() || !self.is_foreign_state(observed, (path, aside)))
    }

    /// Whether something is here that is of this backend, and of no other one.
    pub(crate) fn own_trace(&self, observed: &Observed) -> bool {
        let own = self.files.iter().filter(|path| !self.shared.contains(*path));
        own.into_iter().any(|path| self.is_ours(observed, path))
    }

    /// Whether a directory stands that has a name of this backend's, and not of the other one's.
    pub(crate) fn own_directory_stands(&self, observed: &Observed, other: &Self) -> bool {
        let mut own = self.own_directories.iter().filter(|path| !other.own_directories.contains(*path));
        own.any(|path| !observed.entry(path).is_absent())
    }

    /// Whether we ever installed here: then the service's own files are ours to delete.
    pub(crate) fn any_trace(&self, observed: &Observed) -> bool {
        observed.journal.as_ref().is_some_and(|journal| !journal.made.files.is_empty())
            || self.files.iter().any(|path| self.is_ours(observed, path))
    }
}
