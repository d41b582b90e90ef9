//! What people have, and our answer to it: the cases E01 to E26 of the field reports, each as the smallest input that shows it.
//!
//! E24, upstream's whole collection, is not among them: it is not ours to keep. The real daemon's verdict on inputs like these is asked with
//! `corpus/` (`tests/daemon.rs`).

mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cri_resmgr::{Finding, check, check_modules};
use crate::desired_state::Backend;
use crate::{Effective, Facts, Problems, resolve};
use table::Answer::{Accepted, Given, Refused, Restart, Warned};
use table::Input::{self, Change, Modules, Object, Options, Text};

#[test]
fn field_cases() {
    for (id, input, answer) in table::CASES {
        for (way, found) in ways(input) {
            let reported = format!("{id} as {way}: {found:?}");
            match (answer, &found) {
                (Accepted, Ok(found)) => assert_eq!(found.warnings, [""; 0], "{reported}"),
                (Given(given), Ok(found)) => {
                    assert_eq!((found.given.as_str(), found.warnings.as_slice()), (*given, &[][..]), "{reported}");
                }
                (Warned(of), Ok(found)) => {
                    assert!(found.warnings.len() == 1 && found.warnings[0].contains(of), "{reported}, not with {of}");
                }
                (Refused(of), Err(found)) => assert!(found.contains(of), "{reported}, not with {of}"),
                (Restart(reason), Ok(found)) => assert_eq!(found.given, *reason, "{reported}"),
                _ => panic!("{reported}"),
            }
        }
    }
}

#[test]
fn every_field_case_of_the_documentation_is_in_the_table() {
    let mut ids: Vec<_> = table::CASES.iter().map(|(id, ..)| *id).collect();
    ids.dedup();
    let expected = "E01 E03 E04 E06 E07 E08 E12 E13 E15 E16 E17 E18 E19 E20 E21 E23 E26";
    assert_eq!(ids.join(" "), expected);
}

/// A text that is accepted.
#[derive(Debug)]
struct Found {
    given: String,
    warnings: Vec<String>,
}

type Outcome = Result<Found, String>;

/// What becomes of an input on each way to the daemon.
fn ways(input: &Input) -> Vec<(&'static str, Outcome)> {
    match input {
        Text(text) => vec![
            ("a text", of_text(text)),
            ("the fallback of the original's form", of_configs(None, Some(&json!({"configs": {"fallback": text}})))),
            ("the fallback of our form", of_configs(None, Some(&typed(&json!({"fallback": text}))))),
            ("the force configuration of our form", of_configs(None, Some(&typed(&json!({"force": text}))))),
            ("the base configuration", of_configs(Some(("fallback", text)), None)),
            (
                "what is pushed",
                of_configs(None, Some(&json!({"configs": {"force": "policy: {Active: none}", "default": text}}))),
            ),
        ],
        Object(text) => {
            let object: Value = serde_json::from_str(text).unwrap();
            vec![("an object", of_configs(None, Some(&typed(&json!({"fallback": object})))))]
        }
        Modules(modules) => {
            let modules = modules.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
            vec![("a ConfigMap", of_modules(&modules))]
        }
        Options(text) => vec![
            ("the original's form", of_options(None, Some(&json!({"configs": {"EXTRA_OPTIONS": text}})))),
            ("our form", of_options(None, Some(&typed(&json!({"extraOptions": text}))))),
            ("the base configuration", of_options(Some(("EXTRA_OPTIONS", text)), None)),
        ],
        Change(old, new) => {
            let kept = |text: &str| check(text).unwrap_or_else(|findings| panic!("{findings:?}")).kept();
            let given = kept(old).restart_for(&kept(new)).unwrap_or_default();
            vec![("a change", Ok(Found { given, warnings: Vec::new() }))]
        }
    }
}

fn of_text(text: &str) -> Outcome {
    let checked = check(text).map_err(|findings| texts(&findings))?;
    let pushed = check_modules(&checked.by_module()).unwrap_or_else(|findings| panic!("{findings:?}"));
    assert_eq!(pushed.canonical(), checked.canonical(), "one meaning on both ways to the daemon");
    Ok(Found { given: checked.canonical().trim_end().to_owned(), warnings: each(&checked.warnings) })
}

fn of_modules(modules: &BTreeMap<String, String>) -> Outcome {
    let checked = check_modules(modules).map_err(|findings| texts(&findings))?;
    Ok(Found { given: checked.canonical().trim_end().to_owned(), warnings: each(&checked.warnings) })
}

fn each(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

fn texts(findings: &[Finding]) -> String {
    each(findings).join("; ")
}

fn typed(configs: &Value) -> Value {
    json!({"apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig", "configs": configs})
}

fn resolved(base: Option<(&str, &str)>, shoot: Option<&Value>) -> Result<Effective, Problems> {
    let base = base.map(|(key, text)| BTreeMap::from([(key.to_owned(), text.to_owned())]));
    resolve(base.as_ref(), shoot, &Facts::default())
}

fn of_configs(base: Option<(&str, &str)>, shoot: Option<&Value>) -> Outcome {
    let effective = resolved(base, shoot).map_err(|problems| problems.to_string())?;
    let Backend::CriResmgr(daemon) = &effective.backend else { panic!("{effective:?}") };
    let given = match effective.dynamic.get("cri-resmgr-config.default") {
        Some(modules) => check_modules(modules).unwrap().canonical().to_owned(),
        None => daemon.force_config.clone().or(daemon.fallback_config.clone()).unwrap_or_default(),
    };
    let mut warnings: Vec<_> = effective.warnings.iter().map(ToString::to_string).collect();
    // What is said of a pushed configuration below a force configuration is not about its text.
    warnings.retain(|warning| !warning.ends_with("while there is a force configuration"));
    Ok(Found { given: given.trim_end().to_owned(), warnings })
}

fn of_options(base: Option<(&str, &str)>, shoot: Option<&Value>) -> Outcome {
    let effective = resolved(base, shoot).map_err(|problems| problems.to_string())?;
    let warnings = effective.warnings.iter().map(ToString::to_string).collect();
    let Backend::CriResmgr(daemon) = effective.backend else { panic!("not cri-resmgr") };
    Ok(Found { given: daemon.extra_options, warnings })
}
