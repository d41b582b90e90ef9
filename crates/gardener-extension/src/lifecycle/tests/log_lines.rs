//! The lines that an operator gets: written by the real JSON layer, which a process has once, so this test runs itself in a process of its own.

use std::collections::HashSet;
use std::process::Command;

use observability::LogConfig;
use serde_json::Value;

use super::*;

/// Set in the process that writes the lines.
const WRITER: &str = "GARDENER_EXTENSION_TEST_WRITES_LOG_LINES";
const THIS_TEST: &str = "lifecycle::tests::log_lines::lines_are_objects_with_unique_keys";

/// Everything that can become of an operation: done, pending, overdue, refused, failed; API errors, a refused status, a failed Shoot.
fn write_lines() {
    observability::logging::init(&LogConfig { level: "gardener_extension=trace".to_owned(), ..LogConfig::default() })
        .unwrap();
    let annotate = |operation| Step::ExternalEvent(ExternalEvent::Annotate(operation));
    let round = |operation| [annotate(operation), Step::Observe, Step::Reconcile];
    let history = History {
        steps: ["reconcile", "migrate", "restore", "reconcile", "reconcile"].into_iter().flat_map(round).collect(),
        interruptions: Vec::new(),
        api_outcomes: [vec![ApiOutcome::Served; 9], vec![ApiOutcome::Failed, ApiOutcome::Conflict, ApiOutcome::Failed]]
            .concat(),
        results: vec![
            ActuatorOutcome::Configuration,
            ActuatorOutcome::Transient,
            ActuatorOutcome::Pending,
            ActuatorOutcome::Pending,
            ActuatorOutcome::Done,
        ],
    };
    assert_eq!(run(&history), [""; 0]);
    let deletion = vec![
        annotate("reconcile"),
        Step::Observe,
        Step::Reconcile,
        Step::ExternalEvent(ExternalEvent::Delete),
        Step::Observe,
        Step::Reconcile,
    ];
    let failed =
        [Step::ExternalEvent(ExternalEvent::ShootFailed(true)), annotate("reconcile"), Step::Observe, Step::Reconcile];
    for (steps, results) in
        [(deletion, vec![ActuatorOutcome::Done, ActuatorOutcome::Pending]), (failed.to_vec(), Vec::new())]
    {
        let history = History { steps, interruptions: Vec::new(), api_outcomes: Vec::new(), results };
        assert_eq!(run(&history), [""; 0]);
    }
}

#[test]
fn lines_are_objects_with_unique_keys() {
    if std::env::var_os(WRITER).is_some() {
        return write_lines();
    }
    let this = std::env::current_exe().unwrap();
    let writer = Command::new(this).args([THIS_TEST, "--exact", "--nocapture"]).env(WRITER, "1").output().unwrap();
    let text = String::from_utf8(writer.stderr).unwrap();
    assert!(writer.status.success(), "{}\n{text}", String::from_utf8_lossy(&writer.stdout));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| observability::json_lines::parse(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let mut messages = HashSet::new();
    for line in &lines {
        let message = line["message"].as_str().unwrap_or_default();
        assert!(message.contains(' '), "not a phrase: {line}");
        messages.insert(message);
        // The keys that people filter by stay where they were, beside the span.
        assert_eq!(line["object.ref"], "ns/e", "{line}");
        assert_eq!(line["span"]["name"], "reconcile", "{line}");
        assert_eq!(line["span"]["object.ref"], "ns/e", "{line}");
        if !line["operation"].is_null() {
            assert_eq!(line["span"]["operation"], line["operation"], "{line}");
            assert!(line["span"]["generation"].is_number(), "{line}");
        }
    }
    // In the model every wait is overdue at once, so none is logged.
    for expected in [
        "started the operation",
        "completed the operation",
        "failed the operation",
        "cannot reconcile the Extension; retrying",
        "leaving the Extension alone",
    ] {
        assert!(messages.contains(expected), "{expected}: {messages:?}");
    }
}
