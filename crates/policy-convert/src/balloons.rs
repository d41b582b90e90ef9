//! The policy balloons: pkg/cri/resource-manager/policy/builtin/balloons of cri-resource-manager v0.9.2, cmd/plugins/balloons of nri-plugins
//! v0.14.0.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::balloon_types::{self, BalloonType, DEFAULT, RESERVED, in_order};
use crate::limits;
use crate::path;
use crate::report::Report;
use crate::resources::Reserved;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::Target;

/// What follows from the balloons for other parts of the document.
#[derive(Debug, Default)]
pub(crate) struct Balloons {
    /// Names of the types that pods can be annotated with.
    pub(crate) types: BTreeSet<String>,
    /// CPU classes that are named somewhere.
    pub(crate) cpu_classes: BTreeSet<String>,
    /// CPUs of balloons that are there from the start, without the reserved one.
    pub(crate) from_start: u64,
    /// Types without such balloons, the implicit `default` among them.
    pub(crate) further: u64,
    /// CPUs that the first balloon of each of those takes.
    pub(crate) of_further: u64,
}

/// `at`: the path of the section, also where there is none.
pub(crate) fn convert(
    section: Option<Section>,
    at: &str,
    reserved: &Reserved,
    spec: &mut Target,
    report: &mut Report,
) -> Balloons {
    let mut types = Vec::new();
    let mut found = Balloons { types: [RESERVED, DEFAULT].map(str::to_owned).into(), ..Balloons::default() };
    if let Some(mut section) = section {
        for (old, new) in [
            ("PinCPU", "pinCPU"),
            ("PinMemory", "pinMemory"),
            ("AllocatorTopologyBalancing", "allocatorTopologyBalancing"),
            ("PreferSpreadOnPhysicalCores", "preferSpreadOnPhysicalCores"),
        ] {
            spec.switch(section.take(old), new, report);
        }
        found.cpu_classes.extend(spec.text(section.take("IdleCPUClass"), "idleCPUClass", report));
        let _ = spec.texts(section.take("ReservedPoolNamespaces"), "reservedPoolNamespaces", report);
        types = read_types(&mut section, report);
        section.finish(report);
    }
    say_of_built_in(&types, at, report);
    say_of_order(&types, at, report);
    if let Some(number) = reserved.by_number {
        say_of_reserved(&types, at, report);
        hold_reserved(&mut types, number);
    }
    found.types.extend(types.iter().map(|of| of.name.clone()));
    found.cpu_classes.extend(types.iter().filter_map(|of| of.cpu_class.clone()));
    if !types.iter().any(|of| of.name == DEFAULT) {
        (found.further, found.of_further) = (1, 1);
    }
    for of in types.iter().filter(|of| of.name != RESERVED) {
        match of.min_balloons.saturating_mul(of.min_cpus) {
            0 => {
                found.further += 1;
                found.of_further = found.of_further.saturating_add(of.min_cpus.max(1));
            }
            cpus => found.from_start = found.from_start.saturating_add(cpus),
        }
    }
    if !types.is_empty() {
        spec.put("balloonTypes", in_order(types));
    }
    found
}

fn read_types(section: &mut Section, report: &mut Report) -> Vec<BalloonType> {
    let Some(list) = section.take("BalloonTypes") else { return Vec::new() };
    match list.into_items() {
        Ok(items) => {
            let sections: Vec<_> = items.into_iter().filter_map(|item| item.open(Case::Any, report)).collect();
            sections.into_iter().map(|section| balloon_types::convert(section, report)).collect()
        }
        Err(key) => {
            match &key.value {
                Value::Null => report.no_effect(key, "is empty"),
                Value::Array(items) if items.is_empty() => report.no_effect(key, "is empty"),
                _ => report.invalid(key, "a list of balloon types"),
            }
            Vec::new()
        }
    }
}

/// The two types that are always there behave in another way, whether somebody wrote them or not.
fn say_of_built_in(types: &[BalloonType], at: &str, report: &mut Report) {
    let default = types.iter().find(|of| of.name == DEFAULT);
    if default.is_none_or(|of| of.min_cpus == 0 && of.max_cpus == 0) {
        let text = "pods that no balloon type takes ran on the reserved CPUs, beside those of kube-system; they get a balloon of their own, which \
                    grows from the free CPUs and refuses containers when there are none left: with 750m reserved, ten such pods of 500m moved from \
                    one CPU to five others";
        report.whole(path::below(at, DEFAULT), Rule::DefaultOwnBalloon, text);
    }
    let text = "pods of kube-system ran on exactly the reserved CPUs; their balloon takes more when their requests exceed them: 1200m on one \
                reserved CPU have two";
    report.whole(path::below(at, RESERVED), Rule::ReservedGrows, text);
}

/// Old: in the order of the list. New: in the order of priorities (cmd/plugins/balloons/policy/balloons-policy.go).
fn say_of_order(types: &[BalloonType], at: &str, report: &mut Report) {
    let first: Vec<&BalloonType> = types.iter().filter(|of| of.min_balloons > 0 && of.min_cpus > 0).collect();
    if let Some(pair) = first.windows(2).find(|pair| pair[0].priority > pair[1].priority) {
        let text = format!(
            "balloons that are there from the start chose their CPUs in the order of the list and do so in that of their priority: those of {} \
             before those of {}",
            pair[1].name, pair[0].name
        );
        report.whole(path::below(at, "BalloonTypes"), Rule::StaticOrder, &text);
    }
}

/// The reserved balloon prefers CPUs that are reserved by number, and is made after those of high priority (fillBuiltinBalloonDefs and
/// applyBalloonDefs in cmd/plugins/balloons/policy/balloons-policy.go).
fn say_of_reserved(types: &[BalloonType], at: &str, report: &mut Report) {
    let is_before = |of: &&BalloonType| of.name != RESERVED && of.priority == 0 && of.min_balloons.min(of.min_cpus) > 0;
    if let Some(first) = types.iter().find(is_before) {
        let text = format!(
            "CPUs that are reserved by number were kept from all balloons; those of high priority that are there from the start choose first and may take \
             them, and system pods run on others: here those of the type {}; with AllocatorPriority 1 they choose after the reserved balloon",
            limits::cut(&first.name, limits::VALUE_CHARACTERS)
        );
        report.whole(path::below(at, RESERVED), Rule::ReservedChosenLater, &text);
    }
}

/// Of CPUs that are reserved by number the new policy gives the reserved balloon none from the start: other balloons could take them.
fn hold_reserved(types: &mut Vec<BalloonType>, number: u64) {
    if !types.iter().any(|of| of.name == RESERVED) {
        let mut of = BalloonType { name: RESERVED.to_owned(), ..BalloonType::default() };
        of.target.put("name", RESERVED);
        types.push(of);
    }
    for of in types.iter_mut().filter(|of| of.name == RESERVED) {
        of.target.put("minCPUs", number);
    }
}
