//! What upstream itself publishes: the verdict and the ids of each sample, each configuration of its end-to-end tests and each snippet of its
//! documentation, read from the Go module. Only places, verdicts and ids are kept here, no text.
//!
//! Needs `CRI_RESMGR_SOURCE`, the module's directory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Result;
use std::path::{Path, PathBuf};

use extension_config::ConfigKey;
use policy_convert::read::{Reading, read};
use policy_convert::{Grade, convert};

/// As many are there at least in v0.9.2: fewer were not found.
const FILES: usize = 41;
const SNIPPETS: usize = 18;

#[test]
#[ignore = "needs upstream's module in CRI_RESMGR_SOURCE"]
fn upstreams_published_configurations_have_their_verdict() {
    let module = PathBuf::from(std::env::var_os("CRI_RESMGR_SOURCE").expect("CRI_RESMGR_SOURCE names the module"));
    let (files, snippets) = (files(&module).unwrap(), snippets(&module).unwrap());
    assert!(files.len() >= FILES && snippets.len() >= SNIPPETS, "{} files, {} snippets", files.len(), snippets.len());
    let mut table = String::new();
    for (place, text) in files.into_iter().chain(snippets) {
        let mut reading = Reading::default();
        if let Err(error) = read(&place, &text, &ConfigKey::Default, &mut reading) {
            // Without the message: it could have some of the text.
            writeln!(table, "{}: not read", error.file).unwrap();
            continue;
        }
        let conversion = convert(reading.input).unwrap();
        let report = &conversion.report;
        let same = report.entries().filter(|entry| entry.grade == Grade::Same).count();
        let policies = conversion.policies.values().map(|policy| policy.kind.name()).collect::<Vec<_>>().join(", ");
        writeln!(table, "{place}: {:?} [{policies}], {same} the same", report.verdict(&BTreeSet::new())).unwrap();
        for entry in report.entries().filter(|entry| entry.grade != Grade::Same) {
            writeln!(table, "  {}", entry.id).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

fn files(module: &Path) -> Result<Vec<(String, String)>> {
    let of = |path: PathBuf| Ok((place(module, &path), std::fs::read_to_string(path)?));
    below(module, "cfg")?.into_iter().map(of).collect()
}

/// Blocks of YAML in the documentation that begin with a module of a configuration, numbered in their file.
fn snippets(module: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for path in below(&module.join("docs"), "md")? {
        let text = std::fs::read_to_string(&path)?;
        let blocks = text.split("```").skip(1).step_by(2);
        for (number, block) in blocks.enumerate().map(|(at, block)| (at + 1, block)) {
            let (language, body) = block.split_once('\n').unwrap_or_default();
            let first = body.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
            let is_configuration = ["policy:", "cpu:", "rdt:", "blockio:", "logger:", "instrumentation:", "dump:"]
                .iter()
                .any(|module| first.starts_with(module));
            if matches!(language.trim(), "yaml" | "yml" | "") && is_configuration {
                found.push((format!("{}#{number}", place(module, &path)), body.to_owned()));
            }
        }
    }
    Ok(found)
}

/// Files with this extension, in the order of their paths.
fn below(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn place(module: &Path, path: &Path) -> String {
    path.strip_prefix(module).unwrap_or(path).display().to_string()
}
