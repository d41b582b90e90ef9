//! What is found in a document: the first few of it, and how much more there is; and a bound on the work.

use std::fmt;

use crate::limits;

/// Something in a configuration that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: `policy.balloons.BalloonTypes[0].Name`; empty for the whole.
    pub path: String,
    /// What, and what is allowed.
    pub message: String,
    /// So many others this one stands for, which are not listed; 0 for one that is listed itself.
    pub omitted: usize,
}

impl Finding {
    pub(crate) fn new(path: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self {
            path: limits::cut(path.as_ref(), limits::PATH_CHARACTERS),
            message: limits::cut(message.as_ref(), limits::MESSAGE_CHARACTERS),
            omitted: 0,
        }
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

/// Where something stands. Made on the way down at no cost, and put into words only when there is something to report.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Document,
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => Ok(()),
            Self::Key(Self::Document, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Work that may still be done. A thread cannot be cancelled, so whoever works counts.
#[derive(Debug)]
pub(crate) struct Steps(u64);

/// All steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex;

impl fmt::Display for TooComplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too complex: all configurations together take more than {} steps to check", limits::STEPS)
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self(limits::STEPS)
    }
}

impl Steps {
    /// Takes some; where there are not as many, none are left for anything else either.
    pub(crate) fn take(&mut self, count: usize) -> Result<(), TooComplex> {
        let left = self.0.checked_sub(count as u64);
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(TooComplex)
    }

    /// How many were taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        limits::STEPS - self.0
    }
}
