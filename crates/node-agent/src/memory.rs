//! The agent's view of a node in memory ([`node_plan::testing`]).

use extension_config::names::node;
use node_plan::testing::NodeState;
use node_plan::{Action, Check, UnitAction};

use crate::effects::{EffectError, Registration, Result, UnitView};
use crate::proof_failure::ProofFailure;

/// A unit, with what only kubelet's is asked for.
pub(crate) fn unit(state: &NodeState, name: &str) -> UnitView {
    let unit = state.unit(name);
    if name != node::KUBELET_UNIT {
        return UnitView { unit, ..UnitView::default() };
    }
    let (exec_start_pre, environment_files) = state.kubelet_override();
    UnitView {
        unit,
        exec_start: state.kubelet_exec_start(),
        exec_start_pre,
        environment_files,
        command_line: state.kubelet_command_line(),
    }
}

/// Carries out a change of units.
pub(crate) fn change_units(state: &mut NodeState, action: &UnitAction) -> Result<()> {
    if state.change_units(action) {
        Ok(())
    } else {
        Err(EffectError::Job { what: action.to_string(), result: "failed".to_owned() })
    }
}

/// What the policy plugin's pid file says.
pub(crate) fn registration(state: &NodeState) -> Option<Registration> {
    // One process for each unit is all that the model has.
    state.plugin_registered().then(|| Registration { pid: state.unit(node::PLUGIN_UNIT).main_pid, at: state.now })
}

/// Gives containers what they would have without a policy.
pub(crate) fn reset_pins(state: &mut NodeState) -> Result<usize> {
    let count = usize::from(state.pinned);
    let what = "reset of pins".to_owned();
    if state.act(&Action::ResetPins) { Ok(count) } else { Err(EffectError::Job { what, result: "failed".to_owned() }) }
}

/// Tries out a policy.
pub(crate) fn try_out(state: &mut NodeState, program: &str, document: &str) -> Result<()> {
    // Plans name none but these.
    let program = if program == node::PLUGIN { node::PLUGIN } else { node::TRIED_PLUGIN };
    let check = Check::DryRun { program, document: document.to_owned() };
    let reason = || "its program ended with 1: it is bad".to_owned();
    if state.act(&check.into()) { Ok(()) } else { Err(ProofFailure::PolicyRefused { reason: reason() }.into()) }
}
