//! From all documents to policies, labels, patches and the report.

use std::collections::BTreeMap;

use extension_config::ConfigKey;
use nri_policy::Policy;
use serde_json::{Map, Value};

use crate::adjustments;
use crate::annotations::{self, Known, Patch};
use crate::balloons::Balloons;
use crate::document::{self, Draft};
use crate::input::{Input, TooMuch};
use crate::key::Key;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;

/// A node label that nri-plugins' groups go by, beside the one of cri-resmgr's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Nodes that have this label …
    pub of: (String, String),
    /// … get that one.
    pub add: (String, String),
}

/// What becomes of a configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversion {
    /// Policies by slot: default, groups and nodes. Each is accepted by [`nri_policy::check`].
    pub policies: BTreeMap<ConfigKey, Policy>,
    /// Labels of nodes.
    pub labels: Vec<Label>,
    /// Annotations to add, by object.
    pub patches: BTreeMap<String, Patch>,
    /// What is said of each key.
    pub report: Report,
}

/// Label of a node's group in cri-resmgr, and in nri-plugins.
const GROUP_LABELS: [&str; 2] = ["cri-resource-manager.intel.com/group", "config.nri/group"];

/// Converts everything.
///
/// # Errors
/// When there is more than the [limits](crate::limits) allow. Whatever else is wrong is said in the report.
pub fn convert(input: Input) -> Result<Conversion, TooMuch> {
    input.measure()?;
    let Input { mut documents, adjustments, annotations, node_cpus } = input;
    let mut report = Report::default();
    if let Some(options) = documents.remove(&ConfigKey::ExtraOptions) {
        extra_options(options, &mut report);
    }
    let drafts = drafts(documents, &mut report);
    let mut conversion = Conversion::default();
    let mut known = Known::default();
    for (slot, draft) in drafts {
        if let Some(balloons) = &draft.balloons {
            known.balloons.get_or_insert_default().extend(balloons.types.iter().cloned());
        }
        let partitions = draft.policy.spec.pointer("/control/rdt/partitions").and_then(Value::as_object);
        for classes in partitions.into_iter().flat_map(Map::values).filter_map(|of| of.get("classes")?.as_object()) {
            known.rdt_classes.get_or_insert_default().extend(classes.keys().cloned());
        }
        if let Some(policy) = checked(draft, node_cpus, &mut report) {
            conversion.policies.insert(slot, policy);
        }
    }
    for slot in conversion.policies.keys() {
        if let ConfigKey::Group(name) = slot {
            let [of, add] = GROUP_LABELS.map(|label| (label.to_owned(), name.clone()));
            conversion.labels.push(Label { of, add });
        }
    }
    for (name, spec) in adjustments {
        adjustments::convert(&name, spec, &mut report);
    }
    for (owner, all) in &annotations {
        let patch = annotations::convert(owner, all, &known, &mut report);
        if !patch.is_empty() {
            conversion.patches.insert(owner.clone(), patch);
        }
    }
    report.sort();
    conversion.report = report;
    Ok(conversion)
}

fn extra_options(options: Value, report: &mut Report) {
    let key = Key { path: path::slot(&ConfigKey::ExtraOptions), value: options, level: 0 };
    if key.value.is_null() || key.value.as_str().is_some_and(|text| text.trim().is_empty()) {
        report.no_effect(key, "is empty");
    } else {
        let text = "options of cri-resmgr's command line; the plugin's is written by this extension. An old cache is reset by removing \
                    /var/lib/nri-resource-policy/cache while the plugin is stopped";
        report.key(key, Rule::ExtraOptions, None, text);
    }
}

/// A draft for each slot of the new configuration.
fn drafts(mut documents: BTreeMap<ConfigKey, Value>, report: &mut Report) -> BTreeMap<ConfigKey, Draft> {
    let mut drafts = BTreeMap::new();
    if let Some(force) = documents.remove(&ConfigKey::Force) {
        for (slot, value) in documents {
            overruled(&slot, value, "the configuration force overrules it on every node", report);
        }
        let draft = document::convert(&ConfigKey::Force, force, None, report);
        drafts.extend(draft.map(|draft| (ConfigKey::Default, draft)));
        return drafts;
    }
    if documents.is_empty() {
        return drafts;
    }
    let fallback = documents.remove(&ConfigKey::Fallback);
    let inherited = fallback.as_ref().and_then(document::active).map(str::to_owned);
    match (fallback, documents.contains_key(&ConfigKey::Default)) {
        (Some(value), true) => {
            let why = "every node is given another configuration as soon as it runs; the policy that it starts with holds for those that name none";
            overruled(&ConfigKey::Fallback, value, why, report);
        }
        (Some(value), false) => {
            let draft = document::convert(&ConfigKey::Fallback, value, None, report);
            drafts.extend(draft.map(|draft| (ConfigKey::Default, draft)));
        }
        // Nodes without a group or a configuration of their own had the extension's fallback.
        (None, false) => {
            drafts.insert(ConfigKey::Default, document::built_in(&ConfigKey::Default, report));
        }
        (None, true) => {}
    }
    for (slot, value) in documents {
        let draft = document::convert(&slot, value, inherited.as_deref(), report);
        drafts.extend(draft.map(|draft| (slot, draft)));
    }
    drafts
}

fn overruled(slot: &ConfigKey, value: Value, why: &str, report: &mut Report) {
    report.no_effect(Key { path: path::slot(slot), value, level: 0 }, why);
}

/// The policy, if it would be taken; what is wrong with it, and what it asks of a node, is noted.
fn checked(draft: Draft, node_cpus: Option<u64>, report: &mut Report) -> Option<Policy> {
    let Draft { slot, policy, balloons } = draft;
    let document = path::slot(&slot);
    let at = path::below(&document, "policy");
    let checked = match policy.check(&[""; 0]) {
        Ok(checked) => checked,
        Err(findings) => {
            for finding in findings {
                let path = format!("{document}{}", finding.path);
                report.whole(path, Rule::PolicyRefused, &format!("what comes of it is refused: {}", finding.message));
            }
            return None;
        }
    };
    for warning in checked.warnings() {
        report.note(format!("{document}{}", warning.path), &warning.message);
    }
    let mut least = checked.least_cpus();
    if let Some(Balloons { from_start, further, of_further, .. }) = balloons {
        let reserved = least.saturating_sub(from_start).saturating_sub(further);
        let bound = from_start.saturating_add(reserved);
        least = bound.saturating_add(of_further);
        let text = format!(
            "each balloon takes whole CPUs, and one that cannot grow refuses containers where the scheduler still sees room: a node needs at least {least} \
             CPUs ({reserved} reserved, {from_start} of balloons that are there from the start, {of_further} for the first balloon of each of {further} other \
             types), and kubelet has to keep {bound} of them out of what pods may request (kubeReserved): on a node of {least} CPUs the other types have \
             {of_further}"
        );
        report.whole(path::below(&at, "balloons"), Rule::Capacity, &text);
    }
    if let Some(cpus) = node_cpus.filter(|cpus| *cpus < least) {
        let text = format!(
            "needs {least} CPUs, the smallest node has {cpus}: there the plugin does not start, or refuses containers"
        );
        report.whole(at, Rule::NodeTooSmall, &text);
    }
    Some(policy)
}
