//! One document of cri-resmgr: its policy and what stands beside it.

use extension_config::ConfigKey;
use nri_policy::{Kind, Policy};
use serde_json::{Value, json};

use crate::balloons::{self, Balloons};
use crate::controllers::{self, Off};
use crate::cpu_classes::Classes;
use crate::key::Key;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section, nest};
use crate::target::{Target, given};
use crate::{cpu_classes, observe, rdt, resources, topology_aware};

/// Policies that nri-plugins do not have, and what to do instead.
const WITHOUT_SUCCESSOR: [(&str, &str); 5] = [
    ("static", "kubelet's own static CPU manager does most of it"),
    ("static-plus", "kubelet's own static CPU manager does most of it"),
    ("static-pools", "write a balloon type for each pool, with minCPUs and maxCPUs as the pool has CPUs"),
    (
        "podpools",
        "write a balloon type for each pool, with minCPUs = maxCPUs = its CPU, minBalloons = maxBalloons = its Instances, and preferNewBalloons; \
         MaxPods, shares in percent and FillOrder have no counterpart",
    ),
    (DYNAMIC_POOLS, "write a balloon type for each pool; balloons grow by requests, not by what is used"),
];
const DYNAMIC_POOLS: &str = "dynamic-pools";
const POLICY_SECTIONS: [&str; 7] =
    ["static", "static-pools", "topology-aware", "memtier", "balloons", "podpools", DYNAMIC_POOLS];

/// What comes of a document.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The document that it comes of.
    pub(crate) slot: ConfigKey,
    pub(crate) policy: Policy,
    /// What is known of its balloons; nothing for the other policy.
    pub(crate) balloons: Option<Balloons>,
}

/// The policy that a document activates, if it says so.
pub(crate) fn active(document: &Value) -> Option<&str> {
    let of_policy = || document.get("policy")?.get("Active")?.as_str();
    document.get("policy.Active").and_then(Value::as_str).or_else(of_policy)
}

/// Converts a document. `inherited`: the policy of the document that the daemon has started with.
pub(crate) fn convert(slot: &ConfigKey, value: Value, inherited: Option<&str>, report: &mut Report) -> Option<Draft> {
    let root = Key { path: path::slot(slot), value: Value::Null, level: 0 };
    let at = root.path.clone();
    let Value::Object(map) = value else {
        let key = Key { value, ..root };
        if !key.value.is_null() {
            report.invalid(key, "a map of modules");
            return None;
        }
        report.no_effect(key, "is empty");
        return Some(built_in(slot, report));
    };
    let (tree, twice) = nest(map);
    let has_twice = !twice.is_empty();
    for (name, value) in twice {
        let key = Key { path: path::below(&at, &name), value, level: 1 };
        report.key(
            key,
            Rule::GivenTwice,
            None,
            "is given twice, as a dotted key and within its parent, or its parent is no map",
        );
    }
    if tree.is_empty() {
        if !has_twice {
            report.no_effect(Key { value: Value::Object(tree), ..root }, "is empty");
        }
        return Some(built_in(slot, report));
    }
    let mut document = Key { value: Value::Object(tree), ..root }.open(Case::Exact, report)?;
    let off = controllers::convert(document.section("resource-manager", Case::Exact, report), report);
    let mut spec = Target::of("spec");
    let policy = document.section("policy", Case::Exact, report);
    let made = self::policy(policy, &path::below(&at, "policy"), inherited, &mut spec, report);
    let control = rdt::convert(document.section("rdt", Case::Exact, report), off.rdt, report);
    controllers::block_io(document.section("blockio", Case::Exact, report), off.block_io, report);
    let cpu = document.section("cpu", Case::Exact, report);
    cpu_classes::convert(cpu, &classes_of(&made, &off), &mut spec, report);
    observe::instrumentation(document.section("instrumentation", Case::Exact, report), &mut spec, report);
    observe::logger(document.section("logger", Case::Exact, report), &mut spec, report);
    observe::dump(document.section("dump", Case::Exact, report), report);
    document.finish(report);
    let Ok(Made { kind, balloons }) = made else { return None };
    if let Some(rdt) = control {
        spec.put("control", json!({ "rdt": rdt }));
    }
    Some(Draft { slot: slot.clone(), policy: Policy { kind, spec: Value::Object(spec.map) }, balloons })
}

/// What cri-resmgr does when nobody has written anything: the policy none.
pub(crate) fn built_in(slot: &ConfigKey, report: &mut Report) -> Draft {
    let mut spec = Target::of("spec");
    let at = path::below(&path::slot(slot), "policy");
    none(None, &at, &mut spec, report);
    let policy = Policy { kind: Kind::BalloonsPolicy, spec: Value::Object(spec.map) };
    Draft { slot: slot.clone(), policy, balloons: None }
}

struct Made {
    kind: Kind,
    balloons: Option<Balloons>,
}

/// There is no policy to write.
struct NoPolicy {
    /// Its name, where it is one that gives CPUs classes.
    with_cpu_classes: Option<&'static str>,
}

/// Only balloons and dynamic-pools give CPUs a class (pkg/cri/resource-manager/control/cpu/api.go).
fn classes_of<'a>(made: &'a Result<Made, NoPolicy>, off: &Off) -> Classes<'a> {
    match made {
        _ if off.cpu => Classes::NoEffect("the controller is switched off"),
        Ok(Made { balloons: Some(balloons), .. }) => Classes::Of(balloons),
        Err(NoPolicy { with_cpu_classes: Some(policy) }) => Classes::OfLost(policy),
        _ => Classes::NoEffect("only the policies balloons and dynamic-pools give CPUs a class"),
    }
}

fn policy(
    section: Option<Section>,
    at: &str,
    inherited: Option<&str>,
    spec: &mut Target,
    report: &mut Report,
) -> Result<Made, NoPolicy> {
    let mut section = section.unwrap_or_else(|| Section::absent(at));
    let key = given(section.take("Active"), report);
    let named = key.as_ref().map(|key| key.value.as_str().unwrap_or("?").to_owned());
    let active = named.as_deref().or(inherited).unwrap_or("none").to_owned();
    let made = match active.as_str() {
        "none" => {
            none(key, at, spec, report);
            resources::leave_out(&mut section, "the policy none has no CPUs", report);
            Ok(Made { kind: Kind::BalloonsPolicy, balloons: None })
        }
        "balloons" => {
            of_kind(key, Kind::BalloonsPolicy, report);
            let reserved = resources::convert(&mut section, spec, report);
            let own = section.section("balloons", Case::Exact, report);
            let balloons = balloons::convert(own, &path::below(at, "balloons"), &reserved, spec, report);
            Ok(Made { kind: Kind::BalloonsPolicy, balloons: Some(balloons) })
        }
        "topology-aware" | "memtier" => {
            of_kind(key, Kind::TopologyAwarePolicy, report);
            resources::convert(&mut section, spec, report);
            let own = if active == "memtier" { "memtier" } else { "topology-aware" };
            if let Some(own) = section.section(own, Case::Exact, report) {
                topology_aware::convert(own, spec, report);
            }
            Ok(Made { kind: Kind::TopologyAwarePolicy, balloons: None })
        }
        _ => {
            without_successor(key, &active, at, &mut section, report);
            Err(NoPolicy { with_cpu_classes: (active == DYNAMIC_POOLS).then_some(DYNAMIC_POOLS) })
        }
    };
    for name in POLICY_SECTIONS {
        if let Some(key) = section.take(name) {
            report.no_effect(key, &format!("the policy is {active}"));
        }
    }
    section.finish(report);
    made
}

fn of_kind(key: Option<Key>, kind: Kind, report: &mut Report) {
    if let Some(key) = key {
        report.same(key, &format!("kind: {kind}"));
    }
}

const NONE: &str = "cri-resmgr placed nothing; nri-plugins have no such policy, so all pods are in one balloon with all CPUs: they run where they ran, \
                    but CPUs that come online later are not theirs before they are made anew; or leave these nodes out (selection)";

/// One balloon that takes all pods and has all CPUs: containers/nri-plugins/docs/resource-policy/policy/balloons.md @ v0.14.0.
fn none(key: Option<Key>, at: &str, spec: &mut Target, report: &mut Report) {
    match key {
        Some(key) => report.key(key, Rule::PolicyNone, Some("kind: BalloonsPolicy"), NONE),
        None => report.whole(path::below(at, "Active"), Rule::PolicyNone, NONE),
    }
    let every_pod = json!([{ "name": "reserved", "namespaces": ["*"], "shareIdleCPUsInSame": "system" }]);
    for (name, value) in [
        ("pinCPU", json!(true)),
        ("pinMemory", json!(true)),
        ("reservedResources", json!({ "cpu": "1" })),
        ("balloonTypes", every_pod),
    ] {
        spec.put(name, value);
    }
}

fn without_successor(key: Option<Key>, active: &str, at: &str, section: &mut Section, report: &mut Report) {
    let known = WITHOUT_SUCCESSOR.iter().find(|(name, _)| *name == active);
    let Some((name, instead)) = known else {
        let allowed =
            "none, balloons, topology-aware, memtier, podpools, static, static-plus, static-pools, dynamic-pools";
        match key {
            Some(key) => report.invalid(key, allowed),
            None => report.whole(path::below(at, "Active"), Rule::InvalidValue, allowed),
        }
        resources::leave_out(section, "belongs to a policy that is not known", report);
        return;
    };
    let text = format!("nri-plugins have no policy {name}: {instead}");
    match key {
        Some(key) => report.key(key, Rule::NoSuchPolicy, None, &text),
        None => report.whole(path::below(at, "Active"), Rule::NoSuchPolicy, &text),
    }
    let sections: &[&'static str] = match *name {
        "static" | "static-plus" => &["static"],
        "static-pools" => &["static-pools"],
        "podpools" => &["podpools"],
        _ => &[DYNAMIC_POOLS],
    };
    for own in sections.iter().chain(&["AvailableResources", "ReservedResources"]) {
        if let Some(key) = section.take(own) {
            report.key(key, Rule::PolicyKey, None, &format!("belongs to the policy {name}"));
        }
    }
}
