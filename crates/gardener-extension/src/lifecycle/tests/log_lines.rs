//! The lines that an operator gets: written by the real JSON layer, which a process has once, so this test runs itself in a process of its own.

use std::collections::HashSet;
use std::fmt;
use std::process::Command;

use observability::LogConfig;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::*;

/// Set in the process that writes the lines.
const WRITER: &str = "GARDENER_EXTENSION_TEST_WRITES_LOG_LINES";
const THIS_TEST: &str = "lifecycle::tests::log_lines::lines_are_objects_with_unique_keys";

/// JSON in which no object has a key twice; `serde_json::Value` would keep the last one silently.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut map = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Unique(map.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Unique(all.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }
}

#[test]
fn reader_refuses_duplicate_keys() {
    assert!(serde_json::from_str::<Unique>(r#"{"a":[{"b":1,"c":null}],"b":true}"#).is_ok());
    for twice in [r#"{"message":"a","message":"b"}"#, r#"{"span":{"a":1,"a":1}}"#, r#"[{"a":"","b":0.5,"a":-1}]"#] {
        assert!(serde_json::from_str::<Unique>(twice).is_err(), "{twice}");
    }
}

/// Everything that can become of an operation: done, pending, overdue, refused, failed; API errors, a refused status, a failed Shoot.
fn write_lines() {
    observability::logging::init(&LogConfig { level: "gardener_extension=trace".to_owned(), ..LogConfig::default() })
        .unwrap();
    let ask = |operation| Step::Act(Act::Ask(operation));
    let round = |operation| [ask(operation), Step::Observe, Step::Look];
    let history = History {
        steps: ["reconcile", "migrate", "restore", "reconcile", "reconcile"].into_iter().flat_map(round).collect(),
        interruptions: Vec::new(),
        fates: [vec![Fate::Served; 9], vec![Fate::Failed, Fate::Conflict, Fate::Failed]].concat(),
        results: vec![Verdict::Configuration, Verdict::Transient, Verdict::Pending, Verdict::Pending, Verdict::Done],
    };
    assert_eq!(run(&history), [""; 0]);
    let deletion = vec![ask("reconcile"), Step::Observe, Step::Look, Step::Act(Act::Delete), Step::Observe, Step::Look];
    let failed = [Step::Act(Act::ShootFailed(true)), ask("reconcile"), Step::Observe, Step::Look];
    for (steps, results) in [(deletion, vec![Verdict::Done, Verdict::Pending]), (failed.to_vec(), Vec::new())] {
        let history = History { steps, interruptions: Vec::new(), fates: Vec::new(), results };
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
        .map(|line| match serde_json::from_str::<Unique>(line) {
            Ok(Unique(value)) => value,
            Err(error) => panic!("{error}: {line}"),
        })
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
    // In the model every wait is overdue at once, so none is told.
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
