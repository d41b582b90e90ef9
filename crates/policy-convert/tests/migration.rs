//! What a Shoot that goes over to nri-plugins gets is what the command says beforehand: the same ids, the same policies.

use std::collections::BTreeSet;
use std::path::Path;

use extension_config::{ConfigKey, Facts, Problems, provider_config};
use policy_convert::read::{Reading, read};
use policy_convert::{Conversion, Grade, Input, convert, resolve};
use serde_json::{Map, Value, json};

/// A providerConfig with these configurations, which asks to go over.
fn shoot(input: &Input, accept: &BTreeSet<String>) -> Value {
    let mut configs = Map::new();
    for (key, document) in &input.documents {
        let (list, name) = match key {
            ConfigKey::Group(name) => ("groups", name),
            ConfigKey::Node(name) => ("nodes", name),
            ConfigKey::ExtraOptions => {
                configs.insert("extraOptions".to_owned(), document.clone());
                continue;
            }
            ConfigKey::Default | ConfigKey::Fallback | ConfigKey::Force => {
                configs.insert(key.to_string(), document.clone());
                continue;
            }
        };
        configs.entry(list).or_insert_with(|| json!({}))[name] = document.clone();
    }
    json!({
        "apiVersion": provider_config::API_VERSION, "kind": provider_config::KIND, "backend": "nri-plugins",
        "configs": configs, "migration": { "from": "cri-resmgr", "accept": accept },
    })
}

fn acceptable(conversion: &Conversion) -> BTreeSet<String> {
    let open = conversion.report.entries().filter(|entry| matches!(entry.grade, Grade::ChangedMeaning | Grade::Lost));
    open.map(|entry| entry.id.clone()).collect()
}

fn text(problems: &Problems) -> String {
    problems.to_string()
}

#[test]
fn the_controller_asks_for_the_ids_of_the_command_and_delivers_its_policies() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (mut gone_over, mut refused) = (0, 0);
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut reading = Reading::default();
        read("FILE", &std::fs::read_to_string(&path).unwrap(), &ConfigKey::Default, &mut reading).unwrap();
        // Adjustments and annotations are not the controller's to see.
        let input = Input { documents: reading.input.documents, ..Input::default() };
        if input.documents.is_empty() {
            continue;
        }
        let conversion = convert(input.clone()).unwrap();
        let all = acceptable(&conversion);
        match resolve(None, Some(&shoot(&input, &all)), &Facts::default()) {
            Ok(effective) => {
                gone_over += 1;
                let delivered = effective.dynamic.keys().filter(|map| map.starts_with("cri-resmgr-policy.")).count();
                assert_eq!(delivered, conversion.policies.len(), "{name}");
                for id in &all {
                    let mut less = all.clone();
                    less.remove(id);
                    let problems = resolve(None, Some(&shoot(&input, &less)), &Facts::default()).unwrap_err();
                    assert!(text(&problems).contains(&format!("migration.accept: lacks {id}: ")), "{name}: {problems}");
                    assert!(problems.blames_the_shoot());
                }
            }
            Err(problems) => {
                refused += 1;
                let undecided = conversion.report.entries().any(|entry| entry.grade == Grade::NeedsDecision);
                let why = text(&problems);
                assert!(!why.contains("lacks "), "{name}: what is accepted is asked for: {why}");
                // Or cri-resmgr itself would not take it.
                assert!(undecided || !why.contains("needs a decision"), "{name}: {why}");
            }
        }
    }
    assert!(gone_over >= 8 && refused >= 8, "{gone_over} go over, {refused} do not: the corpus shrank");
}

#[test]
fn a_shoot_with_nothing_configured_has_to_take_what_the_policy_none_becomes() {
    let config = |accept: &[&str]| shoot(&Input::default(), &accept.iter().map(|&id| id.to_owned()).collect());
    let problems = resolve(None, Some(&config(&[])), &Facts::default()).unwrap_err();
    let id = "policy-none:fallback/policy.Active";
    assert!(text(&problems).contains(&format!("lacks {id}: ")), "{problems}");
    assert!(resolve(None, Some(&config(&[id])), &Facts::default()).is_ok());
}
