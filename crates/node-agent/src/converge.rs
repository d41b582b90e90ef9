//! Observe, plan, execute, until nothing is left to do.

use std::time::Duration;

use node_plan::{
    Action, Backend, Change, Desired, Hold, Installation, Journal, Observed, PacedChange, Plan, Proof, Slot, Step,
    Target, budget, plan,
};
use observability::ErrorChain;
use tracing::Instrument;

use crate::effects::{EffectError, Effects, Result, SwitchPermit, SwitchRequest};
use crate::events::Done;
use crate::execute::{execute, record};
use crate::inputs::Goal;
use crate::observe::observe;
use crate::prove::Timing;

/// A node that others change as fast as we do must not be fought over: after so many rounds the next check is left to the caller. A change of backend that
/// fails at its end takes eight.
const ROUNDS: usize = 10;

/// Time until the next round on a node that is being updated in place.
const LOOK_FOR_UPDATE: Duration = Duration::from_secs(15);

/// What a round of work led to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The backend that the node had when the work began.
    pub(crate) had: Option<Backend>,
    /// What was seen last.
    pub(crate) observed: Observed,
    /// What is still to do; settled when the node is as desired.
    pub(crate) plan: Plan,
    /// When to ask for a slot again, where one was asked for.
    pub(crate) ask_again: Option<Duration>,
    /// There was something to do, and it was begun.
    pub(crate) worked: bool,
}

/// Works until the node is as desired or something is in the way. `done`: what is done, also where it ends with an error.
pub(crate) async fn converge(
    effects: &mut impl Effects,
    timing: &Timing,
    inputs: &impl Goal,
    done: &mut Done,
) -> Result<Outcome> {
    let (mut locked, mut worked) = (false, false);
    let mut had = None;
    for _ in 0..ROUNDS {
        let mut observed = observe(effects).await?;
        had = had.or_else(|| observed.journal.as_ref().and_then(Journal::backend));
        let desired = inputs.desired(observed.journal.as_ref());
        effects.decided(&desired, observed.journal.as_ref());
        let mut planned = plan(&observed, &desired);
        let mut ask_again = None;
        // All else comes first, so that a slot is held no longer than the switch takes.
        if planned.steps.is_empty() && planned.awaits_slot {
            if let Some(wait) = inputs.update_in_place() {
                ask_again = Some(LOOK_FOR_UPDATE);
                observed.slot = Slot::Waiting(wait);
            } else {
                let permit = ask(effects, &mut observed.journal, inputs, &desired, &planned).await?;
                ask_again = Some(permit.again_in);
                observed.slot = permit.slot;
            }
            planned = plan(&observed, &desired);
        }
        if planned.steps.is_empty() {
            if locked {
                give_back(effects, &mut observed.journal, inputs, &desired).await?;
            }
            if observed.journal.is_none() {
                effects.unlock();
            }
            return Ok(Outcome { had, observed, plan: planned, ask_again, worked });
        }
        if !locked {
            // What was seen without the lock may be another agent's unfinished work.
            effects.lock()?;
            locked = true;
            continue;
        }
        worked = true;
        effects.begin(&planned);
        let mut journal = observed.journal.clone();
        if let Err((step, error)) = run(effects, timing, inputs, (&mut journal, done), &planned.steps).await {
            let leads_on = matches!(planned.target, Target::Installed | Target::Before);
            if !leads_on || !error.is_proof() {
                return Err(error);
            }
            observed.journal.clone_from(&journal);
            go_back(effects, observed, &desired, planned.target, &step, &error)?;
        }
    }
    let observed = observe(effects).await?;
    let desired = inputs.desired(observed.journal.as_ref());
    effects.decided(&desired, observed.journal.as_ref());
    let mut planned = plan(&observed, &desired);
    if let Some(step) = planned.steps.first() {
        let hold = Hold::Unsettled { action: Box::new(step.action.clone()), evidence: step.evidence.clone() };
        planned.holds.push(hold);
    }
    Ok(Outcome { had, observed, plan: planned, ask_again: None, worked })
}

async fn run(
    effects: &mut impl Effects,
    timing: &Timing,
    inputs: &impl Goal,
    (journal, done): (&mut Option<Journal>, &mut Done),
    steps: &[Step],
) -> std::result::Result<(), (Action, EffectError)> {
    for step in steps {
        // A line shows the innermost span alone, so this one repeats what the round's says.
        let span = tracing::info_span!("step", node = inputs.node(), desired = inputs.hash(), action = %step.action);
        let outcome = async {
            effects.pause(Duration::ZERO).await?;
            tracing::info!(step = %step.action, because = %step.evidence, "began step");
            execute(effects, timing, journal, step).await
        };
        if let Err(error) = outcome.instrument(span).await {
            effects.failed(step, &error);
            return Err((step.action.clone(), error));
        }
        done.add(step);
    }
    Ok(())
}

/// Asks for the node's slot. The same request records a failure in the shoot that is not recorded there yet.
async fn ask(
    effects: &mut impl Effects,
    journal: &mut Option<Journal>,
    inputs: &impl Goal,
    desired: &Desired,
    planned: &Plan,
) -> Result<SwitchPermit> {
    // Half of a handover would be worse than the whole.
    let finishes = planned.holds.iter().any(|hold| matches!(hold, Hold::Slot { change: PacedChange::LeaveProxy, .. }));
    let request = SwitchRequest { finishes, ..request(journal.as_ref(), inputs, desired) };
    let permit = effects.take_slot(&request).await;
    if permit.reported && request.failed_at.is_some() {
        effects.lock()?;
        record(effects, journal, &[Change::FailureReported])?;
    }
    Ok(permit)
}

/// Returns the slot, so that other nodes may switch: the work is done, or cannot go on.
async fn give_back(
    effects: &mut impl Effects,
    journal: &mut Option<Journal>,
    inputs: &impl Goal,
    desired: &Desired,
) -> Result<()> {
    let request = request(journal.as_ref(), inputs, desired);
    if effects.give_back_slot(&request).await && request.failed_at.is_some() {
        record(effects, journal, &[Change::FailureReported])?;
    }
    Ok(())
}

fn request(journal: Option<&Journal>, inputs: &impl Goal, desired: &Desired) -> SwitchRequest {
    let attempt = match desired {
        Desired::Installed(installation) => installation.attempt(),
        Desired::Clean { .. } | Desired::Undecided { .. } => String::new(),
    };
    let failure = journal.and_then(|journal| journal.backoff.as_ref());
    let unreported = failure.filter(|failure| !failure.reported && failure.inputs == attempt);
    let failed_at = unreported.map(|failure| failure.failed_at);
    SwitchRequest { desired: inputs.hash().to_owned(), failed_at, attempt, finishes: false }
}

/// A failed proof goes into the journal, with the back-off that makes the next plan lead back: to what ran well before, or, when that fails
/// as well or there was nothing, to the bytes before the installation.
fn go_back(
    effects: &mut impl Effects,
    observed: Observed,
    desired: &Desired,
    target: Target,
    step: &Action,
    error: &EffectError,
) -> Result<()> {
    let Desired::Installed(installation) = desired else { return Ok(()) };
    let reason = format!("{step}: {}{}", ErrorChain(error), hint(step, installation));
    tracing::error!(%reason, "began rollback");
    effects.rolled_back(installation.backend.backend());
    let last = observed.journal.as_ref().and_then(|journal| journal.backoff.clone());
    // A node that runs as before loses its runtime for as long as another try fails, so that is tried rarely.
    let runs_on = target == Target::Installed && installation.before(&observed).is_some();
    let shortest = if runs_on { budget::LONGEST_DELAY_SECONDS } else { 0 };
    let mut backoff = budget::after_failure(last.as_ref(), &installation.attempt(), reason, effects.now(), shortest);
    // What others wrote into this node's unit says nothing about other nodes, and must not stop them.
    backoff.reported = matches!(step, Action::Prove(Proof::Override { .. }));
    let mut changes = vec![Change::Failed(backoff)];
    if let Some(before) = installation.before(&observed).filter(|_| target == Target::Before) {
        changes.push(Change::NothingProven.of(before.backend.backend()));
    }
    let mut journal = observed.journal;
    record(effects, &mut journal, &changes)
}

/// What a loader says on the host the agent cannot read there.
fn hint(step: &Action, installation: &Installation) -> String {
    match (&installation.backend.binary().needs, step) {
        (Some(version), Action::Prove(Proof::DaemonAnswers)) => {
            format!(" (this cri-resmgr needs {version} or newer on the node)")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
