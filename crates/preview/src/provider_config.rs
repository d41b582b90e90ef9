//! A providerConfig, as the controller takes it.

use std::collections::BTreeMap;

use extension_config::desired_state::{Backend, Daemon};
use extension_config::{Effective, Facts, Origin, Problem, Problems, cri_resmgr, names};
use policy_convert::resolve;
use serde_json::Value;

use crate::kind::Kind;
use crate::report::{Finding, Report};

/// A base configuration: texts by their keys.
pub type Base = std::collections::BTreeMap<String, String>;

/// One that stands in a file of its own.
pub(crate) fn judge(value: &Value, base: Option<&Base>) -> Report {
    resolved(Kind::ProviderConfig, "", resolve(base, Some(value), &Facts::default()))
}

/// What the controller found; `at` is where the providerConfig stands.
pub(crate) fn resolved(kind: Kind, at: &str, resolved: Result<Effective, Problems>) -> Report {
    match resolved {
        Ok(effective) => {
            let warnings = effective.warnings.iter().map(|warning| finding(kind, at, warning)).collect();
            Report::accepted(kind, &outcome(&effective), warnings)
        }
        Err(problems) => {
            let mut findings: Vec<_> = problems.iter().map(|problem| finding(kind, at, problem)).collect();
            let more = problems.more();
            findings.extend((more > 0).then(|| Finding::new(at, format!("and {more} more"))));
            Report::refused(kind, findings)
        }
    }
}

fn finding(kind: Kind, at: &str, problem: &Problem) -> Finding {
    // What is built in is nobody's to mend; a shoot's problem names only its own place.
    let author = match problem.origin {
        Origin::Shoot => at,
        Origin::Base if kind != Kind::Values => "base configuration",
        Origin::Base | Origin::BuiltIn => "",
    };
    let parts = [author, &problem.config, &problem.path];
    let place: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Finding::new(place.join(": "), &problem.message)
}

pub(crate) fn outcome(effective: &Effective) -> String {
    let mut parts = match &effective.backend {
        Backend::CriResmgr(daemon) => of_cri_resmgr(daemon, effective),
        Backend::NriPlugins(_) => of_nri_plugins(&effective.dynamic),
    };
    let selection = &effective.selection;
    parts.push(match &selection.worker_pools {
        None => "on every worker pool with containerd".to_owned(),
        Some(pools) => format!("on the worker pools {}", several(pools)),
    });
    if !selection.match_labels.is_empty() {
        let labels = selection.match_labels.iter().map(|(label, value)| format!("{label}={value}"));
        parts.push(format!("on nodes with {}", several(labels)));
    }
    parts.join("; ")
}

type ConfigMaps = BTreeMap<String, BTreeMap<String, String>>;

/// Each level with its origin: one that the shoot leaves out comes from the operator.
fn of_cri_resmgr(daemon: &Daemon, effective: &Effective) -> Vec<String> {
    let origin = |key: &str| match effective.origins.get(key) {
        Some(Origin::Base) => " (base configuration)",
        Some(Origin::BuiltIn) => " (built in)",
        Some(Origin::Shoot) | None => "",
    };
    let (which, text) = match (&daemon.force_config, &daemon.fallback_config) {
        (Some(text), _) => ("force", text.as_str()),
        (None, text) => ("fallback", text.as_deref().unwrap_or_default()),
    };
    let policy = cri_resmgr::check(text).map(|checked| checked.active).unwrap_or_default();
    let mut parts = vec![format!("{which} with policy {policy}{}", origin(which))];
    if !daemon.extra_options.is_empty() {
        parts.push(format!("options {}{}", daemon.extra_options, origin("EXTRA_OPTIONS")));
    }
    if !effective.dynamic.is_empty() {
        let pushed = effective.dynamic.keys().map(|name| {
            let key = name.strip_prefix(names::DYNAMIC_CONFIG_MAP_PREFIX).unwrap_or(name);
            format!("{name}{}", origin(key))
        });
        parts.push(format!("pushed to running daemons: {}", several(pushed)));
    }
    parts
}

fn of_nri_plugins(policies: &ConfigMaps) -> Vec<String> {
    vec![format!("nri-plugins with policies: {}", several(policies.keys()))]
}

/// The first few names, and how many more there are.
fn several<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<T> = names.into_iter().collect();
    let first: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len() - first.len();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// As many names are shown.
const SHOWN: usize = 5;
