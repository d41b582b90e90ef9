//! What is said of each key, and of each policy as a whole.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::key::Key;
use crate::limits;
use crate::path;
use crate::rule::{Grade, Rule};

/// What is said of one key, or of a policy as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// Document and key: `default/policy.balloons.PinCPU`. In the report of a whole it may be a key that nobody wrote.
    pub path: String,
    /// What becomes of it.
    pub grade: Grade,
    /// Why.
    pub rule: Rule,
    /// Rule and path; by it an owner accepts what has changed or is lost.
    pub id: String,
    /// Where it stands in the new policy, or the new annotation; nothing where it stands nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub becomes: Option<String>,
    /// What is different, with an example. Empty for what is the same in every respect.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Entry {
    fn new(path: String, rule: Rule, becomes: Option<String>, text: &str) -> Self {
        let id = format!("{}:{path}", rule.id());
        Self { path, grade: rule.grade(), rule, id, becomes, text: limits::cut(text, limits::TEXT_CHARACTERS) }
    }
}

/// What works in the new policy, but perhaps not as its author thinks. It is nothing that has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// Document and place in the new policy: `default/spec.cpuClasses[0].minFreq`.
    pub path: String,
    /// What.
    pub text: String,
}

/// What is said of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each leaf key of the input, once, in the order of their paths.
    pub keys: Vec<Entry>,
    /// What follows from several keys, or from one that is absent.
    pub whole: Vec<Entry>,
    /// Warnings about the new policies: for each the first [`nri_policy::limits::WARNINGS`].
    pub notes: Vec<Note>,
}

/// Whether a configuration can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing changes.
    AsIs,
    /// Everything that changes or is lost is accepted.
    Accepted,
    /// What changes or is lost has to be accepted by its id.
    NeedsAcceptance,
    /// Something has to be decided first: the input has to be changed.
    NeedsDecision,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::AsIs => "can be taken over, nothing changes meaning",
            Self::Accepted => "can be taken over, all that changes or is lost is accepted",
            Self::NeedsAcceptance => "can be taken over once what changes or is lost is accepted",
            Self::NeedsDecision => "cannot be taken over before something is decided",
        }
    }
}

impl Report {
    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.keys.iter().chain(&self.whole)
    }

    /// The entries that stand in the way, unless they are among the accepted ids. What needs a decision cannot be accepted.
    pub fn open<'a>(&'a self, accepted: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Entry> {
        self.entries().filter(move |entry| match entry.grade {
            Grade::Same => false,
            Grade::ChangedMeaning | Grade::Lost => !accepted.contains(&entry.id),
            Grade::NeedsDecision => true,
        })
    }

    /// The verdict, where these ids are accepted.
    #[must_use]
    pub fn verdict(&self, accepted: &BTreeSet<String>) -> Verdict {
        let worst = self.open(accepted).map(|entry| match entry.grade {
            Grade::NeedsDecision => Verdict::NeedsDecision,
            _ => Verdict::NeedsAcceptance,
        });
        worst.max().unwrap_or_else(|| {
            let nothing = self.entries().all(|entry| entry.grade == Grade::Same);
            if nothing { Verdict::AsIs } else { Verdict::Accepted }
        })
    }

    /// Accepted ids of which the report has none that could be accepted.
    #[must_use]
    pub fn unknown<'a>(&self, accepted: &'a BTreeSet<String>) -> Vec<&'a str> {
        let open: BTreeSet<&str> = self
            .entries()
            .filter(|entry| matches!(entry.grade, Grade::ChangedMeaning | Grade::Lost))
            .map(|entry| entry.id.as_str())
            .collect();
        accepted.iter().map(String::as_str).filter(|id| !open.contains(id)).collect()
    }

    /// Notes what becomes of a key, and with it of all that is in it.
    pub(crate) fn key(&mut self, key: Key, rule: Rule, becomes: Option<&str>, text: &str) {
        let Key { path, value, level } = key;
        path::leaves(&value, &path, level, &mut |leaf| {
            self.keys.push(Entry::new(leaf, rule, becomes.map(str::to_owned), text));
        });
    }

    /// A key that means the same there.
    pub(crate) fn same(&mut self, key: Key, becomes: &str) {
        self.key(key, Rule::Same, Some(becomes), "");
    }

    /// A key that did nothing.
    pub(crate) fn no_effect(&mut self, key: Key, why: &str) {
        self.key(key, Rule::NoEffect, None, why);
    }

    /// A key with a value that cri-resmgr does not take.
    pub(crate) fn invalid(&mut self, key: Key, allowed: &str) {
        let text = format!("is {}, allowed: {allowed}", key.shown());
        self.key(key, Rule::InvalidValue, None, &text);
    }

    /// Notes something of a policy as a whole.
    pub(crate) fn whole(&mut self, path: String, rule: Rule, text: &str) {
        self.whole.push(Entry::new(path, rule, None, text));
    }

    /// Notes a warning about a new policy.
    pub(crate) fn note(&mut self, path: String, text: &str) {
        self.notes.push(Note { path, text: limits::cut(text, limits::TEXT_CHARACTERS) });
    }

    /// In the order of paths.
    pub(crate) fn sort(&mut self) {
        self.keys.sort();
        self.whole.sort();
        self.notes.sort();
        // Two faults of one place are two sentences of one entry.
        self.whole.dedup_by(|next, first| {
            let is_same = next.id == first.id;
            if is_same && next.text != first.text {
                first.text = limits::cut(&format!("{}; {}", first.text, next.text), limits::TEXT_CHARACTERS);
            }
            is_same
        });
    }
}
