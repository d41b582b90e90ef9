//! The agent's view of a node in memory ([`node_plan::testing`]).

use extension_config::names::node;
use node_plan::UnitAction;
use node_plan::testing::NodeState;

use crate::effects::{EffectError, Result, UnitView};

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
