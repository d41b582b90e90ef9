//! `cpu.classes`: pkg/cri/resource-manager/control/cpu/cpu.go of cri-resource-manager v0.9.2, `cpuClasses` of nri-plugins v0.14.0.

use serde_json::{Value, json};

use crate::balloons::Balloons;
use crate::key::Key;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::{Target, given, whole};

/// The class that nri-plugins give balloons without one (resolveCpuClassName in cmd/plugins/balloons/policy/balloons-policy.go).
const DEFAULT: &str = "default";
/// Steps of the kernel.
const MOST_PREFERENCE: u64 = 255;

/// Who uses the classes.
#[derive(Debug)]
pub(crate) enum Classes<'a> {
    /// Balloons.
    Of(&'a Balloons),
    /// A policy that nri-plugins do not have.
    OfLost(&'static str),
    /// Nobody, and why.
    NoEffect(&'static str),
}

/// Takes the section `cpu`.
pub(crate) fn convert(section: Option<Section>, classes: &Classes<'_>, spec: &mut Target, report: &mut Report) {
    let Some(mut section) = section else { return };
    if let Some(key) = section.take("classes") {
        match classes {
            Classes::NoEffect(why) => report.no_effect(key, why),
            Classes::OfLost(policy) => {
                report.key(key, Rule::PolicyKey, None, &format!("is used by the policy {policy} only"));
            }
            Classes::Of(balloons) => {
                if let Some(mut classes) = key.open(Case::Exact, report) {
                    let all: Vec<Value> = classes
                        .rest()
                        .into_iter()
                        .filter_map(|(name, key)| class(&name, key, balloons, report))
                        .collect();
                    if !all.is_empty() {
                        spec.put("cpuClasses", all);
                    }
                }
            }
        }
    }
    section.finish(report);
}

const DEFAULT_APPLIES: &str = "is given to balloons of types without CpuClass, too, whose CPUs cri-resmgr left as they were: with maxFreq 1600000 they \
                               now run at 1.6 GHz at most; give it another name if that is not meant";

const UNCORE: &str = "where the kernel has not loaded intel_uncore_frequency cri-resmgr went on without these limits, and the plugin does not start: containers of \
                      such a node are not placed at all; load it there, or give those nodes a policy without them";

fn class(name: &str, key: Key, balloons: &Balloons, report: &mut Report) -> Option<Value> {
    if name == DEFAULT && !balloons.cpu_classes.contains(DEFAULT) {
        report.no_effect(key, "nothing names this class; nri-plugins would give it to balloons without one");
        return None;
    }
    let is_default = name == DEFAULT;
    let path = crate::path::below("spec.cpuClasses", name);
    let mut target = Target::of(&path);
    let Some(mut section) = key.open(Case::Any, report) else { return Some(json!({ "name": name })) };
    for key in ["minFreq", "maxFreq", "uncoreMinFreq", "uncoreMaxFreq"] {
        frequency(section.take(key), key, is_default, &mut target, report);
    }
    if let Some(key) = given(section.take("energyPerformancePreference"), report) {
        preference(key, &mut target, report);
    }
    section.finish(report);
    target.put("name", name);
    Some(Value::Object(target.map))
}

/// kHz in both; a number there, a text here.
fn frequency(key: Option<Key>, name: &str, is_default: bool, target: &mut Target, report: &mut Report) {
    let Some(key) = given(key, report) else { return };
    let Some(khz) = whole(&key.value).filter(|khz| u32::try_from(*khz).is_ok()) else {
        report.invalid(key, "a whole number of kHz");
        return;
    };
    if name.starts_with("uncore") && khz > 0 {
        report.key(key, Rule::Uncore, Some(&target.place(name)), UNCORE);
    } else if is_default {
        report.key(key, Rule::CpuClassDefault, Some(&target.place(name)), DEFAULT_APPLIES);
    } else {
        report.same(key, &target.place(name));
    }
    target.put(name, khz.to_string());
}

fn preference(key: Key, target: &mut Target, report: &mut Report) {
    match whole(&key.value) {
        Some(value) if value <= MOST_PREFERENCE => {
            let text = format!(
                "cri-resmgr read it and did nothing with it; it is set on the CPUs of the class now: here to {value} of 0 (performance) to 255 (energy)"
            );
            let place = target.place("energyPerformancePreference");
            report.key(key, Rule::EnergyPreference, Some(&place), &text);
            target.put("energyPerformancePreference", value);
        }
        _ => report.invalid(key, "a whole number from 0 (performance) to 255 (energy)"),
    }
}
