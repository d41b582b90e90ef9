//! A report for people, and one for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::report::{Finding, Judged, Unreadable};

/// What came of one file.
pub(crate) struct Checked<'a> {
    pub(crate) file: &'a str,
    pub(crate) judged: Result<Judged, Unreadable>,
}

/// Lines: a document's place and outcome, and below it each finding and warning.
pub(crate) fn text(all: &[Checked<'_>]) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{text}");
    };
    for Checked { file, judged } in all {
        let file = visible(file);
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => {
                line(format!("{file}: {}", visible(&error.to_string())));
                continue;
            }
        };
        for report in &judged.documents {
            line(format!("{file}:{}: {}: {}", report.line, report.kind.name(), visible(&report.outcome)));
            for (word, findings) in [("finding", &report.findings), ("warning", &report.warnings)] {
                for Finding { place, message } in findings {
                    let colon = if place.is_empty() { "" } else { ": " };
                    line(format!("  {word}: {}{colon}{}", visible(place), visible(message)));
                }
            }
        }
        for unreadable in &judged.unreadable {
            line(format!("{file}:{}: {}", unreadable.line, visible(&unreadable.reason)));
        }
        for skipped in &judged.skipped {
            line(format!("{file}:{}: skipped: {}", skipped.line, visible(&skipped.reason)));
        }
    }
    out
}

/// A file may hold what a terminal takes for a command.
fn visible(text: &str) -> String {
    let shown = |character: char| if character.is_control() && character != '\n' { '\u{fffd}' } else { character };
    text.chars().map(shown).collect::<String>().trim_end().replace('\n', "\n    ")
}

#[derive(Serialize)]
struct Json<'a> {
    files: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    #[serde(flatten)]
    judged: Option<&'a Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One object: `files`, each with its `documents`, or an `error`.
pub(crate) fn json(all: &[Checked<'_>]) -> Result<String, serde_json::Error> {
    let files = all.iter().map(|Checked { file, judged }| Entry {
        file,
        judged: judged.as_ref().ok(),
        error: judged.as_ref().err().map(ToString::to_string),
    });
    serde_json::to_string_pretty(&Json { files: files.collect() }).map(|text| text + "\n")
}
