//! CPU classes and scheduling classes: pkg/apis/config/v1alpha1/resmgr/policy/{cpuclass,schedulingclass}.go @ v0.14.0.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{CheckOutcome, Place, quoted};
use crate::grammar::{Frequency, frequency};
use crate::limits;
use crate::rules::host;
use crate::typed::{CpuClass, OldCpuClass, SchedulingClass, Spec};

/// The lowest frequency that is meant, in kHz: below, somebody wrote MHz.
const LEAST_KHZ: f64 = 100_000.0;

/// Names in a list: each there once and not too long. Says what is wrong with the others.
pub(super) fn names<'a>(
    names: impl Iterator<Item = &'a str>,
    list: &Place<'_>,
    outcome: &mut CheckOutcome,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let place = list.item(index);
        let place = place.key("name");
        if name.is_empty() || name.len() > limits::NAME_BYTES {
            outcome.fault(place, format!("has {} bytes, allowed: 1 to {}", name.len(), limits::NAME_BYTES));
        } else if !seen.insert(name) {
            outcome.fault(place, format!("is {}, as another before it; allowed: each name once", quoted(name)));
        }
    }
    seen
}

pub(super) fn check_for_balloons(spec: &Spec, outcome: &mut CheckOutcome) {
    let spec_place = Place::Spec;
    let mut known = check_cpu_classes(spec, outcome);
    check_old_cpu_classes(&spec.control.cpu.classes, outcome);
    known.extend(spec.control.cpu.classes.keys().map(String::as_str));
    for name in spec.control.cpu.classes.keys().filter(|name| spec.cpu_classes.iter().any(|class| class.name == **name))
    {
        let message = format!("{} has no effect: cpuClasses has a class of this name", quoted(name));
        outcome.warning("spec.control.cpu.classes", message);
    }
    let types = spec_place.key("balloonTypes");
    let users = spec.balloon_types.iter().enumerate().map(|(index, balloon)| (Some(index), balloon.cpu_class.as_str()));
    for (index, name) in users.chain([(None, spec.idle_cpu_class.as_str())]) {
        if name.is_empty() || known.contains(name) {
            continue;
        }
        let message = format!("is {}, which is no CPU class of this policy: nothing is set", quoted(name));
        match index {
            Some(index) => outcome.warning(types.item(index).key("cpuClass"), message),
            None => outcome.warning("spec.idleCPUClass", message),
        }
    }
    check_scheduling_classes(spec, outcome);
}

pub(super) fn check_for_topology_aware(spec: &Spec, outcome: &mut CheckOutcome) {
    let spec_place = Place::Spec;
    let known = check_cpu_classes(spec, outcome);
    if !spec.control.cpu.classes.is_empty() {
        outcome.warning("spec.control.cpu.classes", "has no effect with this policy, allowed: cpuClasses");
    }
    if !known.is_empty() && spec.shared_pool_cpu_class.is_empty() {
        let message = "is missing, and must be there where cpuClasses has a class";
        outcome.fault("spec.sharedPoolCPUClass", message);
    }
    for (key, name) in [
        ("sharedPoolCPUClass", &spec.shared_pool_cpu_class),
        ("reservedPoolCPUClass", &spec.reserved_pool_cpu_class),
        ("defaultExclusiveCPUClass", &spec.default_exclusive_cpu_class),
    ] {
        let place = spec_place.key(key);
        if known.is_empty() && !name.is_empty() {
            outcome.warning(place, "has no effect: cpuClasses has no class");
        } else if !name.is_empty() && !known.contains(name.as_str()) {
            outcome.fault(place, format!("is {}, allowed: a class of cpuClasses", quoted(name)));
        }
    }
    if !spec.pin_cpu && !spec.pin_memory {
        outcome.warning("spec.pinCPU", "is false, and so is pinMemory: no container is pinned to anything");
    }
    let classes = check_scheduling_classes(spec, outcome);
    let place = spec_place.key("namespaceSchedulingClasses");
    for (namespace, class) in &spec.namespace_scheduling_classes {
        check_scheduling_class(class, &classes, place.key(namespace), outcome);
    }
    let place = spec_place.key("podQoSSchedulingClasses");
    let mut seen = BTreeSet::new();
    for (qos, class) in &spec.pod_qos_scheduling_classes {
        check_scheduling_class(class, &classes, place.key(qos), outcome);
        let known = ["besteffort", "burstable", "guaranteed"].into_iter().find(|known| known.eq_ignore_ascii_case(qos));
        match known {
            None => outcome.fault(place.key(qos), "there is no such key, allowed: BestEffort, Burstable, Guaranteed"),
            Some(known) if !seen.insert(known) => {
                outcome.fault(place.key(qos), "is given twice, in two letter cases; allowed: once");
            }
            Some(_) => {}
        }
    }
}

/// Names of the classes; says what is wrong with them.
fn check_cpu_classes<'a>(spec: &'a Spec, outcome: &mut CheckOutcome) -> BTreeSet<&'a str> {
    let spec_place = Place::Spec;
    let list = spec_place.key("cpuClasses");
    let mut of_priority: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, class) in spec.cpu_classes.iter().enumerate() {
        let place = list.item(index);
        check_cpu_class(class, &place, outcome);
        check_frequencies(&place, outcome, |key| {
            frequency(match key {
                "minFreq" => &class.min_freq,
                "maxFreq" => &class.max_freq,
                "uncoreMinFreq" => &class.uncore_min_freq,
                "uncoreMaxFreq" => &class.uncore_max_freq,
                "pctMinFreq" => &class.pct_min_freq,
                _ => &class.pct_max_freq,
            })
        });
        let priority = class.pct_priority.as_str();
        if !priority.is_empty()
            && let Some(other) = of_priority.insert(priority, index)
        {
            let message =
                format!("is {priority}, as that of cpuClasses[{other}]; allowed: one class for each priority");
            outcome.fault(place.key("pctPriority"), message);
        }
    }
    let managed = spec.cpu_classes.iter().any(|class| !class.pct_priority.is_empty());
    if managed && spec.cpu_classes.iter().any(|class| class.sst_clos_id.is_some()) {
        outcome.fault(list, "has pctPriority in one class and sstClosID in another, allowed: only one of the two keys");
    }
    names(spec.cpu_classes.iter().map(|class| class.name.as_str()), &list, outcome)
}

fn check_cpu_class(class: &CpuClass, place: &Place<'_>, outcome: &mut CheckOutcome) {
    let is_managed = !class.pct_priority.is_empty();
    if is_managed && class.sst_clos_id.is_some() {
        outcome.fault(place.key("sstClosID"), "stands beside pctPriority, allowed: one of the two");
    }
    for (key, text) in [("pctMinFreq", &class.pct_min_freq), ("pctMaxFreq", &class.pct_max_freq)] {
        let is_set =
            !matches!(frequency(text), None | Some(Frequency::Unset)) && frequency(text) != Some(Frequency::Khz(0.0));
        if is_set && (!is_managed || class.sst_clos_id.is_some()) {
            outcome.fault(place.key(key), format!("is {}, allowed: only beside pctPriority", quoted(text)));
        }
    }
    if class.publish_extended_resource {
        let key = place.key("publishExtendedResource");
        if is_managed || class.sst_clos_id.is_some() {
            outcome.warning(key, host::NO_API);
        } else {
            outcome.fault(key, "is true, allowed: only beside pctPriority or sstClosID");
        }
    }
}

/// The deprecated form: numbers in kHz.
fn check_old_cpu_classes(classes: &BTreeMap<String, OldCpuClass>, outcome: &mut CheckOutcome) {
    #[expect(clippy::cast_precision_loss, reason = "the schema allows 32 bits")]
    let khz = |number: u64| Some(if number == 0 { Frequency::Unset } else { Frequency::Khz(number as f64) });
    let place = Place::Spec;
    let place = place.key("control");
    let place = place.key("cpu");
    let place = place.key("classes");
    for (name, class) in classes {
        check_frequencies(&place.key(name), outcome, |key| match key {
            "minFreq" => khz(class.lowest),
            "maxFreq" => khz(class.highest),
            "uncoreMinFreq" => khz(class.uncore_lowest),
            "uncoreMaxFreq" => khz(class.uncore_highest),
            _ => None,
        });
    }
}

fn check_frequencies(place: &Place<'_>, outcome: &mut CheckOutcome, frequency: impl Fn(&str) -> Option<Frequency>) {
    let pairs = [("minFreq", "maxFreq"), ("uncoreMinFreq", "uncoreMaxFreq"), ("pctMinFreq", "pctMaxFreq")];
    for (low_key, high_key) in pairs {
        let khz = |key| match frequency(key) {
            Some(Frequency::Khz(khz)) if khz > 0.0 => Some(khz),
            _ => None,
        };
        for key in [low_key, high_key] {
            if let Some(khz) = khz(key).filter(|khz| *khz < LEAST_KHZ) {
                let message = format!("is {khz} kHz, below 100 MHz: without a unit it is in kHz");
                outcome.warning(place.key(key), message);
            }
        }
        if let (Some(low), Some(high)) = (khz(low_key), khz(high_key))
            && low > high
        {
            outcome.fault(place.key(low_key), format!("is {low} kHz, allowed: at most {high_key}, {high} kHz"));
        }
    }
}

/// Names of the classes; says what is wrong with them.
fn check_scheduling_classes<'a>(spec: &'a Spec, outcome: &mut CheckOutcome) -> BTreeSet<&'a str> {
    let spec_place = Place::Spec;
    let list = spec_place.key("schedulingClasses");
    for (index, class) in spec.scheduling_classes.iter().enumerate() {
        let place = list.item(index);
        // As runc has it (libcontainer/configs/validate/validator.go @ v1.3.6), and sched(7).
        let takes_priority = matches!(class.policy.as_str(), "fifo" | "rr");
        if (class.priority == 0) == takes_priority {
            let allowed =
                if takes_priority { "1 to 99 with fifo and rr" } else { "0 with another policy than fifo and rr" };
            outcome.fault(place.key("priority"), format!("is {}, allowed: {allowed}", class.priority));
        }
        let SchedulingClass { runtime, deadline, period, .. } = class;
        if class.policy == "deadline" {
            let end = if *period == 0 { *deadline } else { *period };
            if *runtime == 0 || runtime > deadline || *deadline > end {
                let message = format!(
                    "has runtime {runtime}, deadline {deadline}, period {period}, allowed: 0 < runtime <= deadline <= period"
                );
                outcome.fault(place, message);
            }
        } else if runtime | deadline | period != 0 {
            outcome.fault(place, "has runtime, deadline or period, allowed: only with the policy deadline");
        }
    }
    names(spec.scheduling_classes.iter().map(|class| class.name.as_str()), &list, outcome)
}

pub(super) fn check_scheduling_class(name: &str, known: &BTreeSet<&str>, place: Place<'_>, outcome: &mut CheckOutcome) {
    if !known.contains(name) {
        outcome.fault(place, format!("is {}, allowed: a class of schedulingClasses", quoted(name)));
    }
}

/// Whether a scheduling class of this name goes before all that is usual.
pub(super) fn is_real_time(spec: &Spec, name: &str) -> bool {
    let class = spec.scheduling_classes.iter().find(|class| class.name == name);
    class.is_some_and(|class| matches!(class.policy.as_str(), "fifo" | "rr" | "deadline" | "iso"))
}
