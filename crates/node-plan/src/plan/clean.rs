//! Steps to a clean node, in this order: kubelet leaves the proxy before the proxy stops.

use extension_config::names::node;
use kubelet_config::Endpoint;

use crate::entry::Entry;
use crate::journal::{Applied, Change, Journal, Made, Phase, Restart};
use crate::layout::{
    BOOKKEEPING, DAEMON_PLACES, DIRECTORIES, FILES, LINKS, any_trace, is_foreign_state, is_our_directory, is_ours,
    waits_aside,
};
use crate::observed::Observed;
use crate::step::{Action, Cause, FileAction, JournalAction, Proof, Step, UnitAction};

/// What outlives the cleaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: a removal.
    Nothing,
    /// The journal, which remembers the back-off: a roll-back.
    Journal,
}

pub(super) fn steps(observed: &Observed, keep: Keep, because: &str) -> Vec<Step> {
    let journal = observed.journal.clone().unwrap_or_default();
    let waiting = DAEMON_PLACES.into_iter().any(|place| waits_aside(observed, place));
    let nothing_known = observed.journal.is_none() && !any_trace(observed) && !observed.override_loaded() && !waiting;
    let rolled_back = journal.phase == Phase::RolledBack && journal.made == Made::default();
    let half_forgotten = BOOKKEEPING.into_iter().any(|path| !observed.entry(path).is_absent());
    if nothing_known && !half_forgotten || (rolled_back && keep == Keep::Journal) {
        return Vec::new();
    }
    if nothing_known || rolled_back {
        return vec![Step::new(JournalAction::Forget, because)];
    }
    let mut steps = vec![begin(observed, because)];
    leave_proxy(observed, &journal, keep, &mut steps);
    // The restart above writes none, so what stands is from an earlier start; the guard would go by it.
    steps.push(Step::new(FileAction::Remove { path: node::RUNTIME_ENV.into() }, "the gate writes it"));
    for (unit, state) in [
        (node::GUARD_TIMER, &observed.timer),
        (node::GUARD_UNIT, &observed.guard),
        (node::DAEMON_UNIT, &observed.daemon),
    ] {
        if state.is_up() {
            steps.push(Step::new(UnitAction::Stop { unit: unit.into() }, format!("{unit} is {}", state.active_state)));
        }
    }
    // While our files still tell that what stands there is our daemon's, should the journal be lost.
    for place @ (path, _) in DAEMON_PLACES {
        if !is_foreign_state(observed, place) {
            steps.push(Step::new(FileAction::RemoveTree { path: path.into() }, format!("{path} is the daemon's own")));
        }
    }
    remove_units(observed, &mut steps);
    remove_rest(observed, &mut steps);
    put_back(observed, &mut steps);
    steps.push(Step::new(Proof::Clean, because));
    steps.push(match keep {
        Keep::Nothing => Step::new(JournalAction::Forget, because),
        Keep::Journal => Step::new(JournalAction::Record, because)
            .before(Change::NothingMade)
            .before(Change::Phase(Phase::RolledBack)),
    });
    steps
}

/// The journal first: what is found to be ours by its marker alone must still be known as ours when half of it is gone.
fn begin(observed: &Observed, because: &str) -> Step {
    let files = FILES.into_iter().chain(LINKS.map(|(path, _)| path));
    let found = files.filter(|path| is_ours(observed, path)).map(str::to_owned).collect();
    let step = Step::new(JournalAction::Record, because)
        .before(Change::Phase(Phase::Removing))
        .before(Change::Make(Made { files: found, ..Made::default() }));
    if observed.journal.is_none() && any_trace(observed) {
        step.before(Change::DaemonStarts(Applied::unknown(String::new())))
    } else {
        step
    }
}

fn leave_proxy(observed: &Observed, journal: &Journal, keep: Keep, steps: &mut Vec<Step>) {
    let there = is_ours(observed, node::KUBELET_DROP_IN);
    if there {
        steps.push(
            Step::new(FileAction::Remove { path: node::KUBELET_DROP_IN.into() }, "the override is there")
                .before(Change::ReloadPending(true)),
        );
    }
    if there || observed.override_loaded() || journal.reload_pending {
        steps.push(
            Step::new(UnitAction::Reload, "systemd may still have the override loaded")
                .after(Change::ReloadPending(false)),
        );
        steps.push(Step::new(Proof::Override { loaded: false }, "the override must be gone before kubelet restarts"));
    }
    let kubelet = &observed.kubelet;
    let on_proxy = kubelet.endpoint() == Some(Endpoint::Proxy);
    let down = left_down(observed, journal);
    if on_proxy || down {
        let cause = match (keep, on_proxy) {
            (Keep::Journal, true) => Cause::Rollback,
            (Keep::Nothing, true) => Cause::Remove,
            (_, false) => Cause::Heal,
        };
        let evidence =
            if on_proxy { "kubelet runs on the proxy" } else { "kubelet.service is down, and not on purpose" };
        steps.push(
            Step::new(Action::RestartKubelet { cause }, evidence)
                .before(Change::KubeletRestarts(Restart { at: observed.now, cause })),
        );
    }
    if on_proxy || down || journal.kubelet_unproven {
        steps.push(
            Step::new(
                Proof::Kubelet { endpoint: Endpoint::Containerd },
                "kubelet must run well before the proxy stops",
            )
            .after(Change::KubeletProven),
        );
    }
}

/// kubelet has failed, or is down in the middle of a restart of ours (whose first half resets the failed state). A kubelet that somebody
/// stopped is left alone.
pub(super) fn left_down(observed: &Observed, journal: &Journal) -> bool {
    let unit = &observed.kubelet.unit;
    unit.is_failed() || (journal.kubelet_unproven && !unit.is_up())
}

fn remove_units(observed: &Observed, steps: &mut Vec<Step>) {
    let unit_files = [node::DAEMON_UNIT_FILE, node::GUARD_UNIT_FILE, node::GUARD_TIMER_FILE];
    for path in LINKS.map(|(path, _)| path).into_iter().chain(unit_files) {
        if is_ours(observed, path) {
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
    for unit in [node::DAEMON_UNIT, node::GUARD_UNIT, node::GUARD_TIMER] {
        steps.push(Step::new(
            UnitAction::ResetFailed { unit: unit.into() },
            format!("a failed {unit} would stay listed without its file"),
        ));
    }
}

fn remove_rest(observed: &Observed, steps: &mut Vec<Step>) {
    let unit_files = [node::DAEMON_UNIT_FILE, node::GUARD_UNIT_FILE, node::GUARD_TIMER_FILE, node::KUBELET_DROP_IN];
    for path in FILES.into_iter().filter(|path| !unit_files.contains(path)) {
        if is_ours(observed, path) {
            steps.push(Step::new(FileAction::Remove { path: path.into() }, format!("{path} is ours")));
        }
    }
    for path in DIRECTORIES.into_iter().rev() {
        let there = matches!(observed.entry(path), Entry::Directory { .. });
        if there && is_our_directory(observed.journal.as_ref(), path) {
            steps.push(Step::new(FileAction::RemoveDirectory { path: path.into() }, format!("we made {path}")));
        }
    }
}

/// Last of all, when no file of ours is left by which a plan without the journal would take it for our daemon's.
fn put_back(observed: &Observed, steps: &mut Vec<Step>) {
    for place @ (path, aside) in DAEMON_PLACES {
        if waits_aside(observed, place) {
            let action = FileAction::Rename { from: aside.into(), to: path.into() };
            steps.push(Step::new(action, format!("{path} was there before us")).before(Change::PutsBack(path.into())));
        }
    }
}

/// What a removal has left behind, as a list of paths and units; empty when the node is clean. Foreign files in directories that we made keep
/// those directories alive, which is no residue of ours.
#[must_use]
pub fn residue(observed: &Observed) -> Vec<String> {
    let files = FILES.into_iter().chain(LINKS.map(|(path, _)| path)).filter(|path| is_ours(observed, path));
    let directories = DIRECTORIES.into_iter().filter(|path| {
        *observed.entry(path) == Entry::Directory { empty: true } && is_our_directory(observed.journal.as_ref(), path)
    });
    let daemons = DAEMON_PLACES
        .into_iter()
        .filter(|place| !observed.entry(place.0).is_absent() && !is_foreign_state(observed, *place))
        .map(|(path, _)| path);
    let aside = DAEMON_PLACES.into_iter().filter(|place| waits_aside(observed, *place)).map(|(_, aside)| aside);
    let env = [node::RUNTIME_ENV].into_iter().filter(|path| !observed.entry(path).is_absent());
    let others = daemons.chain(aside).chain(env);
    let mut left: Vec<String> = files.chain(directories).chain(others).map(str::to_owned).collect();
    for (unit, state) in [
        (node::DAEMON_UNIT, &observed.daemon),
        (node::GUARD_UNIT, &observed.guard),
        (node::GUARD_TIMER, &observed.timer),
    ] {
        if state.is_up() || state.is_failed() {
            left.push(format!("{unit} ({})", state.active_state));
        }
    }
    if observed.override_loaded() {
        left.push(format!("{} (loaded in systemd)", node::KUBELET_DROP_IN));
    }
    if observed.kubelet.endpoint() == Some(Endpoint::Proxy) {
        left.push("kubelet.service (running on the proxy)".to_owned());
    }
    left
}
