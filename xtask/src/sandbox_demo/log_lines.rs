//! What the programs have logged meanwhile, for whoever parses it: every line is JSON, no key stands in it twice, and its fields and spans are those of the
//! golden files.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use sandbox::Sandbox;
use serde_json::{Map, Value};

use crate::terminal::say;

/// What each crate gives, one crate a line.
const FIELDS: &str =
    include_str!("../../../crates/observability/src/snapshots/observability__golden__fields_of_log_lines.snap");
const SPANS: &str =
    include_str!("../../../crates/observability/src/snapshots/observability__golden__fields_of_spans.snap");
/// What every line has.
const STANDARD: [&str; 4] = ["timestamp", "level", "message", "target"];
/// Where a line has its span.
const SPAN: &str = "span";

/// Checks everything that the sandbox's programs have logged so far, and says how much that was.
pub(super) fn check(sandbox: &Sandbox) -> anyhow::Result<()> {
    let known = Known::from_golden_files(FIELDS, SPANS)?;
    let (logs, mut count) = (sandbox.logs()?, 0);
    for (name, text) in &logs {
        ensure!(!text.is_empty(), "{name} is empty");
        count += check_log(&known, text).with_context(|| name.clone())?;
    }
    let mut texts = 0;
    for (name, text) in sandbox.journals()? {
        texts += text.lines().count();
        // The gate writes text; of a program that writes JSON the lines would have to be as good as all others.
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines.map(observability::json_lines::parse).collect::<Result<Vec<_>, _>>().with_context(|| name.clone())?;
    }
    say(&format!(
        "{count} log lines in {} files: each is JSON with unique keys and known fields; {texts} lines of the gate are text",
        logs.len()
    ));
    Ok(())
}

/// Returns the number of lines.
fn check_log(known: &Known, text: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for line in text.lines() {
        known.check_line(line).with_context(|| line.to_owned())?;
        count += 1;
    }
    Ok(count)
}

/// What the golden files say.
struct Known {
    /// Fields of each crate, by its name in targets.
    fields: BTreeMap<String, BTreeSet<String>>,
    /// Fields of each span, whichever crate has it.
    spans: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    fn from_golden_files(fields: &str, spans: &str) -> anyhow::Result<Self> {
        let words = |text: &str| -> BTreeSet<String> { text.split_whitespace().map(str::to_owned).collect() };
        let fields = lines(fields)?.map(|(name, fields)| (name.replace('-', "_"), words(fields))).collect();
        let spans = lines(spans)?.flat_map(|(_, spans)| spans.split(", ")).filter_map(|span| span.split_once(' '));
        Ok(Self { fields, spans: spans.map(|(name, fields)| (name.to_owned(), words(fields))).collect() })
    }

    fn check_line(&self, line: &str) -> anyhow::Result<()> {
        let Value::Object(line) = observability::json_lines::parse(line)? else { bail!("not an object") };
        for key in STANDARD {
            let text = line.get(key).and_then(Value::as_str).unwrap_or_default();
            ensure!(!text.is_empty(), "{key} is missing or no text");
        }
        if let Some(span) = line.get(SPAN) {
            self.check_span(span.as_object().context("the span is no object")?)?;
        }
        let target = line.get("target").and_then(Value::as_str).unwrap_or_default();
        // Lines of libraries have the fields that those want.
        let Some(known) = self.fields.get(target.split("::").next().unwrap_or_default()) else { return Ok(()) };
        let unknown = |key: &&String| !STANDARD.contains(&key.as_str()) && *key != SPAN && !known.contains(*key);
        match line.keys().find(unknown) {
            Some(key) => bail!("the field {key:?} is not in the golden file"),
            None => Ok(()),
        }
    }

    fn check_span(&self, span: &Map<String, Value>) -> anyhow::Result<()> {
        let name = span.get("name").and_then(Value::as_str).context("the span has no name")?;
        let known = self.spans.get(name).with_context(|| format!("the span {name:?} is not in the golden file"))?;
        match span.keys().find(|key| *key != "name" && !known.contains(*key)) {
            Some(key) => bail!("the field {key:?} of the span {name:?} is not in the golden file"),
            None => Ok(()),
        }
    }
}

/// Crates of a snapshot, each with what follows its name.
fn lines(snapshot: &str) -> anyhow::Result<impl Iterator<Item = (&str, &str)>> {
    let (_header, content) = snapshot.split_once("\n---\n").context("a golden file has no header")?;
    Ok(content.lines().filter_map(|line| line.split_once(": ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str) -> String {
        let known = Known::from_golden_files(FIELDS, SPANS).unwrap();
        known.check_line(line).map_or_else(|error| format!("{error:#}"), |()| "known".to_owned())
    }

    fn line(more: &str) -> String {
        let standard = r#""timestamp":"2026-11-29T09:00:00Z","level":"INFO","message":"restarted kubelet""#;
        format!("{{{standard},{more}}}")
    }

    #[test]
    fn lines_with_known_fields_and_spans_are_accepted() {
        let round = r#""span":{"name":"round","node":"n1","desired":"0a1b2c3d"}"#;
        for more in [
            r#""target":"node_agent::agent","stage":"Installed""#.to_owned(),
            format!(r#""target":"node_agent::agent","reason":"x",{round}"#),
            // Whoever else logs within a span of ours.
            format!(r#""target":"kube_client::x","anything":1,{round}"#),
        ] {
            assert_eq!(outcome(&line(&more)), "known", "{more}");
        }
    }

    #[test]
    fn lines_that_a_parser_would_misread_are_refused_with_the_reason() {
        for (more, expected) in [
            (r#""target":"node_agent","message":"again""#, "duplicate key \"message\""),
            (r#""target":"node_agent","span":{"name":"round","node":"a","node":"b"}"#, "duplicate key \"node\""),
            (r#""target":"node_agent::agent","colour":"red""#, "the field \"colour\" is not in the golden file"),
            (r#""target":"lease","stage":"Installed""#, "the field \"stage\" is not in the golden file"),
            (r#""target":"node_agent","span":{"name":"work"}"#, "the span \"work\" is not in the golden file"),
            (
                r#""target":"node_agent","span":{"name":"round","message":"m"}"#,
                "the field \"message\" of the span \"round\" is not in the golden file",
            ),
            (r#""stage":"Installed""#, "target is missing or no text"),
        ] {
            assert!(outcome(&line(more)).starts_with(expected), "{more}: {}", outcome(&line(more)));
        }
        assert_eq!(
            outcome(r#"{"timestamp":"t","level":"INFO","message":"","target":"x"}"#),
            "message is missing or no text"
        );
        assert!(outcome("thread 'main' panicked at src/main.rs:1:1").starts_with("expected"));
    }
}
