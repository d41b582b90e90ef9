//! No policy refuses pods of kube-system.
//!
//! The balloons policy looks through its types in their order, `reserved` first when it is not listed; `reserved` always takes kube-system.
//! A container that finds no room in the type that takes it is refused. Room is sure only for what a type owns from the start, and is
//! without end only where there is no `maxCPUs`.

use crate::cpus::Cpus;
use crate::finding::{CheckOutcome, Place, quoted};
use crate::risk::Risk;
use crate::rules::expressions::{may_take_system_pods, takes_system_pods};
use crate::rules::reserved::ReservedType;
use crate::rules::resources::Resources;
use crate::rules::{RESERVED, classes};
use crate::typed::{BalloonType, Spec};

pub(super) fn check(spec: &Spec, resources: &Resources, reserved: &ReservedType, outcome: &mut CheckOutcome) {
    let spec_place = Place::Spec;
    let types = spec_place.key("balloonTypes");
    let listed = spec.balloon_types.iter().position(|balloon| balloon.name == RESERVED);
    for (index, balloon) in spec.balloon_types.iter().enumerate().take(listed.unwrap_or(0)) {
        let by_namespace = takes_system_pods(&balloon.namespaces);
        if by_namespace || balloon.match_expressions.iter().any(may_take_system_pods) {
            check_other(balloon, &types.item(index), spec, outcome);
        }
        if by_namespace {
            // It takes all of them; none comes to a later type.
            return;
        }
    }
    match listed {
        Some(index) => {
            let place = types.item(index);
            let balloon = &spec.balloon_types[index];
            if balloon.max_cpus > 0 {
                let message = format!("is {}: further system pods are refused when it is reached", balloon.max_cpus);
                outcome.risk(Risk::ReservedMayFill, place.key("maxCPUs"), message);
            }
            check_both(balloon, &place, spec, outcome);
            check_held(resources, reserved, &place.key("minCPUs"), outcome);
        }
        None => check_held(resources, reserved, &types, outcome),
    }
}

/// A listed type `reserved`, or the implicit one.
fn check_held(resources: &Resources, reserved: &ReservedType, place: &Place<'_>, outcome: &mut CheckOutcome) {
    if reserved.min_cpus > 0 {
        return;
    }
    let count = match &resources.reserved {
        Cpus::Set(set) => set.len().to_string(),
        _ => "N".to_owned(),
    };
    let message = format!(
        "the type reserved owns no CPU from the start, other balloons may take those of reservedResources, and then all \
         system pods are refused, allowed: a type named reserved with minCPUs: {count}"
    );
    outcome.risk(Risk::ReservedNotHeld, place, message);
}

/// Another type, before `reserved`.
fn check_other(balloon: &BalloonType, place: &Place<'_>, spec: &Spec, outcome: &mut CheckOutcome) {
    let name = quoted(&balloon.name);
    if balloon.max_cpus > 0 {
        let message = format!(
            "is {}: the type {name} stands before reserved and may take system pods, which are refused when it is reached",
            balloon.max_cpus
        );
        outcome.risk(Risk::SystemPodsMayFill, place.key("maxCPUs"), message);
    }
    if balloon.min_balloons == 0 || balloon.min_cpus == 0 {
        let message = format!(
            "the type {name} stands before reserved and may take system pods, and owns no CPU from the start: they are \
             refused when other balloons have taken all, allowed: minBalloons and minCPUs of at least 1, or reserved first"
        );
        outcome.risk(Risk::SystemPodsNotHeld, place, message);
    }
    check_both(balloon, place, spec, outcome);
}

fn check_both(balloon: &BalloonType, place: &Place<'_>, spec: &Spec, outcome: &mut CheckOutcome) {
    if !balloon.components.is_empty() {
        let message = "system pods come into a composite balloon, whose room depends on all of its components";
        outcome.risk(Risk::SystemPodsInComposite, place.key("components"), message);
    }
    if classes::is_real_time(spec, &balloon.scheduling_class) {
        let message = format!("is {}: {REAL_TIME}", quoted(&balloon.scheduling_class));
        outcome.risk(Risk::SystemPodsRealTime, place.key("schedulingClass"), message);
    }
}

/// What is wrong with a real-time class for system pods.
const REAL_TIME: &str =
    "system pods would get a real-time scheduling policy, and are refused where runtime or kernel cannot give it";

/// The topology-aware policy refuses no system pod for want of CPUs: what does not fit into the reserved ones runs on the shared ones
/// (AllocateCPU in cmd/plugins/topology-aware/policy/resources.go @ v0.14.0).
pub(super) fn check_for_topology_aware(spec: &Spec, outcome: &mut CheckOutcome) {
    let of_namespace = spec.namespace_scheduling_classes.get("kube-system");
    if let Some(class) = of_namespace.filter(|class| classes::is_real_time(spec, class)) {
        let message = format!("is {}: {REAL_TIME}", quoted(class));
        outcome.risk(Risk::SystemPodsRealTime, "spec.namespaceSchedulingClasses.kube-system", message);
    }
    if of_namespace.is_some() {
        // It goes before the class by quality of service.
        return;
    }
    let spec_place = Place::Spec;
    let place = spec_place.key("podQoSSchedulingClasses");
    for (qos, class) in spec.pod_qos_scheduling_classes.iter().filter(|(_, class)| classes::is_real_time(spec, class)) {
        let message = format!("is {}: {REAL_TIME}", quoted(class));
        outcome.risk(Risk::SystemPodsRealTime, place.key(qos), message);
    }
}
