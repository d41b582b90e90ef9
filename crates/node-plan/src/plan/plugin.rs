//! How a policy plugin comes to its work, and what it leaves: kubelet is not touched by any of it.

use extension_config::names::node;

use crate::backend::PluginSpec;
use crate::budget;
use crate::journal::{Applied, Change, Phase};
use crate::managed_file::Source;
use crate::observed::Observed;
use crate::plan::planner::Planner;
use crate::step::{Action, Check, FileAction, Proof, Step};

/// How much longer than containerd may wait for an answer a plugin must live on after its registration, seconds.
const SETTLE_SECONDS: u64 = 10;

impl Planner<'_> {
    /// Whether the policy is about to be started with other inputs than it was started with last, for the first time too. What goes on with what was
    /// begun, or heals, is none of that.
    pub(super) fn changes_the_policy(&self) -> bool {
        match &self.journal.applied {
            None => true,
            Some(applied) => !applied.inputs.is_empty() && applied.inputs != self.installation.inputs(),
        }
    }
}

/// Before anything that the running policy would be started with changes: the wanted one is tried out. A program that is not in its place yet is
/// put beside it, because what stands in its place is started again by systemd whenever it ends.
pub(super) fn before_start(planner: &mut Planner<'_>, plugin: &PluginSpec) {
    let has = |path: &str| planner.observed.entry(path).has_content(&plugin.binary.sha256);
    let program = if has(node::PLUGIN) { node::PLUGIN } else { node::TRIED_PLUGIN };
    if program == node::TRIED_PLUGIN && !has(node::TRIED_PLUGIN) {
        for path in planner.footprint.directories {
            planner.make_directory(path);
        }
        let source = if plugin.binary_is_kept { Source::Host(node::KEPT_PLUGIN) } else { Source::Policy(plugin.kind) };
        let sha256 = plugin.binary.sha256.clone();
        let action = FileAction::Write { path: program.into(), mode: 0o755, source, sha256 };
        planner.steps.push(Step::new(action, "the policy's program is tried out before it runs"));
    }
    let check = Check::DryRun { program, document: plugin.document.clone() };
    planner.steps.push(Step::new(check, "a policy that does not start must not take the place of what runs"));
}

/// What proves that a start of it went well.
pub(super) fn registered(plugin: &PluginSpec) -> Proof {
    Proof::PluginRegistered { settle_seconds: plugin.request_timeout_seconds.saturating_add(SETTLE_SECONDS) }
}

/// When it has registered: containers are where it has them.
pub(super) fn after_start(planner: &mut Planner<'_>) {
    if !planner.leave_daemon && planner.journal.phase != Phase::Installed {
        planner.steps.push(
            Step::new(Proof::PinsEffective, "a policy that runs proves nothing: containerd goes on without a slow one")
                .after(Change::Proven(planner.installation.backend.to_remember()))
                .after(Change::Phase(Phase::Installed)),
        );
    }
}

/// Why a policy that runs with the right inputs has to be started anew; it places all containers at each start.
pub(super) fn why_again(observed: &Observed) -> Option<String> {
    let misses = observed.plugin.misses.as_ref().filter(|misses| !misses.is_none())?;
    Some(misses.to_string())
}

/// Whether a policy that has to be started anew once more may be; else what makes it necessary is a failure.
pub(super) fn may_start_again(planner: &Planner<'_>) -> bool {
    budget::may_heal_again(&planner.journal, planner.observed.now)
}

/// After the policy has stopped, which would assert its pins: they are taken away.
pub(super) fn after_stop(observed: &Observed, applied: Option<&Applied>, has_trace: bool, steps: &mut Vec<Step>) {
    let was_started = applied.is_some() || (observed.is_forgotten() && has_trace);
    if was_started {
        steps.push(Step::new(Action::ResetPins, "a policy that is taken away leaves its pins behind"));
    }
}
