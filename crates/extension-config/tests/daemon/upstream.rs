//! What upstream itself publishes: each sample, each configuration of its end-to-end tests, each snippet of its documentation, read from the
//! Go module that the payload is built from. Our verdict stands beside the daemon's, on a machine of upstream's own tests: two sockets, four
//! dies, 112 CPUs. Only places and verdicts are kept here, no text.
//!
//! Needs `CRI_RESMGR` and `CRI_RESMGR_SOURCE`, the module's directory, and tar with bzip2.

use std::fmt::Write as _;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

use extension_config::cri_resmgr::check;

use super::{accepts, accepts_canonical};

/// Machines that upstream has recorded, and the one taken.
const MACHINES: &str = "pkg/cri/resource-manager/policy/builtin/topology-aware/testdata/sysfs.tar.bz2";
const MACHINE: &str = "sysfs/server";
/// As many are there at least in v0.9.2: fewer were not found.
const FILES: usize = 41;
const SNIPPETS: usize = 18;

/// A configuration and where upstream has it.
struct Published {
    place: String,
    text: String,
}

#[test]
#[ignore = "needs the daemon's binary in CRI_RESMGR and upstream's module in CRI_RESMGR_SOURCE"]
fn upstreams_published_configurations_get_the_same_verdict_from_both() {
    let module = PathBuf::from(std::env::var_os("CRI_RESMGR_SOURCE").expect("CRI_RESMGR_SOURCE names the module"));
    let directory = tempfile::tempdir().unwrap();
    let machine = recorded_machine(&module, directory.path()).unwrap();
    let (files, snippets) = (files(&module).unwrap(), snippets(&module).unwrap());
    assert!(files.len() >= FILES && snippets.len() >= SNIPPETS, "{} files, {} snippets", files.len(), snippets.len());
    let daemon = PathBuf::from(std::env::var_os("CRI_RESMGR").expect("CRI_RESMGR names the daemon's binary"));
    let raw = directory.path().join("raw.cfg");
    let mut table = String::new();
    let mut wrong = Vec::new();
    for Published { place, text } in files.into_iter().chain(snippets) {
        std::fs::write(&raw, &text).unwrap();
        let theirs = accepts(&daemon, &raw, Some(&machine)).unwrap();
        let ours = match check(&text) {
            Ok(checked) => {
                if theirs && !accepts_canonical(&daemon, checked.canonical(), Some(&machine)).unwrap() {
                    wrong.push(format!("{place}: the daemon does not take our form of it"));
                }
                if checked.warnings.is_empty() && checked.left_out.is_empty() {
                    "taken"
                } else {
                    "taken, with a warning"
                }
                .to_owned()
            }
            Err(findings) => format!("refused at {:?}", findings[0].path),
        };
        if !theirs && ours.starts_with("taken") {
            wrong.push(format!("{place}: we take it, the daemon ends"));
        }
        writeln!(table, "{place}: {ours}; the daemon {}", if theirs { "takes it" } else { "ends" }).unwrap();
    }
    insta::assert_snapshot!(table);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Its `/sys`, and the `/proc/stat` that one policy reads below the same root.
fn recorded_machine(module: &Path, directory: &Path) -> Result<PathBuf> {
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(module.join(MACHINES)).arg("--directory").arg(directory).arg(MACHINE);
    if !tar.status()?.success() {
        return Err(Error::other(format!("tar cannot read {MACHINES}")));
    }
    let machine = directory.join(MACHINE);
    std::fs::create_dir(machine.join("proc"))?;
    std::fs::copy("/proc/stat", machine.join("proc/stat"))?;
    Ok(machine)
}

fn files(module: &Path) -> Result<Vec<Published>> {
    let of = |path: PathBuf| Ok(Published { place: place(module, &path), text: std::fs::read_to_string(path)? });
    below(module, "cfg")?.into_iter().map(of).collect()
}

/// Blocks of YAML in the documentation that begin with a module of a configuration, numbered in their file.
fn snippets(module: &Path) -> Result<Vec<Published>> {
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
                found.push(Published { place: format!("{}#{number}", place(module, &path)), text: body.to_owned() });
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
