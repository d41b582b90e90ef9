//! Steps to a clean node, in this order: kubelet leaves the proxy before the proxy stops.

use std::collections::BTreeSet;

use extension_config::names::node;
use kubelet_config::Endpoint;

use crate::entry::Entry;
use crate::footprint::Footprint;
use crate::journal::{Applied, Change, Made, Phase};
use crate::kind::Backend;
use crate::observed::{Observed, Unit};
use crate::plan::{plugin, proxy};
use crate::restart::Cause;
use crate::step::{FileAction, JournalAction, Proof, Step, UnitAction};

/// What outlives the cleaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: a removal.
    Nothing,
    /// The journal, which remembers the back-off: a roll-back.
    Journal,
    /// The other backend, which is on the node, too.
    Other {
        /// Why kubelet is restarted, if it has to be.
        cause: Cause,
        /// The other one goes after it.
        goes_too: bool,
    },
}

impl Keep {
    /// Why kubelet is restarted.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::Nothing => Cause::Remove,
            Self::Journal => Cause::Rollback,
            Self::Other { cause, .. } => cause,
        }
    }
}

pub(super) fn steps(observed: &Observed, backend: Backend, keep: Keep, because: &str) -> Vec<Step> {
    let steps = steps_of(&observed.of(backend), backend, keep, because);
    let mut steps: Vec<Step> = steps.into_iter().map(|step| step.of(backend)).collect();
    if let (Keep::Other { .. }, Some(first)) = (keep, steps.first_mut()) {
        hand_over_directories(observed, backend, first);
    }
    steps
}

/// Directories that were made for the one that goes, and that the other one needs, are the other one's from now on.
fn hand_over_directories(observed: &Observed, backend: Backend, first: &mut Step) {
    let Some(journal) = &observed.journal else { return };
    let made = journal.of(backend).made.directories;
    let needed = backend.other().footprint();
    let directories: BTreeSet<String> = made.into_iter().filter(|path| needed.has(path)).collect();
    if !directories.is_empty() {
        first.before.push(Change::Make(Made { directories, ..Made::default() }).of(backend.other()));
    }
}

fn steps_of(observed: &Observed, backend: Backend, keep: Keep, because: &str) -> Vec<Step> {
    let journal = observed.journal.clone().unwrap_or_default();
    let footprint = backend.footprint();
    let waiting = footprint.own_trees.iter().any(|place| footprint.waits_aside(observed, *place));
    let directory_left = footprint.own_directory_stands(observed, backend.other().footprint());
    let nothing_known = observed.journal.is_none()
        && !footprint.any_trace(observed)
        && !observed.override_loaded()
        && !waiting
        && !directory_left;
    let rolled_back = journal.phase == Phase::RolledBack && journal.made == Made::default();
    let half_forgotten = footprint.bookkeeping.iter().any(|path| !observed.entry(path).is_absent());
    let alone = !matches!(keep, Keep::Other { .. });
    if alone && (nothing_known && !half_forgotten || (rolled_back && keep == Keep::Journal)) {
        return Vec::new();
    }
    if alone && (nothing_known || rolled_back) {
        return vec![Step::new(JournalAction::Forget, because)];
    }
    let mut steps = vec![begin(observed, footprint, keep, because)];
    match backend {
        Backend::Proxy => proxy::switch_to_containerd(observed, &journal, keep.cause(), &mut steps),
        Backend::Plugin => {}
    }
    // Of the proxy: the restart above writes none, so what stands is from an earlier start; the guard would go by it.
    let writer = match backend {
        Backend::Proxy => "the gate writes it",
        Backend::Plugin => "a trial writes it",
    };
    for path in footprint.written {
        steps.push(Step::new(FileAction::Remove { path: (*path).into() }, writer));
    }
    for (unit, state) in units(observed, footprint).into_iter().rev() {
        if state.is_up() {
            steps.push(Step::new(UnitAction::Stop { unit: unit.into() }, format!("{unit} is {}", state.active_state)));
        }
    }
    match backend {
        Backend::Proxy => {}
        Backend::Plugin => {
            plugin::after_stop(observed, journal.applied.as_ref(), footprint.own_trace(observed), &mut steps);
            if matches!(keep, Keep::Other { goes_too: false, .. }) {
                proxy::place_again(&mut steps);
            }
        }
    }
    // While our files still show that what stands there is our daemon's, should the journal be lost.
    for &place in footprint.own_trees {
        let (path, _) = place;
        if !footprint.is_foreign_state(observed, place) {
            steps.push(Step::new(FileAction::RemoveTree { path: path.into() }, format!("{path} is the daemon's own")));
        }
    }
    remove_units(observed, footprint, &mut steps);
    remove_rest(observed, backend, keep, &mut steps);
    put_back(observed, footprint, &mut steps);
    steps.push(match keep {
        Keep::Nothing | Keep::Journal => Step::new(Proof::Clean, because),
        Keep::Other { .. } => Step::new(Proof::NothingLeftOf { backend }, because),
    });
    steps.push(match keep {
        Keep::Nothing => Step::new(JournalAction::Forget, because),
        Keep::Other { .. } => Step::new(JournalAction::Record, because).before(Change::NothingMade),
        Keep::Journal => Step::new(JournalAction::Record, because)
            .before(Change::NothingMade)
            .before(Change::Phase(Phase::RolledBack)),
    });
    steps
}

/// Its units and what systemd says of them, the service first.
fn units<'a>(observed: &'a Observed, footprint: &Footprint) -> Vec<(&'static str, &'a Unit)> {
    let guard =
        footprint.guard.iter().flat_map(|guard| [(guard.unit, &observed.guard), (guard.timer, &observed.timer)]);
    std::iter::once((footprint.service.unit, &observed.daemon)).chain(guard).collect()
}

/// The journal first: what is found to be ours by its marker alone must still be known as ours when half of it is gone.
fn begin(observed: &Observed, footprint: &Footprint, keep: Keep, because: &str) -> Step {
    let files = footprint.files_and_links();
    let found = files.filter(|path| footprint.is_ours(observed, path)).map(str::to_owned).collect();
    let mut step = Step::new(JournalAction::Record, because);
    // The node stays installed where only one of two goes.
    if !matches!(keep, Keep::Other { goes_too: false, .. }) {
        step = step.before(Change::Phase(Phase::Removing));
    }
    let step = step.before(Change::Make(Made { files: found, ..Made::default() }));
    if observed.is_forgotten() && footprint.own_trace(observed) {
        step.before(Change::DaemonStarts(Applied::unknown(String::new())))
    } else {
        step
    }
}

fn remove_units(observed: &Observed, footprint: &Footprint, steps: &mut Vec<Step>) {
    for path in footprint.links.iter().map(|(path, _)| *path).chain(footprint.unit_files()) {
        if footprint.is_ours(observed, path) {
            steps.push(
                Step::new(FileAction::Remove { path: path.into() }, format!("{path} is ours"))
                    .before(Change::ReloadPending(true)),
            );
        }
    }
    // Also when no file is left: an interrupted removal may have deleted them without the reload.
    steps.push(
        Step::new(UnitAction::Reload, "systemd may still have our units loaded").after(Change::ReloadPending(false)),
    );
    for unit in footprint.units() {
        steps.push(Step::new(
            UnitAction::ResetFailed { unit: unit.into() },
            format!("a failed {unit} would stay listed without its file"),
        ));
    }
}

fn remove_rest(observed: &Observed, backend: Backend, keep: Keep, steps: &mut Vec<Step>) {
    let footprint = backend.footprint();
    let stays = |path: &str| matches!(keep, Keep::Other { .. }) && backend.other().footprint().has(path);
    let is_gone = |path: &str| footprint.unit_files().any(|file| file == path) || path == node::KUBELET_DROP_IN;
    for path in footprint.files.iter().copied().filter(|path| !is_gone(path) && !stays(path)) {
        if footprint.is_ours(observed, path) {
            steps.push(Step::new(FileAction::Remove { path: path.into() }, format!("{path} is ours")));
        }
    }
    for path in footprint.all_directories().rev().filter(|path| !stays(path)) {
        let there = matches!(observed.entry(path), Entry::Directory { .. });
        if there && footprint.is_our_directory(observed.journal.as_ref(), path) {
            steps.push(Step::new(FileAction::RemoveDirectory { path: path.into() }, format!("we made {path}")));
        }
    }
}

/// Last of all, when no file of ours is left by which a plan without the journal would take it for our daemon's.
fn put_back(observed: &Observed, footprint: &Footprint, steps: &mut Vec<Step>) {
    for &place in footprint.own_trees {
        let (path, aside) = place;
        if footprint.waits_aside(observed, place) {
            let action = FileAction::Rename { from: aside.into(), to: path.into() };
            steps.push(Step::new(action, format!("{path} was there before us")).before(Change::PutsBack(path.into())));
        }
    }
}

/// What a removal has left behind, as a list of paths and units; empty when the node is clean. Foreign files in directories that we made keep
/// those directories alive, which is no residue of ours.
#[must_use]
pub fn leftovers(observed: &Observed) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for one in Backend::ALL.into_iter().flat_map(|backend| on_host(&observed.of(backend), backend.footprint())) {
        // Some are of several.
        if !left.contains(&one) {
            left.push(one);
        }
    }
    left.extend(at_kubelet(observed));
    left
}

/// The same of one backend alone, while the other one is on the node.
#[must_use]
pub fn leftovers_of(observed: &Observed, backend: Backend) -> Vec<String> {
    let mut left = on_host(&observed.of(backend), backend.footprint());
    left.retain(|path| !backend.other().footprint().has(path));
    if backend == Backend::Proxy {
        left.extend(at_kubelet(observed));
    }
    left
}

fn at_kubelet(observed: &Observed) -> Vec<String> {
    let mut left = Vec::new();
    if observed.override_loaded() {
        left.push(format!("{} (loaded in systemd)", node::KUBELET_DROP_IN));
    }
    if observed.kubelet.endpoint() == Some(Endpoint::Proxy) {
        left.push("kubelet.service (running on the proxy)".to_owned());
    }
    left
}

fn on_host(observed: &Observed, footprint: &Footprint) -> Vec<String> {
    let files = footprint.files_and_links().filter(|path| footprint.is_ours(observed, path));
    let directories = footprint.all_directories().filter(|path| {
        *observed.entry(path) == Entry::Directory { empty: true }
            && footprint.is_our_directory(observed.journal.as_ref(), path)
    });
    let trees = || footprint.own_trees.iter();
    let daemons = trees()
        .filter(|place| !observed.entry(place.0).is_absent() && !footprint.is_foreign_state(observed, **place))
        .map(|(path, _)| *path);
    let aside = trees().filter(|place| footprint.waits_aside(observed, **place)).map(|(_, aside)| *aside);
    let written = footprint.written.iter().copied().filter(|path| !observed.entry(path).is_absent());
    let others = daemons.chain(aside).chain(written);
    let mut left: Vec<String> = files.chain(directories).chain(others).map(str::to_owned).collect();
    for (unit, state) in units(observed, footprint) {
        if state.is_up() || state.is_failed() {
            left.push(format!("{unit} ({})", state.active_state));
        }
    }
    left
}
