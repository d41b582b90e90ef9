//! `rdt`: pkg/cri/resource-manager/control/rdt/rdt.go of cri-resource-manager v0.9.2, pkg/apis/config/v1alpha1/resmgr/control/rdt of nri-plugins
//! v0.14.0.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::key::Key;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::{Target, given};

const KINDS: [&str; 3] = ["unified", "code", "data"];
const ALL: &str = "all";
const QOS: [&str; 3] = ["BestEffort", "Burstable", "Guaranteed"];
const PLACE: &str = "spec.control.rdt";

/// How the daemon uses RDT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Full,
    Discovery,
    Disabled,
}

/// Takes the section; returns `control.rdt`, if there is something to control. `off`: the controller is switched off.
pub(crate) fn convert(section: Option<Section>, off: bool, report: &mut Report) -> Option<Value> {
    let mut section = section?;
    let at = section.path.clone();
    let mut target = Target::of(PLACE);
    let options = section.section("options", Case::Any, report);
    let mode = options.map_or(Mode::Full, |options| self::options(options, off, &mut target, report));
    let partitions = section.take("partitions");
    section.finish(report);
    let uses = if off { Mode::Disabled } else { mode };
    let mut names = BTreeSet::new();
    if let Some(key) = partitions {
        if uses == Mode::Full {
            if let Some(partitions) = key.open(Case::Exact, report) {
                target.put("partitions", self::partitions(partitions, &mut names, report));
            }
        } else {
            report.no_effect(key, "cri-resmgr makes no partitions in this mode");
        }
    }
    let is_on = uses == Mode::Discovery || target.map.contains_key("partitions");
    if !is_on {
        return None;
    }
    target.put("enable", true);
    let text = "where /sys/fs/resctrl is not mounted cri-resmgr went on without RDT, and the plugin does not start: containers of such a node are not \
                placed at all; give those nodes a policy without rdt";
    report.whole(at.clone(), Rule::RdtNeedsResctrl, text);
    if uses == Mode::Full {
        let text = "cri-resmgr called its groups cri-resmgr.CLASS, nri-plugins call them CLASS: the old ones stay, and take up classes of the CPU, until \
                    they are removed: rmdir /sys/fs/resctrl/cri-resmgr.*";
        report.whole(path::below(&at, "partitions"), Rule::RdtGroupsRenamed, text);
        say_of_qos(&names, &at, &mut target, report);
    }
    Some(Value::Object(target.map))
}

/// Containers without an annotation had the class of their quality of service, if there was one.
fn say_of_qos(names: &BTreeSet<String>, at: &str, target: &mut Target, report: &mut Report) {
    let (there, missing): (Vec<&str>, Vec<&str>) = QOS.iter().partition(|name| names.contains(**name));
    if missing.is_empty() {
        target.put("usePodQoSAsDefaultClass", true);
    } else if !there.is_empty() {
        let text = format!(
            "containers without an annotation had the class of their quality of service where there is one; nri-plugins would ask the runtime for {} as \
             well, which does not exist, so no container has one without an annotation: those of {} have to be annotated, or all three be defined",
            missing.join(" and "),
            there.join(" and ")
        );
        report.whole(path::below(at, "classes"), Rule::RdtQosIncomplete, &text);
    }
}

fn options(mut options: Section, off: bool, target: &mut Target, report: &mut Report) -> Mode {
    let mut mode = Mode::Full;
    if let Some(key) = given(options.take("mode"), report) {
        let found = match key.value.as_str() {
            Some("Full") => Some(Mode::Full),
            Some("Discovery") => Some(Mode::Discovery),
            Some("Disabled") => Some(Mode::Disabled),
            _ => None,
        };
        match found {
            Some(found) => {
                mode = found;
                report.same(key, &format!("{PLACE}.enable"));
            }
            None => report.invalid(key, "Full, Discovery, Disabled"),
        }
    }
    if let Some(key) = given(options.take("monitoringDisabled"), report) {
        match key.value.as_bool() {
            Some(true) => report.no_effect(key, "nri-plugins make no monitoring groups"),
            Some(false) if off || mode == Mode::Disabled => report.no_effect(key, "RDT is off"),
            Some(false) => {
                let text = "nri-plugins make no monitoring groups and export no metrics of them; resctrl-mon, a plugin of its own, does";
                report.key(key, Rule::RdtMonitoring, None, text);
            }
            None => report.invalid(key, "true or false"),
        }
    }
    let mut optional = Target::of(&format!("{PLACE}.options"));
    for name in ["l2", "l3", "mb"] {
        let Some(mut section) = options.section(name, Case::Any, report) else { continue };
        let mut one = Target::of(&optional.place(name));
        one.switch(section.take("optional"), "optional", report);
        section.finish(report);
        if !one.map.is_empty() {
            optional.put(name, one.map);
        }
    }
    options.finish(report);
    if !optional.map.is_empty() {
        target.put("options", optional.map);
    }
    mode
}

fn partitions(mut all: Section, names: &mut BTreeSet<String>, report: &mut Report) -> Value {
    let mut made = Map::new();
    for (name, key) in all.rest() {
        let mut target = Target::of(&path::below(&format!("{PLACE}.partitions"), &name));
        if let Some(mut section) = key.open(Case::Any, report) {
            allocations(&mut section, &mut target, report);
            if let Some(mut classes) = section.section("classes", Case::Exact, report) {
                let mut all = Map::new();
                for (name, key) in classes.rest() {
                    let mut class = Target::of(&path::below(&target.place("classes"), &name));
                    if let Some(mut section) = key.open(Case::Any, report) {
                        allocations(&mut section, &mut class, report);
                        permissions(&mut section, report);
                        section.finish(report);
                    }
                    names.insert(name.clone());
                    all.insert(name, class.map.into());
                }
                target.put("classes", all);
            }
            section.finish(report);
        }
        made.insert(name, target.map.into());
    }
    made.into()
}

fn allocations(section: &mut Section, target: &mut Target, report: &mut Report) {
    for (name, read) in
        [("l2Allocation", cache as fn(&Value) -> Option<Value>), ("l3Allocation", cache), ("mbAllocation", bandwidth)]
    {
        let Some(key) = given(section.take(name), report) else { continue };
        match read(&key.value) {
            Some(value) => target.same(key, name, value, report),
            None => report.invalid(key, "a share such as \"50%\", or a map from cache ids to such shares"),
        }
    }
}

/// A share of all caches was a plain text; by cache id a text or a map.
fn cache(value: &Value) -> Option<Value> {
    let of_id = |value: &Value| match value {
        Value::String(share) => Some(json!({ "unified": share })),
        Value::Object(kinds) => {
            let kind = |(name, share): (&String, &Value)| {
                let name = KINDS.iter().find(|kind| kind.eq_ignore_ascii_case(name))?;
                Some(((*name).to_owned(), Value::from(share.as_str()?)))
            };
            kinds.iter().map(kind).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    };
    by_id(value, of_id)
}

fn bandwidth(value: &Value) -> Option<Value> {
    by_id(value, |value| crate::target::texts(value).map(Value::from))
}

fn by_id(value: &Value, of_id: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
    match value {
        Value::Object(ids) => {
            let one = |(id, value): (&String, &Value)| Some((id.clone(), of_id(value)?));
            ids.iter().map(one).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        value => Some(json!({ ALL: of_id(value)? })),
    }
}

/// Which pods may name the class.
fn permissions(section: &mut Section, report: &mut Report) {
    let Some(key) = section.take("kubernetes") else { return };
    let Some(mut kubernetes) = key.open(Case::Any, report) else { return };
    for name in ["denyPodAnnotation", "denyContainerAnnotation"] {
        let Some(key) = given(kubernetes.take(name), report) else { continue };
        match key.value.as_bool() {
            Some(true) => {
                let text = "pods could not name this class and now can: whoever may annotate a pod gives it this share; an admission policy can refuse \
                            the annotation rdtclass.resource-policy.nri.io";
                report.key(key, Rule::RdtDeny, None, text);
            }
            Some(false) => report.no_effect(key, "forbids nothing"),
            None => report.invalid(key, "true or false"),
        }
    }
    kubernetes.finish(report);
}

/// For a message about a key of a section that is off.
pub(crate) fn is_off(key: &Key) -> bool {
    key.value.as_str().is_some_and(|word| word.eq_ignore_ascii_case("disabled") || word.eq_ignore_ascii_case("disable"))
}
