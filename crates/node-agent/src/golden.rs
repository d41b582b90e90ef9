//! The agent's command line, metrics, files and condition, as they are.

use std::fmt::Write;

use clap::CommandFactory;
use extension_config::names::node;
use extension_config::node_report::Stage;
use host::{FileAttributes, HostRoot, StateFile};
use node_plan::{Cause, Journal};
use prometheus_client::registry::Registry;

use crate::cli::Cli;
use crate::metrics::Metrics;
use crate::real::JOURNAL_VERSIONS;
use crate::shoot::readiness_condition;

/// Every option of a command and of its subcommands.
fn options(command: &clap::Command, path: &str, table: &mut String) {
    let path = format!("{path}{}", command.get_name());
    for argument in command.get_arguments() {
        let name = argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"));
        let variable = argument.get_env().map_or_else(|| "-".into(), |name| name.to_string_lossy().into_owned());
        let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        writeln!(table, "{path} {name} env {variable} default {default:?}").unwrap();
    }
    for subcommand in command.get_subcommands() {
        options(subcommand, &format!("{path} "), table);
    }
}

#[test]
fn command_line() {
    let mut table = String::new();
    options(&Cli::command(), "", &mut table);
    insta::assert_snapshot!(table);
}

#[test]
fn metrics() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.kubelet_restarted(Cause::Switch);
    metrics.daemon_restarted();
    metrics.failed();
    metrics.pushed("config", "accepted");
    metrics.status_written();
    metrics.stage_is(Stage::Installed);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    // Labels come in the order of a hash map.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"));
}

/// The journal's content has golden files in `node-plan`, the memory's in `dynamic-config`; this is what is around both.
#[test]
fn journal_and_memory_files_carry_their_version() {
    let directory = tempfile::tempdir().unwrap();
    let root = HostRoot::open(directory.path()).unwrap();
    for parent in [node::STATE_DIR, node::RUN_DIR] {
        root.create_directories(parent, FileAttributes::with_mode(0o700)).unwrap();
    }
    let text = |path: &str| String::from_utf8(root.read_optional(path, 1 << 20).unwrap().unwrap()).unwrap();
    let mode = |path: &str| root.metadata(path).unwrap().unwrap().mode;

    let file = StateFile::<Journal>::new(root.clone(), node::JOURNAL, JOURNAL_VERSIONS);
    file.write(Journal::default().version(), &Journal::default()).unwrap();
    assert_eq!(text(node::JOURNAL), include_str!("golden/journal.json"));
    assert_eq!((mode(node::JOURNAL), file.read().unwrap()), (0o600, Some(Journal::default())));

    let file = crate::dynamic::memory_file(&root);
    file.write(1, &dynamic_config::Memory::default()).unwrap();
    assert_eq!(text(node::DYNAMIC_MEMORY), include_str!("golden/dynamic.json"));
    assert_eq!((mode(node::DYNAMIC_MEMORY), file.read().unwrap()), (0o600, Some(dynamic_config::Memory::default())));
}

#[test]
fn readiness_gate_conditions_equal_their_golden_files() {
    let since = "2027-01-15T08:00:00.5Z".parse().unwrap();
    for (as_desired, message, golden) in [
        (true, "", include_str!("golden/condition-as-desired.json")),
        (false, "Working: 3 steps to do", include_str!("golden/condition-not-as-desired.json")),
    ] {
        let condition = readiness_condition(as_desired, message, since);
        assert_eq!(serde_json::to_string_pretty(&condition).unwrap(), golden.trim_end());
    }
}
