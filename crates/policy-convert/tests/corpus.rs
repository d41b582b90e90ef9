//! Documents of our own with all that comes of them. `# node-cpus: N` in the first line: the smallest node has so many.

use std::collections::BTreeSet;
use std::path::Path;

use extension_config::{ConfigKey, provider_config};
use policy_convert::read::{Reading, read};
use policy_convert::{Conversion, Rule, convert, render};

/// What is printed for a providerConfig is one that the controller takes.
fn is_taken(conversion: &Conversion, name: &str) {
    let mut config = render::provider_config(conversion);
    // Without a default policy it is a draft, and the report says what has to be decided.
    if let Some(fields) = config.as_object_mut().filter(|_| conversion.policies.contains_key(&ConfigKey::Default)) {
        fields.insert("apiVersion".to_owned(), provider_config::API_VERSION.into());
        fields.insert("kind".to_owned(), provider_config::KIND.into());
        let effective = extension_config::resolve(None, Some(&config), &extension_config::Facts::default());
        let problems = effective.err().map(|problems| problems.to_string());
        assert_eq!(problems, None, "{name}");
    }
}

#[test]
fn each_document_has_its_outcome() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "the corpus shrank to {}", files.len());
    let mut seen = BTreeSet::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut reading = Reading::default();
        read("FILE", &text, &ConfigKey::Default, &mut reading).unwrap_or_else(|error| panic!("{name}: {error}"));
        let first = text.lines().next().unwrap_or_default();
        reading.input.node_cpus = first.strip_prefix("# node-cpus: ").map(|number| number.parse().unwrap());
        let conversion = convert(reading.input).unwrap();
        seen.extend(conversion.report.entries().map(|entry| entry.rule));
        let accepted = BTreeSet::new();
        insta::assert_snapshot!(name.clone(), render::text(&conversion, &accepted).unwrap());
        is_taken(&conversion, &name);
        // The three forms say the same.
        let entries = conversion.report.entries().count();
        let rows = render::markdown(&conversion, &accepted).unwrap();
        assert_eq!(rows.lines().filter(|line| line.starts_with("| ")).count(), entries + 1, "{name}");
        let json: serde_json::Value = serde_json::from_str(&render::json(&conversion, &accepted).unwrap()).unwrap();
        let listed = ["keys", "whole"].map(|list| json["report"][list].as_array().unwrap().len());
        assert_eq!(listed.iter().sum::<usize>(), entries, "{name}");
    }
    let missing: Vec<&str> = Rule::ALL.iter().filter(|rule| !seen.contains(rule)).map(|rule| rule.id()).collect();
    assert!(missing.is_empty(), "no document of the corpus has {missing:?}");
}
