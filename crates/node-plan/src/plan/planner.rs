//! A plan in the making, and what every part of it does.

use crate::desired::Installation;
use crate::entry::Entry;
use crate::footprint::Footprint;
use crate::hold::Hold;
use crate::journal::{Change, Journal};
use crate::kind::Backend;
use crate::managed_file::{FileRole, ManagedFile};
use crate::observed::{Observed, Unit};
use crate::step::{Action, FileAction, Step, UnitAction};

/// Whether something new is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To what is wanted.
    Onward,
    /// Back to what was proven: it was tried out when it came.
    Back,
}

/// The plan as far as it is made. A backend's own part adds to it.
pub(super) struct Planner<'a> {
    pub(super) observed: &'a Observed,
    pub(super) installation: &'a Installation,
    pub(super) backend: Backend,
    pub(super) footprint: &'static Footprint,
    pub(super) files: Vec<ManagedFile>,
    /// As the steps so far make it.
    pub(super) journal: Journal,
    pub(super) steps: Vec<Step>,
    pub(super) holds: Vec<Hold>,
    pub(super) retry_at: Option<u64>,
    /// Unit files are written, or were, and systemd has not read them.
    pub(super) reload: bool,
    /// The daemon has to be started anew.
    pub(super) restart_daemon: Option<&'static str>,
    /// The daemon and its files stay as they are until a slot is held.
    pub(super) leave_daemon: bool,
    pub(super) way: Way,
    pub(super) awaits_slot: bool,
}

impl Planner<'_> {
    pub(super) fn make_directory(&mut self, path: &str) {
        let action = Action::from(FileAction::MakeDirectory { path: path.into() });
        if self.observed.entry(path).is_absent() && !self.steps.iter().any(|step| step.action == action) {
            self.steps.push(Step::new(action, format!("{path} is missing")));
        }
    }

    /// Whether the file was not as wanted.
    pub(super) fn place(&mut self, file: &ManagedFile) -> bool {
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

    pub(super) fn reload(&mut self, why: &str) {
        let is_unread = |unit: &Unit| unit.load_state == "not-found";
        // One that waits for its slot has no file yet.
        let is_early = self.leave_daemon && self.observed.entry(self.footprint.service.file).is_absent();
        let unread = (is_unread(&self.observed.daemon) && !is_early) || is_unread(&self.observed.timer);
        if self.reload || unread {
            self.steps.push(Step::new(UnitAction::Reload, why).after(Change::ReloadPending(false)));
            self.reload = false;
        }
    }
}

pub(super) fn describe(entry: &Entry, path: &str) -> String {
    match entry {
        Entry::Absent => format!("{path} is missing"),
        _ => format!("{path} is not as wanted"),
    }
}
