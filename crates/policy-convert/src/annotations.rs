//! Annotations of pods: pkg/cri/resource-manager/{cache/cache.go,policy/builtin/*} of cri-resource-manager v0.9.2, pkg/resmgr/cache/cache.go and
//! cmd/plugins/*/policy of nri-plugins v0.14.0. Both may stand on one pod: neither reads the other's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::key::Key;
use crate::limits;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;

const OLD: &str = "cri-resource-manager.intel.com";
const NEW: &str = "resource-policy.nri.io";
/// Heads that mean the same before the new suffix.
const SAME: [&str; 6] =
    [RDT_CLASS, "prefer-isolated-cpus", "prefer-shared-cpus", "prefer-reserved-cpus", "memory-type", "topologyhints"];
/// Those of them that were also written for a whole pod, as a map from containers.
const MAPS: [&str; 3] = ["prefer-isolated-cpus", "prefer-shared-cpus", "memory-type"];
const RDT_CLASS: &str = "rdtclass";
const BALLOON: &str = "balloon.balloons";
/// Heads that stand nowhere any more, and why.
const LOST: [(&str, &str); 5] = [
    ("blockioclass", "block-I/O classes are left out: their definitions are a setting of containerd"),
    ("toptierlimit", "nri-plugins v0.14.0 have the name and nothing that reads it"),
    (
        "cold-start",
        "is left out on purpose: in nri-plugins v0.14.0 the end of a cold start never reaches the policy, and the container stays on slow memory",
    ),
    (
        "pool.podpools",
        "nri-plugins have no policy podpools; balloon.balloons.resource-policy.nri.io names a balloon type",
    ),
    (
        "dynamic-pool.dynamic-pools",
        "nri-plugins have no policy dynamic-pools; balloon.balloons.resource-policy.nri.io names a balloon type",
    ),
];
/// Keys before `/` of the old suffix that stand for a whole pod.
const AFFINITIES: [&str; 2] = ["affinity", "anti-affinity"];

/// Annotations to add to one object.
pub(crate) type Patch = BTreeMap<String, String>;

/// What annotations may name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Balloon types of all policies; nothing where no policy is balloons.
    pub(crate) balloons: Option<BTreeSet<String>>,
    /// RDT classes of all policies; nothing where no policy defines some.
    pub(crate) rdt_classes: Option<BTreeSet<String>>,
}

/// Notes each annotation of one object.
pub(crate) fn convert(
    owner: &str,
    annotations: &BTreeMap<String, String>,
    known: &Known,
    report: &mut Report,
) -> Patch {
    let mut patch = Patch::new();
    let document = path::object("annotations", owner);
    for (name, value) in annotations {
        let key = Key { path: path::below(&document, name), value: Value::from(value.clone()), level: 1 };
        one(name, value, key, known, &mut patch, report);
    }
    patch
}

fn one(name: &str, value: &str, key: Key, known: &Known, patch: &mut Patch, report: &mut Report) {
    if name == "intel.com/resources" {
        let becomes = "noderesource.dev/resources";
        let text = "cri-resmgr's webhook wrote it; resource-annotator, a plugin of its own, writes the new one, and it is not read for init containers: \
                    an init container with a limit of 2 CPUs counts as one without";
        report.key(key, Rule::ResourcesAnnotation, Some(becomes), text);
        patch.insert(becomes.to_owned(), value.to_owned());
        return;
    }
    let (before, scope) = name.split_once('/').map_or((name, ""), |(before, scope)| (before, scope));
    if before == OLD {
        return of_pod(scope, value, key, patch, report);
    }
    let Some(head) = before.strip_suffix(OLD).and_then(|head| head.strip_suffix('.')) else {
        return report.no_effect(key, "is none of cri-resmgr's");
    };
    let is_scope =
        !name.contains('/') || scope == "pod" || scope.strip_prefix("container.").is_some_and(|name| !name.is_empty());
    if !is_scope {
        let text = "cri-resmgr reads HEAD.cri-resource-manager.intel.com, with /pod or /container.NAME behind it";
        return report.key(key, Rule::UnknownAnnotation, None, text);
    }
    if let Some((_, why)) = LOST.iter().find(|(lost, _)| *lost == head) {
        return report.key(key, Rule::Annotation, None, why);
    }
    if head == BALLOON {
        match &known.balloons {
            None => return report.no_effect(key, "no policy is balloons"),
            Some(types) if !types.contains(value) => {
                let text = format!(
                    "names the balloon type \"{}\", which no policy has: the pod does not start",
                    limits::cut(value, limits::VALUE_CHARACTERS).escape_debug()
                );
                return report.key(key, Rule::UnknownBalloon, None, &text);
            }
            Some(_) => {}
        }
    } else if !SAME.contains(&head) {
        return report.key(key, Rule::UnknownAnnotation, None, "cri-resmgr does not know this annotation");
    }
    if head == RDT_CLASS && known.rdt_classes.as_ref().is_some_and(|classes| !classes.contains(value)) {
        let text = format!(
            "names the RDT class \"{}\", which no policy has: cri-resmgr gave such a container the root class, and the runtime may refuse it",
            limits::cut(value, limits::VALUE_CHARACTERS).escape_debug()
        );
        return report.key(key, Rule::UnknownClass, None, &text);
    }
    let becomes = name.replacen(OLD, NEW, 1);
    report.same(key, &becomes);
    patch.insert(becomes, value.to_owned());
}

/// An annotation of the form SUFFIX/NAME.
fn of_pod(name: &str, value: &str, key: Key, patch: &mut Patch, report: &mut Report) {
    if AFFINITIES.contains(&name) {
        let becomes = format!("{NEW}/{name}");
        report.same(key, &becomes);
        patch.insert(becomes, value.to_owned());
        return;
    }
    if let Some((_, why)) = LOST.iter().find(|(lost, _)| *lost == name && *lost == "cold-start") {
        return report.key(key, Rule::Annotation, None, why);
    }
    if !MAPS.contains(&name) {
        return report.key(key, Rule::UnknownAnnotation, None, "cri-resmgr does not know this annotation");
    }
    let by_container = containers(value);
    let Some(by_container) = by_container else {
        let text = "must be true, false or a map from names of containers to such values";
        return report.key(key, Rule::UnknownAnnotation, None, text);
    };
    let first = by_container.keys().next().cloned().unwrap_or_default();
    let more = if by_container.len() > 1 { format!(" and {} more", by_container.len() - 1) } else { String::new() };
    report.same(key, &format!("{name}.{NEW}/{first}{more}"));
    patch.extend(by_container.into_iter().map(|(scope, value)| (format!("{name}.{NEW}/{scope}"), value)));
}

/// The old form for a whole pod: one value, or a map from containers (podIsolationPreference in
/// policy/builtin/topology-aware/pod-preferences.go).
fn containers(value: &str) -> Option<BTreeMap<String, String>> {
    if matches!(value, "true" | "false") {
        return Some(BTreeMap::from([("pod".to_owned(), value.to_owned())]));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 4, max_documents: 1, max_nodes: limits::REPEATED_VALUES },
    };
    let map: Map<String, Value> = serde_saphyr::from_str_with_options(value, options).ok()?;
    let one = |(name, value): (String, Value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Bool(switch) => switch.to_string(),
            _ => return None,
        };
        Some((format!("container.{name}"), text))
    };
    map.into_iter().map(one).collect::<Option<BTreeMap<_, _>>>().filter(|map| !map.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_annotation_becomes_its_successor() {
        let known = Known {
            balloons: Some(BTreeSet::from(["quad".to_owned()])),
            rdt_classes: Some(BTreeSet::from(["gold".to_owned()])),
        };
        for (name, value, rule, becomes) in [
            (
                "rdtclass.cri-resource-manager.intel.com/pod",
                "gold",
                Rule::Same,
                "rdtclass.resource-policy.nri.io/pod=gold",
            ),
            (
                "memory-type.cri-resource-manager.intel.com/container.a",
                "dram",
                Rule::Same,
                "memory-type.resource-policy.nri.io/container.a=dram",
            ),
            (
                "balloon.balloons.cri-resource-manager.intel.com",
                "quad",
                Rule::Same,
                "balloon.balloons.resource-policy.nri.io=quad",
            ),
            ("balloon.balloons.cri-resource-manager.intel.com", "other", Rule::UnknownBalloon, ""),
            ("rdtclass.cri-resource-manager.intel.com", "silver", Rule::UnknownClass, ""),
            ("cri-resource-manager.intel.com/affinity", "x", Rule::Same, "resource-policy.nri.io/affinity=x"),
            (
                "cri-resource-manager.intel.com/prefer-isolated-cpus",
                "a: true\nb: false",
                Rule::Same,
                "prefer-isolated-cpus.resource-policy.nri.io/container.a=true prefer-isolated-cpus.resource-policy.nri.io/container.b=false",
            ),
            (
                "cri-resource-manager.intel.com/prefer-shared-cpus",
                "true",
                Rule::Same,
                "prefer-shared-cpus.resource-policy.nri.io/pod=true",
            ),
            ("cri-resource-manager.intel.com/memory-type", "[1]", Rule::UnknownAnnotation, ""),
            ("cri-resource-manager.intel.com/cold-start", "a: {duration: 1s}", Rule::Annotation, ""),
            ("cold-start.cri-resource-manager.intel.com", "duration: 1s", Rule::Annotation, ""),
            ("toptierlimit.cri-resource-manager.intel.com/pod", "1G", Rule::Annotation, ""),
            ("pool.podpools.cri-resource-manager.intel.com", "a", Rule::Annotation, ""),
            ("intel.com/resources", "{}", Rule::ResourcesAnnotation, "noderesource.dev/resources={}"),
            ("wrong.cri-resource-manager.intel.com", "", Rule::UnknownAnnotation, ""),
            ("rdtclass.cri-resource-manager.intel.com/a", "", Rule::UnknownAnnotation, ""),
            ("prometheus.io/scrape", "true", Rule::NoEffect, ""),
        ] {
            let mut report = Report::default();
            let patch = convert("Pod a/b", &BTreeMap::from([(name.to_owned(), value.to_owned())]), &known, &mut report);
            let rules: Vec<Rule> = report.keys.iter().map(|entry| entry.rule).collect();
            assert_eq!(rules, [rule], "{name}");
            let added: Vec<String> = patch.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(added.join(" "), becomes, "{name}");
        }
    }
}
