//! Steps to an installed node, in this order: kubelet is not touched before the proxy has proven itself.

use std::collections::BTreeSet;

use crate::backend::BackendSpec;
use crate::budget;
use crate::desired::Installation;
use crate::footprint::Service;
use crate::hold::{Hold, PacedChange};
use crate::journal::{Applied, Change, Made, Phase};
use crate::kind::Backend;
use crate::managed_file::{FileRole, Source};
use crate::observed::Observed;
use crate::plan::planner::{Planner, Way, describe};
use crate::plan::{Plan, Target, plugin, proxy};
use crate::slot::Slot;
use crate::step::{Action, FileAction, JournalAction, Proof, Step, UnitAction};

/// To what was proven before.
pub(super) fn plan_proven(observed: &Observed, proven: &Installation) -> Plan {
    plan_way(observed, proven, Way::Back)
}

/// The same after a failure, which waits for nobody.
pub(super) fn plan_back(observed: &Observed, proven: &Installation) -> Plan {
    plan_proven(&Observed { slot: Slot::Held, ..observed.clone() }, proven)
}

pub(super) fn plan(observed: &Observed, installation: &Installation) -> Plan {
    plan_way(observed, installation, Way::Onward)
}

fn plan_way(observed: &Observed, installation: &Installation, way: Way) -> Plan {
    let backend = installation.backend.backend();
    let observed = &observed.of(backend);
    let journal = observed.journal.clone().unwrap_or_default();
    let mut planner = Planner {
        observed,
        installation,
        backend,
        footprint: backend.footprint(),
        files: installation.files(),
        reload: journal.reload_pending,
        journal,
        steps: Vec::new(),
        holds: Vec::new(),
        retry_at: None,
        restart_daemon: None,
        leave_daemon: false,
        way,
        awaits_slot: false,
    };
    if observed.containerd_answers {
        planner.all();
    } else {
        planner.holds.push(Hold::ContainerdSilent);
    }
    Plan {
        target: Target::Installed,
        steps: planner.steps.into_iter().map(|step| step.of(backend)).collect(),
        holds: planner.holds,
        retry_at: planner.retry_at,
        awaits_slot: planner.awaits_slot,
    }
}

impl Planner<'_> {
    fn all(&mut self) {
        self.begin();
        let installation = self.installation;
        match &installation.backend {
            BackendSpec::Proxy(_) => {
                self.leave_daemon = self.changes_in_use() && !self.may_begin(PacedChange::NewInputs);
            }
            BackendSpec::Plugin(plugin) => {
                let changes = self.changes_the_policy();
                self.leave_daemon = changes && !self.may_begin(PacedChange::Policy);
                if changes && !self.leave_daemon && self.way == Way::Onward {
                    plugin::before_start(self, plugin);
                }
            }
        }
        if !self.leave_daemon {
            self.clear_daemon_state();
        }
        self.place_files();
        self.reload("unit files changed");
        if !self.leave_daemon {
            self.start_daemon();
        }
        self.start_guard();
        match &self.installation.backend {
            BackendSpec::Proxy(_) => proxy::after_start(self),
            BackendSpec::Plugin(_) => plugin::after_start(self),
        }
    }

    /// The intent goes into the journal before the first effect.
    fn begin(&mut self) {
        let wanted: BTreeSet<String> = self
            .files
            .iter()
            .map(|file| file.path)
            .chain(self.footprint.links.iter().map(|(path, _)| *path))
            .filter(|path| !self.journal.made.files.contains(*path))
            .map(str::to_owned)
            .collect();
        let directories: BTreeSet<String> = self
            .footprint
            .all_directories()
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
        if self.observed.is_forgotten() && self.footprint.own_trace(self.observed) {
            // The journal was lost, the installation was not: its daemon is started anew, but keeps its state.
            let applied = Applied::unknown(self.installation.backend.policy());
            self.journal.applied = Some(applied.clone());
            step = step.before(Change::DaemonStarts(applied));
        }
        self.steps.push(step);
    }

    /// What stands at the daemon's places and is not our daemon's waits under another name for our removal: deleting it is not ours to decide.
    fn move_aside(&mut self) {
        for &place in self.footprint.own_trees {
            let (path, aside) = place;
            let step = if self.footprint.is_foreign_state(self.observed, place) {
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
        let policy = self.installation.backend.policy();
        let (why, paths) = match &self.journal.applied {
            None => (
                "first start: nothing of an earlier installation may be left",
                self.footprint.own_trees.iter().map(|(path, _)| *path).collect(),
            ),
            Some(applied) if applied.policy != policy => ("the policy changes", vec![self.footprint.cache]),
            Some(_) if !self.journal.made.put_back.is_empty() => ("what was there before us was put back", Vec::new()),
            Some(_) => return,
        };
        if self.observed.daemon.is_up() {
            self.steps.push(Step::new(UnitAction::Stop { unit: self.footprint.service.unit.into() }, why));
        }
        self.move_aside();
        for path in paths {
            let is_foreign = |place: &(&str, &str)| self.footprint.is_foreign_state(self.observed, *place);
            let moved = self.footprint.own_trees.iter().any(|place| place.0 == path && is_foreign(place));
            if !moved && !self.observed.entry(path).is_absent() {
                let action = if path == self.footprint.cache {
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
        for path in self.footprint.directories {
            self.make_directory(path);
        }
        for file in self.files.clone() {
            let stays = self.leave_daemon && matches!(file.role, FileRole::Daemon | FileRole::DaemonUnit);
            if file.path == self.footprint.service.binary && !stays {
                self.keep_daemon();
            }
            if file.role != FileRole::Override && !stays {
                self.place(&file);
            }
        }
        let mut wanted: Vec<&str> = self.files.iter().map(|file| file.path).collect();
        if self.proven_daemon().is_some() {
            wanted.push(self.footprint.service.kept_binary);
        }
        for path in self.footprint.files.iter().filter(|path| !wanted.contains(*path)) {
            if self.footprint.is_ours(self.observed, path) && !self.leave_daemon {
                self.steps.push(Step::new(
                    FileAction::Remove { path: (*path).into() },
                    format!("{path} is no longer wanted"),
                ));
            }
        }
        for &(path, target) in self.footprint.links {
            let entry = self.observed.entry(path);
            // A unit that waits for its slot.
            let is_early = self.leave_daemon && self.observed.entry(target).is_absent();
            if !entry.is_link(target) && !is_early {
                let action = FileAction::MakeLink { path: path.into(), target: target.into() };
                self.steps.push(Step::new(action, describe(entry, path)).before(Change::ReloadPending(true)));
                self.reload = true;
            }
        }
    }

    /// Content of the daemon that was proven, when it is another one than the wanted.
    fn proven_daemon(&self) -> Option<&str> {
        let proven = &self.journal.proven.as_ref()?.binary().sha256;
        (*proven != self.installation.backend.binary().sha256).then_some(proven)
    }

    /// The daemon that works stays at hand until the new one has proven itself.
    fn keep_daemon(&mut self) {
        let Some(proven) = self.proven_daemon().map(str::to_owned) else { return };
        let is_there = |path: &str| self.observed.entry(path).has_content(&proven);
        let Service { binary, kept_binary, .. } = self.footprint.service;
        if is_there(binary) && !is_there(kept_binary) {
            let source = Source::Host(binary);
            let action = FileAction::Write { path: kept_binary.into(), mode: 0o755, source, sha256: proven };
            self.steps.push(Step::new(action, "the new daemon has not proven itself yet"));
        }
    }

    fn start_daemon(&mut self) {
        let unit = &self.observed.daemon;
        let inputs = self.installation.inputs();
        let current = self.journal.applied.as_ref().is_some_and(|applied| {
            applied.inputs == inputs && applied.previous_invocation != unit.invocation && !unit.invocation.is_empty()
        });
        let restart_request = self
            .installation
            .restart_request
            .as_ref()
            .filter(|restart_request| restart_request.invocation == unit.invocation);
        let given_up = current && unit.is_failed() && self.restart_daemon.is_none();
        if given_up && !budget::may_start_again(&self.journal, self.observed.now) {
            // Fails at once, and so leads to what failures lead to.
            self.steps.push(Step::new(self.start_proof(), "systemd has given the daemon up again and again"));
            return;
        }
        let again = match self.backend {
            Backend::Proxy => None,
            Backend::Plugin => plugin::why_again(self.observed).filter(|_| current && unit.is_active()),
        };
        if self.restart_daemon.is_none() && again.is_some() && !plugin::may_start_again(self) {
            self.steps.push(Step::new(Proof::PinsEffective, "the policy was started anew again and again"));
            return;
        }
        let why = self.restart_daemon.or(if !current {
            Some("the daemon was not started with these files")
        } else if !unit.is_active() && !unit.is_activating() {
            Some("the daemon does not run")
        } else if unit.is_active() && !self.observed.proxy_answers {
            Some("the daemon runs but does not answer")
        } else {
            again.as_deref().or(restart_request.map(|restart_request| restart_request.because.as_str()))
        });
        if let Some(why) = why {
            let applied = Applied {
                inputs,
                policy: self.installation.backend.policy(),
                previous_invocation: unit.invocation.clone(),
            };
            let mut step = Step::new(UnitAction::Restart { unit: self.footprint.service.unit.into() }, why)
                .before(Change::DaemonStarts(applied))
                .before(Change::Phase(Phase::Installing));
            if given_up || again.is_some() {
                step = step.before(Change::DaemonGivenUp(self.observed.now));
            }
            self.steps.push(step);
            self.journal.phase = Phase::Installing;
        }
        // A plugin that has registered may be about to be dropped; an agent that has ended has not seen it live on.
        let is_young = self.backend == Backend::Plugin && self.journal.phase != Phase::Installed;
        if why.is_some() || !self.observed.proxy_answers || is_young {
            let evidence = match self.backend {
                Backend::Proxy => "kubelet must not be led onto a dead socket",
                Backend::Plugin => "containerd goes on without a plugin that does not register in time",
            };
            self.steps.push(Step::new(self.start_proof(), evidence));
        }
    }

    /// What proves that a start of the daemon went well.
    fn start_proof(&self) -> Proof {
        match &self.installation.backend {
            BackendSpec::Proxy(_) => Proof::DaemonAnswers,
            BackendSpec::Plugin(plugin) => plugin::registered(plugin),
        }
    }

    fn start_guard(&mut self) {
        let Some(guard) = &self.footprint.guard else { return };
        let rewritten = self.steps.iter().any(|step| writes(&step.action, guard.timer_file));
        let unit = guard.timer.to_owned();
        if !self.observed.timer.is_up() {
            self.steps.push(Step::new(UnitAction::Start { unit: unit.clone() }, "the guard's timer does not run"));
        } else if rewritten {
            self.steps.push(Step::new(UnitAction::Restart { unit }, "the guard's timer was rewritten"));
        }
    }
}

fn writes(action: &Action, file: &str) -> bool {
    matches!(action, Action::File(FileAction::Write { path, .. }) if path == file)
}
