//! What is found in a policy: the first few of it, and how much more there is.

use std::fmt;

use serde_json::Value;

use crate::limits;
use crate::risk::Risk;

/// Something in a policy that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: `spec.balloonTypes[2].maxCPUs`; `spec` for the whole, `accept[0]` for an id that was accepted.
    pub path: String,
    /// What, with the value (shortened), and what is allowed.
    pub message: String,
    /// Set when it may be accepted: the owner takes this risk by its id.
    pub risk: Option<Risk>,
    /// So many others this one stands for, which are not listed; 0 for one that is listed itself.
    pub omitted: usize,
}

impl Finding {
    pub(crate) fn new(path: impl fmt::Display, message: impl AsRef<str>) -> Self {
        Self {
            path: limits::cut(&path.to_string(), limits::PATH_CHARACTERS),
            message: limits::cut(message.as_ref(), limits::MESSAGE_CHARACTERS),
            risk: None,
            omitted: 0,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Findings, of which only the first few are kept.
#[derive(Debug)]
pub(crate) struct Report {
    most: usize,
    findings: Vec<Finding>,
    more: usize,
}

impl Report {
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self { most, findings: Vec::new(), more: 0 }
    }

    /// Notes a finding; it is put into words only if there is room for it.
    pub(crate) fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.findings.len() < self.most {
            self.findings.push(finding());
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// All that is kept, and a last one for the rest.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let rest = Finding::new("", format!("and {} more", self.more));
            self.findings.push(Finding { omitted: self.more, ..rest });
        }
        self.findings
    }
}

/// What a check has found so far, and what the owner accepts.
#[derive(Debug)]
pub(crate) struct CheckOutcome {
    pub(crate) faults: Report,
    pub(crate) warnings: Report,
    accepted: Vec<Risk>,
}

impl CheckOutcome {
    pub(crate) fn new(accepted: Vec<Risk>) -> Self {
        Self { faults: Report::of_at_most(limits::FINDINGS), warnings: Report::of_at_most(limits::WARNINGS), accepted }
    }

    pub(crate) fn fault(&mut self, path: impl fmt::Display, message: impl AsRef<str>) {
        self.faults.push(|| Finding::new(path, message));
    }

    pub(crate) fn warning(&mut self, path: impl fmt::Display, message: impl AsRef<str>) {
        self.warnings.push(|| Finding::new(path, message));
    }

    /// A fault, unless the owner accepts it by its id: then a warning.
    pub(crate) fn risk(&mut self, risk: Risk, path: impl fmt::Display, message: impl fmt::Display) {
        let is_accepted = self.accepted.contains(&risk);
        let (report, end) = if is_accepted {
            (&mut self.warnings, format!("accepted as {risk}"))
        } else {
            (&mut self.faults, format!("to allow it, accept {risk}"))
        };
        report.push(|| Finding { risk: Some(risk), ..Finding::new(path, format!("{message}; {end}")) });
    }
}

/// Where something stands. Made on the way down at no cost, and put into words only when there is something to report.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Spec,
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Place::Key(self, key)
    }

    pub(crate) fn item(&'a self, index: usize) -> Self {
        Place::Item(self, index)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => f.write_str("spec"),
            // A key may be anything of any length; a path stays on one line and short.
            Self::Key(parent, key) => {
                write!(f, "{parent}.{}", limits::cut(key, limits::VALUE_CHARACTERS).escape_debug())
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value for a message, short and on one line.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        // Not put into words: it may be long.
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => format!("a map of {}", map.len()),
        _ => value.to_string(),
    }
}

/// A text for a message, short and on one line.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", limits::cut(text, limits::VALUE_CHARACTERS).escape_debug())
}
