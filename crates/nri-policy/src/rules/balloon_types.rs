//! Balloon types: validateConfig and fillBuiltinBalloonDefs in cmd/plugins/balloons/policy/balloons-policy.go @ v0.14.0.

use crate::finding::{CheckOutcome, Place, quoted};
use crate::rules::resources::Resources;
use crate::rules::{DEFAULT, RESERVED, classes, composites, expressions, host, reserved, system_pods};
use crate::typed::{BalloonType, Spec};

/// Checks the types; the number of CPUs that they need.
pub(super) fn check(spec: &Spec, resources: Option<&Resources>, outcome: &mut CheckOutcome) -> u64 {
    let spec_place = Place::Spec;
    let list = spec_place.key("balloonTypes");
    let types = &spec.balloon_types;
    classes::names(types.iter().map(|balloon| balloon.name.as_str()), &list, outcome);
    let loads = classes::names(
        spec.load_classes.iter().map(|class| class.name.as_str()),
        &spec_place.key("loadClasses"),
        outcome,
    );
    let scheduling = spec.scheduling_classes.iter().map(|class| class.name.as_str()).collect();
    for (index, balloon) in types.iter().enumerate() {
        let place = list.item(index);
        check_type(balloon, &place, outcome);
        expressions::check(&balloon.match_expressions, &place, outcome);
        let loads_place = place.key("loads");
        for (index, load) in balloon.loads.iter().enumerate().filter(|(_, load)| !loads.contains(load.as_str())) {
            outcome.fault(loads_place.item(index), format!("is {}, allowed: a class of loadClasses", quoted(load)));
        }
        if !balloon.scheduling_class.is_empty() {
            let place = place.key("schedulingClass");
            classes::check_scheduling_class(&balloon.scheduling_class, &scheduling, place, outcome);
        }
    }
    let composition = composites::check(types, &list, outcome);
    let Some(resources) = resources else { return 0 };
    let Some(reserved) = reserved::complete(spec, resources, &list, outcome) else { return 0 };
    system_pods::check(spec, resources, &reserved, outcome);
    let others: Vec<(u64, u64)> = types
        .iter()
        .zip(&composition.cpus)
        .filter(|(balloon, _)| balloon.name != RESERVED)
        .map(|(balloon, cpus)| (balloon.min_balloons, *cpus))
        .collect();
    let owned: u64 = others.iter().map(|(balloons, cpus)| balloons.saturating_mul(*cpus)).sum();
    let owned = owned.saturating_add(reserved.min_cpus);
    if let Some(most) = resources.most_available().filter(|most| owned > *most) {
        let message = format!(
            "own {owned} CPUs from the start (minBalloons x minCPUs, and reserved), allowed: {most}, as availableResources"
        );
        outcome.fault(list, message);
    }
    let has_default = types.iter().any(|balloon| balloon.name == DEFAULT);
    let rest: u64 = others.iter().map(|(balloons, cpus)| balloons.saturating_mul(*cpus).max(1)).sum();
    rest.saturating_add(reserved.min_cpus.max(1)).saturating_add(u64::from(!has_default))
}

fn check_type(balloon: &BalloonType, place: &Place<'_>, outcome: &mut CheckOutcome) {
    let pairs = [
        ("minCPUs", balloon.min_cpus, "maxCPUs", balloon.max_cpus),
        ("minBalloons", balloon.min_balloons, "maxBalloons", balloon.max_balloons),
    ];
    for (low_key, low, high_key, high) in pairs {
        if high != 0 && low > high {
            outcome.fault(place.key(low_key), format!("is {low}, allowed: at most {high_key}, {high}"));
        }
        if balloon.name == RESERVED && low_key == "minBalloons" {
            for (key, count) in [(low_key, low), (high_key, high)].into_iter().filter(|(_, count)| *count > 1) {
                outcome.fault(place.key(key), format!("is {count}, allowed: 0 or 1, there is one reserved balloon"));
            }
        }
    }
    if !expressions::is_group(&balloon.group_by) {
        let message =
            format!("is {}, allowed: a text with references such as ${{pod/labels/KEY}}", quoted(&balloon.group_by));
        outcome.fault(place.key("groupBy"), message);
    }
    let devices = place.key("preferCloseToDevices");
    for (index, device) in balloon.prefer_close_to_devices.iter().enumerate() {
        if device.starts_with("podresourceapi:") {
            let message = format!(
                "is {}, allowed: a device such as /sys/class/net/eth0; pod-resources hints are left out, the plugin runs \
                 without kubelet's API",
                quoted(device)
            );
            outcome.fault(devices.item(index), message);
        }
    }
    if balloon.prefer_isol_cpus && !balloon.share_idle_cpus_in_same.is_empty() {
        let message = "stands beside preferIsolCpus: containers would run on CPUs that are not isolated";
        outcome.warning(place.key("shareIdleCPUsInSame"), message);
    }
    let is_bounded = balloon.min_cpus > 0 || balloon.max_cpus > 0;
    if balloon.name == DEFAULT && is_bounded && balloon.max_balloons == 0 {
        let message = "is absent or 0: a second and third default balloon opens, unlike that of the implicit type";
        outcome.warning(place.key("maxBalloons"), message);
    }
    if balloon.show_containers_in_nrt {
        outcome.warning(place.key("showContainersInNrt"), host::NO_API);
    }
}
