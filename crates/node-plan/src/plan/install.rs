//! Steps to an installed node, in this order: kubelet is not touched before the proxy has proven itself.

mod pacing;

use std::collections::BTreeSet;

use extension_config::names::node;
use kubelet_config::Endpoint;

use crate::budget;
use crate::desired::Installation;
use crate::entry::Entry;
use crate::journal::{Applied, Change, Journal, Made, Phase, Restart};
use crate::layout::{
    DAEMON_CACHE, DAEMON_PLACES, DIRECTORIES, FILES, FileRole, LINKS, ManagedFile, Source, any_trace, daemon_paths,
    is_foreign_state, is_ours,
};
use crate::observed::{Observed, Slot};
use crate::plan::clean::left_down;
use crate::plan::{Plan, Target};
use crate::step::{Action, Cause, FileAction, JournalAction, Proof, Step, UnitAction};

struct Planner<'a> {
    observed: &'a Observed,
    installation: &'a Installation,
    files: Vec<ManagedFile>,
    journal: Journal,
    steps: Vec<Step>,
    holds: Vec<String>,
    retry_at: Option<u64>,
    /// Unit files are written, or were, and systemd has not read them.
    reload: bool,
    /// The daemon has to be started anew.
    restart_daemon: Option<&'static str>,
    /// The daemon and its files stay as they are until a slot is held.
    leave_daemon: bool,
    awaits_slot: bool,
}

/// Back to what was proven before: that waits for nobody.
pub(super) fn plan_back(observed: &Observed, before: &Installation, not_before: u64, because: &str) -> Plan {
    let observed = Observed { slot: Slot::Held, ..observed.clone() };
    let mut plan = plan(&observed, before);
    plan.target = Target::Before;
    plan.holds.insert(0, format!("{because}; until then what was there before"));
    plan.retry_at = Some(plan.retry_at.map_or(not_before, |at| at.min(not_before)));
    plan
}

pub(super) fn plan(observed: &Observed, installation: &Installation) -> Plan {
    let journal = observed.journal.clone().unwrap_or_default();
    let mut planner = Planner {
        observed,
        installation,
        files: installation.files(),
        reload: journal.reload_pending,
        journal,
        steps: Vec::new(),
        holds: Vec::new(),
        retry_at: None,
        restart_daemon: None,
        leave_daemon: false,
        awaits_slot: false,
    };
    if observed.containerd_answers {
        planner.all();
    } else {
        planner.holds.push("containerd does not answer CRI calls; waiting for it".to_owned());
    }
    Plan {
        target: Target::Installed,
        steps: planner.steps,
        holds: planner.holds,
        retry_at: planner.retry_at,
        awaits_slot: planner.awaits_slot,
    }
}

impl Planner<'_> {
    fn all(&mut self) {
        self.begin();
        self.leave_daemon = self.changes_in_use() && !self.slot("the daemon is to run with something else");
        if !self.leave_daemon {
            self.clear_daemon_state();
        }
        self.place_files();
        self.reload("unit files changed");
        if !self.leave_daemon {
            self.start_daemon();
        }
        self.start_guard();
        self.place_override();
        self.switch_kubelet();
    }

    /// The intent goes into the journal before the first effect.
    fn begin(&mut self) {
        let wanted: BTreeSet<String> = self
            .files
            .iter()
            .map(|file| file.path)
            .chain(LINKS.map(|(path, _)| path))
            .filter(|path| !self.journal.made.files.contains(*path))
            .map(str::to_owned)
            .collect();
        let directories: BTreeSet<String> = DIRECTORIES
            .into_iter()
            .filter(|path| self.observed.entry(path).is_absent() && !self.journal.made.directories.contains(*path))
            .map(str::to_owned)
            .collect();
        let under_way = matches!(self.journal.phase, Phase::Installing | Phase::Installed);
        if self.observed.journal.is_some() && wanted.is_empty() && directories.is_empty() && under_way {
            return;
        }
        let mut step = Step::new(JournalAction::Record, "the journal does not know of all that will be made")
            .before(Change::Make(Made { files: wanted, directories, ..Made::default() }));
        if self.observed.journal.is_none() || !under_way {
            step = step.before(Change::Phase(Phase::Installing));
            self.journal.phase = Phase::Installing;
        }
        if self.observed.journal.is_none() && any_trace(self.observed) {
            // The journal was lost, the installation was not: its daemon is started anew, but keeps its state.
            let applied = Applied::unknown(self.installation.config.active_policy());
            self.journal.applied = Some(applied.clone());
            step = step.before(Change::DaemonStarts(applied));
        }
        self.steps.push(step);
    }

    /// What stands at the daemon's places and is not our daemon's waits under another name for our removal: deleting it is not ours to decide.
    fn move_aside(&mut self) {
        for place @ (path, aside) in DAEMON_PLACES {
            let step = if is_foreign_state(self.observed, place) {
                let why = format!("{path} was there before us");
                Step::new(FileAction::Rename { from: path.into(), to: aside.into() }, why)
            } else if self.journal.made.put_back.contains(path) {
                Step::new(JournalAction::Record, format!("{path} was about to be put back"))
            } else {
                continue;
            };
            self.steps.push(step.before(Change::MovesAside(path.into())).after(Change::MovedAside(path.into())));
        }
    }

    /// A first start must not find the state of an earlier installation: a cached configuration beats the fallback file. A policy switch
    /// follows the safe order (stop, reset, replace, start); deleting the cache of a stopped daemon does
    /// what `--reset-policy` and `--reset-config` do, without having to run anything on the host.
    fn clear_daemon_state(&mut self) {
        let policy = self.installation.config.active_policy();
        let (why, paths) = match &self.journal.applied {
            None => ("first start: nothing of an earlier installation may be left", daemon_paths().to_vec()),
            Some(applied) if applied.policy != policy => ("the policy changes", vec![DAEMON_CACHE]),
            Some(_) if !self.journal.made.put_back.is_empty() => ("what was there before us was put back", Vec::new()),
            Some(_) => return,
        };
        if self.observed.daemon.is_up() {
            self.steps.push(Step::new(UnitAction::Stop { unit: node::DAEMON_UNIT.into() }, why));
        }
        self.move_aside();
        for path in paths {
            let moved = DAEMON_PLACES.iter().any(|place| place.0 == path && is_foreign_state(self.observed, *place));
            if !moved && !self.observed.entry(path).is_absent() {
                let action = if path == DAEMON_CACHE {
                    FileAction::Remove { path: path.into() }
                } else {
                    FileAction::RemoveTree { path: path.into() }
                };
                self.steps.push(Step::new(action, why));
            }
        }
        self.restart_daemon = Some(why);
    }

    fn place_files(&mut self) {
        for path in DIRECTORIES {
            if path.starts_with("/etc/systemd/system.control") {
                continue;
            }
            self.make_directory(path);
        }
        for file in self.files.clone() {
            let stays = self.leave_daemon && matches!(file.role, FileRole::Daemon | FileRole::DaemonUnit);
            if file.path == node::DAEMON && !stays {
                self.keep_daemon();
            }
            if file.role != FileRole::Override && !stays {
                self.place(&file);
            }
        }
        let mut wanted: Vec<&str> = self.files.iter().map(|file| file.path).collect();
        if self.proven_daemon().is_some() {
            wanted.push(node::KEPT_DAEMON);
        }
        for path in FILES.into_iter().filter(|path| !wanted.contains(path)) {
            if is_ours(self.observed, path) && !self.leave_daemon {
                self.steps
                    .push(Step::new(FileAction::Remove { path: path.into() }, format!("{path} is no longer wanted")));
            }
        }
        for (path, target) in LINKS {
            let entry = self.observed.entry(path);
            if !entry.is_link(target) {
                let action = FileAction::MakeLink { path: path.into(), target: target.into() };
                self.steps.push(Step::new(action, describe(entry, path)).before(Change::ReloadPending(true)));
                self.reload = true;
            }
        }
    }

    /// Content of the daemon that was proven, when it is another one than the wanted.
    fn proven_daemon(&self) -> Option<&str> {
        let proven = &self.journal.proven.as_ref()?.daemon.sha256;
        (*proven != self.installation.daemon.sha256).then_some(proven)
    }

    /// The daemon that works stays at hand until the new one has proven itself.
    fn keep_daemon(&mut self) {
        let Some(proven) = self.proven_daemon().map(str::to_owned) else { return };
        let is_there = |path: &str| self.observed.entry(path).has_content(&proven);
        if is_there(node::DAEMON) && !is_there(node::KEPT_DAEMON) {
            let source = Source::Host(node::DAEMON);
            let action = FileAction::Write { path: node::KEPT_DAEMON.into(), mode: 0o755, source, sha256: proven };
            self.steps.push(Step::new(action, "the new daemon has not proven itself yet"));
        }
    }

    fn make_directory(&mut self, path: &str) {
        if self.observed.entry(path).is_absent() {
            self.steps.push(Step::new(FileAction::MakeDirectory { path: path.into() }, format!("{path} is missing")));
        }
    }

    /// Whether the file was not as wanted.
    fn place(&mut self, file: &ManagedFile) -> bool {
        let entry = self.observed.entry(file.path);
        if entry.is_file(&file.sha256, file.mode) {
            return false;
        }
        let action = FileAction::Write {
            path: file.path.into(),
            mode: file.mode,
            source: file.source.clone(),
            sha256: file.sha256.clone(),
        };
        let mut step = Step::new(action, describe(entry, file.path));
        match file.role {
            FileRole::Daemon | FileRole::DaemonUnit => {
                step = step.before(Change::DaemonStale);
                self.restart_daemon = self.restart_daemon.or(Some("what the daemon runs with changed"));
            }
            FileRole::Gate | FileRole::GuardUnit | FileRole::Override => {}
        }
        if matches!(file.role, FileRole::DaemonUnit | FileRole::GuardUnit | FileRole::Override) {
            step = step.before(Change::ReloadPending(true));
            self.reload = true;
        }
        self.steps.push(step);
        true
    }

    fn reload(&mut self, why: &str) {
        let unread = self.observed.daemon.load_state == "not-found" || self.observed.timer.load_state == "not-found";
        if self.reload || unread {
            self.steps.push(Step::new(UnitAction::Reload, why).after(Change::ReloadPending(false)));
            self.reload = false;
        }
    }

    fn start_daemon(&mut self) {
        let unit = &self.observed.daemon;
        let inputs = self.installation.inputs();
        let current = self.journal.applied.as_ref().is_some_and(|applied| {
            applied.inputs == inputs && applied.previous_invocation != unit.invocation && !unit.invocation.is_empty()
        });
        let renewal = self.installation.renewal.as_ref().filter(|renewal| renewal.invocation == unit.invocation);
        let given_up = current && unit.is_failed() && self.restart_daemon.is_none();
        if given_up && !budget::may_start_again(&self.journal, self.observed.now) {
            // Fails at once, and so leads to what failures lead to.
            self.steps.push(Step::new(Proof::DaemonAnswers, "systemd has given the daemon up again and again"));
            return;
        }
        let why = self.restart_daemon.or(if !current {
            Some("the daemon was not started with these files")
        } else if !unit.is_active() && !unit.is_activating() {
            Some("the daemon does not run")
        } else if unit.is_active() && !self.observed.proxy_answers {
            Some("the daemon runs but does not answer")
        } else {
            renewal.map(|renewal| renewal.because.as_str())
        });
        if let Some(why) = why {
            let applied = Applied {
                inputs,
                policy: self.installation.config.active_policy(),
                previous_invocation: unit.invocation.clone(),
            };
            let mut step = Step::new(UnitAction::Restart { unit: node::DAEMON_UNIT.into() }, why)
                .before(Change::DaemonStarts(applied))
                .before(Change::Phase(Phase::Installing));
            if given_up {
                step = step.before(Change::DaemonGivenUp(self.observed.now));
            }
            self.steps.push(step);
            self.journal.phase = Phase::Installing;
        }
        if why.is_some() || !self.observed.proxy_answers {
            self.steps.push(Step::new(Proof::DaemonAnswers, "kubelet must not be led onto a dead socket"));
        }
    }

    fn start_guard(&mut self) {
        let rewritten = self.steps.iter().any(|step| writes(&step.action, node::GUARD_TIMER_FILE));
        let unit = node::GUARD_TIMER.to_owned();
        if !self.observed.timer.is_up() {
            self.steps.push(Step::new(UnitAction::Start { unit: unit.clone() }, "the guard's timer does not run"));
        } else if rewritten {
            self.steps.push(Step::new(UnitAction::Restart { unit }, "the guard's timer was rewritten"));
        }
    }

    fn place_override(&mut self) {
        for path in ["/etc/systemd/system.control", node::KUBELET_DROP_IN_DIR] {
            self.make_directory(path);
        }
        let file = self.files.iter().find(|file| file.role == FileRole::Override).cloned();
        let written = file.is_some_and(|file| self.place(&file));
        let broken = self.observed.kubelet.unit.load_state != "loaded";
        if written || broken || !self.observed.override_loaded() {
            self.reload = true;
            self.reload("systemd does not have the override loaded");
            self.prove_override();
        }
    }

    /// Also before a restart long after it was placed: a drop-in that came later may have taken it back.
    fn prove_override(&mut self) {
        let proof = Action::from(Proof::Override { loaded: true });
        if !self.steps.iter().any(|step| step.action == proof) {
            self.steps.push(Step::new(proof, "kubelet must not restart without the override"));
        }
    }

    fn switch_kubelet(&mut self) {
        let kubelet = &self.observed.kubelet;
        let down = left_down(self.observed, &self.journal);
        let why = match kubelet.endpoint() {
            _ if down => Some("kubelet.service is down, and not on purpose"),
            Some(Endpoint::Containerd) => Some("kubelet runs on containerd"),
            Some(Endpoint::Foreign) => Some("kubelet runs on another socket"),
            Some(Endpoint::Proxy) | None => None,
        };
        if !kubelet.unit.is_up() && !down {
            self.holds.push("kubelet.service is stopped; it is not ours to start".to_owned());
            return;
        }
        if let Some(why) = why {
            if let Some(at) = budget::next_switch(&self.journal, self.observed.now) {
                self.retry_at = Some(at);
                self.holds.push(format!(
                    "{why}; {} restarts within {} s are enough, the next has to wait",
                    self.journal.restarts.len(),
                    budget::WINDOW_SECONDS
                ));
                return;
            }
            let healing = self.journal.switched || down;
            let cause = if healing { Cause::Heal } else { Cause::Switch };
            if cause == Cause::Switch && !self.slot(why) {
                return;
            }
            self.prove_override();
            self.steps.push(
                Step::new(Action::RestartKubelet { cause }, why)
                    .before(Change::KubeletRestarts(Restart { at: self.observed.now, cause }))
                    .before(Change::Phase(Phase::Installing)),
            );
            self.journal.phase = Phase::Installing;
        }
        let unproven = self.journal.kubelet_unproven || self.journal.phase != Phase::Installed;
        if why.is_some() || unproven || !kubelet.unit.is_active() {
            self.steps.push(
                Step::new(
                    Proof::Kubelet { endpoint: Endpoint::Proxy },
                    "the node is as desired only when kubelet runs well",
                )
                .after(Change::KubeletProven)
                .after(Change::Proven(self.installation.to_remember()))
                .after(Change::Phase(Phase::Installed)),
            );
        }
    }
}

fn writes(action: &Action, file: &str) -> bool {
    matches!(action, Action::File(FileAction::Write { path, .. }) if path == file)
}

fn describe(entry: &Entry, path: &str) -> String {
    match entry {
        Entry::Absent => format!("{path} is missing"),
        _ => format!("{path} is not as wanted"),
    }
}
