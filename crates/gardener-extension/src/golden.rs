//! The engine's metrics, Event reasons and condition reasons, as they are.

use std::fmt::Write;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::health::REASONS;
use crate::metrics::Metrics;
use crate::{Operation, reason};

macro_rules! reasons {
    ($($name:ident)*) => {
        [$((stringify!($name), reason::$name)),*]
    };
}

#[test]
fn metrics() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.operation(Operation::Reconcile, reason::DONE, Duration::from_millis(20));
    metrics.engine_error(reason::CONFLICT);
    metrics.undecodable("Cluster");
    metrics.watch_error("Extension");
    metrics.queue((2, 1));
    metrics.extensions(3);
    metrics.observed(true);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    // Labels come in the order of a hash map.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn reasons_of_events_and_labels() {
    let reasons = reasons!(
        SUCCEEDED DONE PENDING OVERDUE DEADLINE_EXCEEDED STATUS_REFUSED UNDECODABLE INCOMPLETE CONFLICT API_ERROR API_TIMEOUT
        INVALID_PROVIDER_CONFIG
    );
    let declared = include_str!("reason.rs").matches(": &str = ").count();
    assert_eq!(declared, reasons.len(), "each constant belongs into the golden file");
    let mut table = String::new();
    for (name, value) in reasons {
        writeln!(table, "{name} = {value}").unwrap();
    }
    writeln!(table, "\nof the health condition:").unwrap();
    for reason in REASONS {
        writeln!(table, "{reason}").unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Actions of Events, labels of metrics.
#[test]
fn words_of_operations() {
    use Operation::{Create, Delete, ForceDelete, Migrate, Reconcile, Restore};
    let words = [Create, Reconcile, Delete, ForceDelete, Migrate, Restore].map(Operation::as_str);
    assert_eq!(words, ["Create", "Reconcile", "Delete", "ForceDelete", "Migrate", "Restore"]);
}
