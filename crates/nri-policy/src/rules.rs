//! Rules about several keys at once, and what only the binaries know. Each key by itself is right when they are checked.

mod balloon_types;
mod classes;
mod composites;
mod expressions;
mod host;
mod reserved;
mod resources;
mod system_pods;

use serde::Deserialize as _;
use serde_json::Value;

use crate::Kind;
use crate::finding::{CheckOutcome, Place};
use crate::typed::Spec;
use resources::Resources;

/// The type for the pods of kube-system and of `reservedPoolNamespaces`.
const RESERVED: &str = "reserved";
/// The type for what no other type takes.
const DEFAULT: &str = "default";

/// What a node must have.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) least_cpus: u64,
    pub(crate) needs_resctrl: bool,
}

/// Looks at all rules.
pub(crate) fn check(kind: Kind, spec: &Value, outcome: &mut CheckOutcome) -> Facts {
    let spec = match Spec::deserialize(spec) {
        Ok(spec) => spec,
        // The schema and the types differ: `every_key_of_the_schema_has_its_type` would have reported.
        Err(error) => {
            outcome.fault(Place::Spec, format!("cannot be read: {error}"));
            return Facts::default();
        }
    };
    host::check(&spec, outcome);
    let resources = Resources::check(&spec, outcome);
    let needs_resctrl = spec.control.rdt.enable;
    let least_cpus = match kind {
        Kind::BalloonsPolicy => {
            classes::check_for_balloons(&spec, outcome);
            expressions::check_preserve(&spec, outcome);
            balloon_types::check(&spec, resources.as_ref(), outcome)
        }
        Kind::TopologyAwarePolicy => {
            classes::check_for_topology_aware(&spec, outcome);
            system_pods::check_for_topology_aware(&spec, outcome);
            resources.map_or(0, |resources| resources.least_reserved() + 1)
        }
    };
    Facts { least_cpus, needs_resctrl }
}
