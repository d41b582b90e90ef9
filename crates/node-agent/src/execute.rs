//! Carrying out one step: the journal first, then the effect.

use extension_config::names::node;
use node_plan::{Action, Change, Check, Journal, JournalAction, Step, UnitAction};

use crate::effects::{EffectError, Effects, Result};
use crate::prove::{self, Timing};

/// Carries out a step. The journal is written only where the step changes it.
pub(crate) async fn execute(
    effects: &mut impl Effects,
    timing: &Timing,
    journal: &mut Option<Journal>,
    step: &Step,
) -> Result<()> {
    record(effects, journal, &step.before)?;
    act(effects, timing, &step.action).await?;
    if step.action == Action::Journal(JournalAction::Forget) {
        *journal = None;
    }
    record(effects, journal, &step.after)?;
    log_restart(&step.action);
    effects.done(step);
    Ok(())
}

/// Restarts are what operators look for; other steps are logged when they begin.
fn log_restart(action: &Action) {
    match action {
        Action::RestartKubelet { cause } => tracing::info!(because = cause.as_str(), "restarted kubelet"),
        Action::Unit(UnitAction::Restart { unit }) if unit == node::DAEMON_UNIT => {
            tracing::info!("restarted cri-resmgr");
        }
        Action::Unit(UnitAction::Restart { unit }) if unit == node::PLUGIN_UNIT => {
            tracing::info!("restarted the policy plugin");
        }
        Action::File(_)
        | Action::Unit(_)
        | Action::ResetPins
        | Action::Check(_)
        | Action::Prove(_)
        | Action::Journal(_) => {}
    }
}

/// Writes changes into the journal.
pub(crate) fn record(effects: &mut impl Effects, journal: &mut Option<Journal>, changes: &[Change]) -> Result<()> {
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

async fn act(effects: &mut impl Effects, timing: &Timing, action: &Action) -> Result<()> {
    match action {
        Action::File(action) => effects.change(action),
        Action::Unit(action) => change_unit(effects, action).await,
        Action::RestartKubelet { .. } => restart_and_let_the_proof_decide(effects, node::KUBELET_UNIT).await,
        Action::ResetPins => {
            let containers = effects.reset_pins().await?;
            tracing::info!(containers, "reset what a policy gave to containers");
            Ok(())
        }
        Action::Check(Check::DryRun { program, document }) => effects.try_out(program, document).await,
        Action::Prove(proof) => prove::prove(effects, timing, *proof).await,
        Action::Journal(JournalAction::Record) => Ok(()),
        Action::Journal(JournalAction::Forget) => effects.forget(),
    }
}

async fn change_unit(effects: &mut impl Effects, action: &UnitAction) -> Result<()> {
    match action {
        UnitAction::Reload => effects.reload().await,
        UnitAction::Start { unit } => {
            effects.reset_failed(unit).await?;
            effects.start(unit).await
        }
        UnitAction::Stop { unit } => effects.stop(unit).await,
        UnitAction::Restart { unit } if unit == node::DAEMON_UNIT || unit == node::PLUGIN_UNIT => {
            restart_and_let_the_proof_decide(effects, unit).await
        }
        UnitAction::Restart { unit } => {
            effects.reset_failed(unit).await?;
            effects.restart(unit).await
        }
        UnitAction::ResetFailed { unit } => effects.reset_failed(unit).await,
    }
}

/// A job that failed says little about a unit with `Restart=always`: systemd tries again, and the proof that follows sees how it ends.
async fn restart_and_let_the_proof_decide(effects: &mut impl Effects, unit: &str) -> Result<()> {
    effects.reset_failed(unit).await?;
    match effects.restart(unit).await {
        Err(EffectError::Job { what, result }) => {
            tracing::warn!(%what, %result, "systemd job failed");
            Ok(())
        }
        other => other,
    }
}
