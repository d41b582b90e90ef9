//! The balloon type `reserved`, which owns CPUs for system pods: fillBuiltinBalloonDefs in cmd/plugins/balloons/policy/balloons-policy.go
//! @ v0.14.0.

use crate::cpus::Cpus;
use crate::finding::{CheckOutcome, Place};
use crate::rules::RESERVED;
use crate::rules::resources::Resources;
use crate::typed::Spec;

/// The type `reserved` as the binary completes it.
#[derive(Debug)]
pub(super) struct ReservedType {
    /// CPUs that it owns from the start.
    pub(super) min_cpus: u64,
}

/// Completes the type `reserved`; `None` when it and `reservedResources` contradict each other.
pub(super) fn complete(
    spec: &Spec,
    resources: &Resources,
    list: &Place<'_>,
    outcome: &mut CheckOutcome,
) -> Option<ReservedType> {
    let listed = spec.balloon_types.iter().enumerate().find(|(_, balloon)| balloon.name == RESERVED);
    let (min, max) = listed.map_or((0, 0), |(_, balloon)| (balloon.min_cpus, balloon.max_cpus));
    let Cpus::Count(milli) = &resources.reserved else {
        // Of a cpuset, without `maxCPUs`, it takes none.
        let of_set = match resources.reserved {
            Cpus::AllBut(_) if resources.most_available().is_none() => max,
            _ => resources.least_reserved().min(max),
        };
        return Some(ReservedType { min_cpus: if min == 0 { of_set } else { min } });
    };
    let count = milli.div_ceil(1000);
    let Some((index, _)) = listed else { return Some(ReservedType { min_cpus: count }) };
    let place = list.item(index);
    if min != 0 && min != count {
        let message = format!("is {min}, allowed: {count}, as reservedResources rounded up, or no such key");
        outcome.fault(place.key("minCPUs"), message);
        return None;
    }
    if max != 0 && max < count {
        outcome.fault(place.key("maxCPUs"), format!("is {max}, allowed: at least {count}, as reservedResources"));
        return None;
    }
    Some(ReservedType { min_cpus: count })
}
