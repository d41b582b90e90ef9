//! One balloon type: pkg/cri/resource-manager/policy/builtin/balloons/flags.go of cri-resource-manager v0.9.2,
//! pkg/apis/config/v1alpha1/resmgr/policy/balloons of nri-plugins v0.14.0.

use serde_json::Value;

use crate::report::Report;
use crate::rule::Rule;
use crate::section::Section;
use crate::target::{Target, given, whole};

pub(crate) const RESERVED: &str = "reserved";
pub(crate) const DEFAULT: &str = "default";
const PRIORITIES: [&str; 4] = ["high", "normal", "low", "none"];
const SHARES: [&str; 6] = ["system", "package", "die", "numa", "core", "thread"];

/// A type of the new policy, and what follows from it for the whole.
#[derive(Debug, Default)]
pub(crate) struct BalloonType {
    pub(crate) target: Target,
    pub(crate) name: String,
    pub(crate) has_namespaces: bool,
    /// 0 is the first.
    pub(crate) priority: u64,
    pub(crate) min_balloons: u64,
    pub(crate) min_cpus: u64,
    pub(crate) max_cpus: u64,
    pub(crate) cpu_class: Option<String>,
}

/// Reads one. `index`: its place in the new list is not known yet, so its keys are named by its name.
pub(crate) fn convert(mut section: Section, report: &mut Report) -> BalloonType {
    let name = section.take("Name");
    let shown = name.as_ref().and_then(|key| key.value.as_str()).unwrap_or_default().to_owned();
    let path = crate::path::below("spec.balloonTypes", &shown);
    let mut of = BalloonType { target: Target::of(&path), ..BalloonType::default() };
    of.name = of.target.text(name, "name", report).unwrap_or_default();
    of.has_namespaces = !of.target.texts(section.take("Namespaces"), "namespaces", report).is_empty();
    of.cpu_class = of.target.text(section.take("CpuClass"), "cpuClass", report).filter(|class| !class.is_empty());
    match of.name.as_str() {
        RESERVED | DEFAULT => built_in(&mut section, &mut of, report),
        _ => of_owner(&mut section, &mut of, report),
    }
    section.finish(report);
    of
}

const OVERBOOKED: &str = "containers that no longer fit came in all the same, and are refused now: with 2 CPUs a third container of 1 CPU does \
                          not start";

fn of_owner(section: &mut Section, of: &mut BalloonType, report: &mut Report) {
    let target = &mut of.target;
    of.min_cpus = target.count(section.take("MinCPUs"), "minCPUs", report);
    of.max_cpus = max_cpus(section, target, report);
    of.min_balloons = target.count(section.take("MinBalloons"), "minBalloons", report);
    target.count(section.take("MaxBalloons"), "maxBalloons", report);
    priority(section, of, report);
    let target = &mut of.target;
    for (old, new) in [
        ("PreferSpreadingPods", "preferSpreadingPods"),
        ("PreferPerNamespaceBalloon", "preferPerNamespaceBalloon"),
        ("PreferNewBalloons", "preferNewBalloons"),
        ("PreferSpreadOnPhysicalCores", "preferSpreadOnPhysicalCores"),
        ("AllocatorTopologyBalancing", "allocatorTopologyBalancing"),
    ] {
        target.switch(section.take(old), new, report);
    }
    if let Some(key) = given(section.take("ShareIdleCPUsInSame"), report) {
        let word = key.value.as_str().unwrap_or("?");
        match SHARES.iter().find(|share| share.eq_ignore_ascii_case(word)) {
            Some(share) => target.same(key, "shareIdleCPUsInSame", *share, report),
            None if word.is_empty() => report.no_effect(key, "is empty"),
            None => report.invalid(key, &SHARES.join(", ")),
        }
    }
}

/// Of the two types that are always there cri-resmgr looks at a few keys only (applyBalloonDef in balloons-policy.go).
fn built_in(section: &mut Section, of: &mut BalloonType, report: &mut Report) {
    let is_default = of.name == DEFAULT;
    if is_default {
        of.min_cpus = of.target.count(section.take("MinCPUs"), "minCPUs", report);
        of.max_cpus = max_cpus(section, &mut of.target, report);
        // One, from the start; a listed type without these keys would have none at first, and a second one later.
        of.min_balloons = 1;
        of.target.put("minBalloons", 1);
        of.target.put("maxBalloons", 1);
    }
    priority(section, of, report);
    let refused: &[&'static str] = if is_default { &["MinBalloons"] } else { &["MinCPUs", "MaxCPUs", "MinBalloons"] };
    for name in refused {
        if let Some(key) = section.take(name) {
            if key.value.is_null() || whole(&key.value) == Some(0) {
                report.no_effect(key, "is 0");
            } else {
                report.invalid(key, "0, or no such key, for this built-in balloon type");
            }
        }
    }
    for name in [
        "MaxBalloons",
        "PreferSpreadingPods",
        "PreferPerNamespaceBalloon",
        "PreferNewBalloons",
        "PreferSpreadOnPhysicalCores",
        "AllocatorTopologyBalancing",
        "ShareIdleCPUsInSame",
    ] {
        if let Some(key) = section.take(name) {
            report.no_effect(key, "cri-resmgr does not look at it for this built-in balloon type; nri-plugins would");
        }
    }
}

fn max_cpus(section: &mut Section, target: &mut Target, report: &mut Report) -> u64 {
    let Some(key) = given(section.take("MaxCPUs"), report) else { return 0 };
    match whole(&key.value) {
        Some(most) if most > 0 => {
            report.key(key, Rule::FullRefuses, Some(&target.place("maxCPUs")), OVERBOOKED);
            target.put("maxCPUs", most);
            most
        }
        _ => target.count(Some(key), "maxCPUs", report),
    }
}

fn priority(section: &mut Section, of: &mut BalloonType, report: &mut Report) {
    let Some(key) = given(section.take("AllocatorPriority"), report) else { return };
    let found = whole(&key.value).and_then(|number| Some((number, *PRIORITIES.get(usize::try_from(number).ok()?)?)));
    let Some((number, word)) = found else {
        report.invalid(key, "0 (high), 1 (normal), 2 (low), 3 (none)");
        return;
    };
    of.priority = number;
    if number == 3 && of.min_balloons > 0 {
        let text = format!(
            "with this priority cri-resmgr made none of the first balloons (MinBalloons), nri-plugins make them: here {}",
            of.min_balloons
        );
        report.key(key, Rule::PriorityNone, Some(&of.target.place("allocatorPriority")), &text);
        of.target.put("allocatorPriority", word);
    } else {
        of.target.same(key, "allocatorPriority", word, report);
    }
}

/// In the order in which cri-resmgr looks for the type of a namespace: `reserved`, `default` if it names some, the others as they stand
/// (chooseBalloonDef in balloons-policy.go).
pub(crate) fn in_order(types: Vec<BalloonType>) -> Vec<Value> {
    let place = |of: &BalloonType| match of.name.as_str() {
        RESERVED => 0,
        DEFAULT if of.has_namespaces => 1,
        DEFAULT => 3,
        _ => 2,
    };
    let mut types = types;
    types.sort_by_key(place);
    types.into_iter().map(|of| Value::Object(of.target.map)).collect()
}
