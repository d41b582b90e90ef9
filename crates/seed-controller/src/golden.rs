//! The controller's command line, metrics and Event reasons, as they are.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use clap::CommandFactory;
use extension_config::NodeEvent;
use prometheus_client::registry::Registry;

use crate::base_config::BaseConfigWatch;
use crate::configuration::BaseConfig;
use crate::options::Options;
use crate::reason;

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
    options(&Options::command(), "", &mut table);
    insta::assert_snapshot!(table);
}

/// Those of the engine have a golden file there.
#[test]
fn metrics() {
    let mut registry = Registry::default();
    let _watch = BaseConfigWatch::new(Arc::new(BaseConfig::default()), &mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    insta::assert_snapshot!(text);
}

macro_rules! reasons {
    ($($name:ident)*) => {
        [$((stringify!($name), reason::$name)),*]
    };
}

#[test]
fn reasons_of_events_and_errors() {
    let reasons = reasons!(
        NODES_AS_DESIRED NODES_NOT_AS_DESIRED NODES_NOT_AWAITED SWITCHES_HALTED SWITCHES_RESUMED CONFIGURATION_KEPT
        CONFIGURATION_WARNING WORKER_POOLS_LEFT_ALONE INVALID_BASE_CONFIG INVALID_PROVIDER_CONFIG NO_IMAGE CONFIGURATION_NOT_CHECKED RENDERING_FAILED
    );
    let declared = include_str!("reason.rs").matches("const ").count();
    assert_eq!(declared, reasons.len(), "each constant belongs into the golden file");
    assert_eq!(documented("Extension"), texts(&reasons.map(|(_, word)| word)));
    let mut table = String::new();
    for (name, value) in reasons {
        writeln!(table, "{name} = {value}").unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Reasons of our Events on the Extension, and of the engine's.
fn texts(ours: &[&'static str]) -> BTreeSet<&'static str> {
    ours.iter().chain(gardener_extension::EVENT_REASONS).copied().collect()
}

/// Reasons in docs/events.md of Events on this kind of object.
fn documented(object: &str) -> BTreeSet<&'static str> {
    let rows = include_str!("../../../docs/events.md").lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| cells[3] == object).map(|cells| cells[1].trim_matches('`')).collect()
}

#[test]
fn every_event_on_a_node_stands_in_the_documentation() {
    let all: BTreeSet<&str> = NodeEvent::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(documented("Node"), all);
    for line in include_str!("../../../docs/events.md").lines().filter(|line| line.starts_with("| `CriResmgr")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let event = NodeEvent::parse(cells[1].trim_matches('`')).unwrap();
        assert_eq!(cells[2], if event.is_warning() { "Warning" } else { "Normal" }, "{event:?}");
        assert!(cells.len() == 7 && !cells[4].is_empty() && !cells[5].is_empty(), "{line}");
    }
}
