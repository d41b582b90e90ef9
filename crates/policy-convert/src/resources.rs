//! `policy.AvailableResources` and `policy.ReservedResources`.

use serde_json::Value;

use crate::key::Key;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::Target;

/// How a policy's CPUs are given (pkg/cri/resource-manager/policy/flags.go of cri-resource-manager v0.9.2).
#[derive(Debug, PartialEq, Eq)]
enum Cpus {
    /// By number: the list.
    Set(String),
    /// By how many: the text of the new policy.
    Count(String),
    /// Those of a control group.
    Cgroup,
}

impl Cpus {
    /// The form decides, so `"15"` is fifteen CPUs and `cpuset:15` is the CPU number 15.
    fn read(value: &Value) -> Option<Self> {
        let text = match value {
            Value::String(text) => text.clone(),
            // The daemon has a float, of which it keeps thousandths.
            Value::Number(number) => return milli(number.as_f64()?).map(Self::Count),
            _ => return None,
        };
        if let Some(list) = text.strip_prefix("cpuset:") {
            return is_list(list).then(|| Self::Set(list.to_owned()));
        }
        if text.starts_with("cgroup:") || text.starts_with('/') {
            return Some(Self::Cgroup);
        }
        if text.contains(['-', ',']) {
            return is_list(&text).then_some(Self::Set(text));
        }
        let is_quantity = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        is_quantity.then_some(Self::Count(text))
    }
}

fn is_list(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b','))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative and below 2^53")]
fn milli(number: f64) -> Option<String> {
    let milli = Some(number * 1000.0).filter(|milli| (0.0..9e15).contains(milli))? as u64;
    Some(if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") })
}

/// What is reserved, for what follows from it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reserved {
    /// So many CPUs by number.
    pub(crate) by_number: Option<u64>,
}

const FORMS: &str = "a list of CPUs (cpuset:0-3), a number of CPUs (750m, 2) or a control group (cgroup:PATH)";

/// Takes both keys out of the section `policy`.
pub(crate) fn convert(policy: &mut Section, spec: &mut Target, report: &mut Report) -> Reserved {
    if let Some(key) = cpu_of(policy, "AvailableResources", report) {
        match Cpus::read(&key.value) {
            Some(Cpus::Set(list)) => put(key, "availableResources", &format!("cpuset:{list}"), spec, report),
            Some(Cpus::Count(_)) => {
                let text =
                    "nri-plugins take available CPUs by number only: which CPUs shall it be? For instance cpuset:0-3";
                report.key(key, Rule::AvailableCount, None, text);
            }
            Some(Cpus::Cgroup) => report.key(key, Rule::CpusOfCgroup, None, OF_CGROUP),
            None => report.invalid(key, FORMS),
        }
    }
    let mut reserved = Reserved::default();
    match cpu_of(policy, "ReservedResources", report) {
        None => {
            let path = crate::path::below(&crate::path::below(&policy.path, "ReservedResources"), "CPU");
            let text = "is missing, and nri-plugins ask for it: how many CPUs shall pods of kube-system have? For instance 750m";
            report.whole(path, Rule::ReservedMissing, text);
        }
        Some(key) => match Cpus::read(&key.value) {
            Some(Cpus::Set(list)) => {
                reserved.by_number = Some(number(&list));
                put(key, "reservedResources", &format!("cpuset:{list}"), spec, report);
            }
            Some(Cpus::Count(text)) => put(key, "reservedResources", &text, spec, report),
            Some(Cpus::Cgroup) => report.key(key, Rule::CpusOfCgroup, None, OF_CGROUP),
            None => report.invalid(key, FORMS),
        },
    }
    reserved
}

const OF_CGROUP: &str = "nri-plugins read no control group: look on the nodes which CPUs it has, and write cpuset:…, with a policy of \
                         its own for each kind of node";

/// What a policy without CPUs does with them.
pub(crate) fn leave_out(policy: &mut Section, why: &str, report: &mut Report) {
    for name in ["AvailableResources", "ReservedResources"] {
        if let Some(key) = policy.take(name) {
            report.no_effect(key, why);
        }
    }
}

fn put(key: Key, name: &str, text: &str, spec: &mut Target, report: &mut Report) {
    report.same(key, &format!("{}.cpu", spec.place(name)));
    spec.put(name, serde_json::json!({ "cpu": text }));
}

fn cpu_of(policy: &mut Section, name: &'static str, report: &mut Report) -> Option<Key> {
    let mut section = policy.section(name, Case::Any, report)?;
    let key = section.take("CPU");
    section.finish(report);
    crate::target::given(key, report)
}

/// How many CPUs a list has; the overlap of its ranges is not checked, nri-policy reads it again.
fn number(list: &str) -> u64 {
    let parse = |text: &str| text.parse::<u64>().unwrap_or(0);
    let of = |part: &str| {
        part.split_once('-').map_or(1, |(low, high)| parse(high).saturating_sub(parse(low)).saturating_add(1))
    };
    list.split(',').map(of).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_of_cpus_decides_what_they_are() {
        for (value, expected) in [
            (json!("cpuset:0-3"), Some(Cpus::Set("0-3".into()))),
            (json!("0,2"), Some(Cpus::Set("0,2".into()))),
            (json!("0-3"), Some(Cpus::Set("0-3".into()))),
            (json!(2), Some(Cpus::Count("2".into()))),
            (json!(0.75), Some(Cpus::Count("750m".into()))),
            (json!("750m"), Some(Cpus::Count("750m".into()))),
            (json!("15"), Some(Cpus::Count("15".into()))),
            (json!("cgroup:x"), Some(Cpus::Cgroup)),
            (json!("/x"), Some(Cpus::Cgroup)),
            (json!("much"), None),
            (json!("cpuset:a"), None),
            (json!(-1), None),
            (json!([1]), None),
        ] {
            assert_eq!(Cpus::read(&value), expected, "{value}");
        }
        assert_eq!((number("0-3,8"), number("7"), number("3-1")), (5, 1, 1));
    }
}
