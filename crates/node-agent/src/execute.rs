//! Carrying out one step: the journal first, then the effect.

use extension_config::names::node;
use node_plan::{Action, Change, Journal, Step};

use crate::effects::{EffectError, Effects, Result};
use crate::prove::{self, Timing};

/// Carries out a step. The journal is written only where the step changes it.
pub(crate) async fn execute(
    effects: &impl Effects,
    timing: &Timing,
    journal: &mut Option<Journal>,
    step: &Step,
) -> Result<()> {
    record(effects, journal, &step.before)?;
    act(effects, timing, &step.action).await?;
    if step.action == Action::Forget {
        *journal = None;
    }
    record(effects, journal, &step.after)?;
    effects.done(&step.action);
    Ok(())
}

/// Writes changes into the journal.
pub(crate) fn record(effects: &impl Effects, journal: &mut Option<Journal>, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut next = journal.clone().unwrap_or_default();
    for change in changes {
        next.apply(change);
    }
    if journal.as_ref() != Some(&next) {
        effects.write_journal(&next)?;
        *journal = Some(next);
    }
    Ok(())
}

async fn act(effects: &impl Effects, timing: &Timing, action: &Action) -> Result<()> {
    match action {
        Action::Record => Ok(()),
        Action::MakeDirectory { .. }
        | Action::WriteFile { .. }
        | Action::MakeLink { .. }
        | Action::RemoveFile { .. }
        | Action::RemoveDirectory { .. }
        | Action::RemoveTree { .. }
        | Action::Rename { .. } => effects.apply(action),
        Action::Reload => effects.reload().await,
        Action::Start { unit } => {
            effects.reset_failed(unit).await?;
            effects.start(unit).await
        }
        Action::Stop { unit } => effects.stop(unit).await,
        Action::Restart { unit } if unit == node::DAEMON_UNIT => restart_and_let_the_proof_decide(effects, unit).await,
        Action::Restart { unit } => {
            effects.reset_failed(unit).await?;
            effects.restart(unit).await
        }
        Action::ResetFailed { unit } => effects.reset_failed(unit).await,
        Action::RestartKubelet { .. } => restart_and_let_the_proof_decide(effects, node::KUBELET_UNIT).await,
        Action::ProveDaemon => prove::daemon(effects, timing).await,
        Action::ProveOverride { loaded } => prove::override_loaded(effects, *loaded).await,
        Action::ProveKubelet { endpoint } => prove::kubelet(effects, timing, *endpoint).await,
        Action::ProveClean => prove::clean(effects).await,
        Action::Forget => effects.forget(),
    }
}

/// A job that failed says little about a unit with `Restart=always`: systemd tries again, and the proof that follows sees how it ends.
async fn restart_and_let_the_proof_decide(effects: &impl Effects, unit: &str) -> Result<()> {
    effects.reset_failed(unit).await?;
    match effects.restart(unit).await {
        Err(EffectError::Job { what, result }) => {
            tracing::warn!(%what, %result, "the job did not end well");
            Ok(())
        }
        other => other,
    }
}
