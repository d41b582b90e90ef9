//! What the nodes of a shoot come to, by what their agents report. Pure. Whoever is root on a node writes what its agent reports: it is counted and
//! shown, within limits, and decides nothing.

mod agent_report;
mod limits;
mod notice;
mod status;

use std::collections::BTreeMap;

use extension_config::node_report::Stage;
use jiff::Timestamp;

pub(crate) use agent_report::{AgentReport, valid_name};
pub(crate) use notice::notice;
pub(crate) use status::{before, sentence, unseen};

use limits::{DISTINCT, NAMED, NAMED_WAITING};

/// A node that an agent works on, and what that agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) report: Report,
}

/// What is there of an agent's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// None.
    Missing,
    /// Something that is none.
    Unreadable,
    /// One.
    Present(AgentReport),
}

/// The nodes, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RollUp {
    count: usize,
    stages: BTreeMap<&'static str, usize>,
    without_report: usize,
    backends: Counts,
    versions: Counts,
    configurations: Counts,
    waiting: usize,
    /// The first names of those that wait for a slot.
    waiting_first: Vec<String>,
    /// Nodes that are held by a stop of all switches, and the first names of them.
    halted: usize,
    halted_first: Vec<String>,
    not_as_desired: usize,
    /// The first of them, those that need somebody before those that need time.
    first: Vec<Entry>,
}

/// Nodes by a word of theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    /// The most frequent words.
    first: BTreeMap<String, usize>,
    /// Nodes with any other word.
    others: usize,
}

/// A node that is not as desired.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    /// One of the stages, or [`WITHOUT_REPORT`].
    stage: &'static str,
    reason: String,
    since: Timestamp,
}

/// In place of a stage.
const WITHOUT_REPORT: &str = "WithoutReport";

/// Since when a node is in a stage, as it was reported before.
pub(crate) type Before = BTreeMap<String, (String, Timestamp)>;

/// Counts the nodes. `before`: what was said of them the last time.
pub(crate) fn roll_up(nodes: &[Node], before: &Before, now: Timestamp) -> RollUp {
    let mut all = RollUp { count: nodes.len(), ..RollUp::default() };
    let (mut backends, mut versions, mut configurations) = (Words::default(), Words::default(), Words::default());
    let (mut bad, mut waiting, mut halted): (Vec<&Node>, Vec<&str>, Vec<&str>) = Default::default();
    for node in nodes {
        if let Report::Present(reported) = &node.report {
            *all.stages.entry(reported.stage.as_str()).or_default() += 1;
            // What is on no node is of no backend.
            backends.add(reported.backend.as_deref());
            versions.add(reported.version.as_deref());
            configurations.add(reported.desired.as_deref());
            if reported.is_halted {
                halted.push(&node.name);
            } else if reported.awaits_slot {
                waiting.push(&node.name);
            }
        } else {
            all.without_report += 1;
        }
        if !is_as_desired(node) {
            bad.push(node);
        }
    }
    (all.backends, all.versions, all.configurations) = (backends.counts(), versions.counts(), configurations.counts());
    waiting.sort_unstable();
    all.waiting = waiting.len();
    all.waiting_first = waiting.into_iter().take(NAMED_WAITING).map(str::to_owned).collect();
    halted.sort_unstable();
    all.halted = halted.len();
    all.halted_first = halted.into_iter().take(NAMED_WAITING).map(str::to_owned).collect();
    bad.sort_by_key(|node| (urgency(node), &node.name));
    all.not_as_desired = bad.len();
    all.first = bad.into_iter().take(NAMED).map(|node| entry(node, before, now)).collect();
    all
}

/// As the agents themselves judge it when they open the gate of their pods.
fn is_as_desired(node: &Node) -> bool {
    matches!(&node.report, Report::Present(reported) if matches!(reported.stage, Stage::Installed | Stage::Clean) && reported.message.is_empty())
}

/// Who needs somebody comes first, and last who only needs time.
fn urgency(node: &Node) -> u8 {
    match &node.report {
        Report::Present(reported) => match reported.stage {
            Stage::RolledBack => 0,
            Stage::Blocked => 1,
            Stage::Installed | Stage::Clean => 2,
            Stage::Undecided => 3,
            Stage::Working if reported.awaits_slot => 6,
            Stage::Working => 5,
        },
        Report::Missing | Report::Unreadable => 4,
    }
}

fn entry(node: &Node, before: &Before, now: Timestamp) -> Entry {
    let (stage, reason, said) = match &node.report {
        Report::Missing => (WITHOUT_REPORT, "its agent has not reported".to_owned(), None),
        Report::Unreadable => (WITHOUT_REPORT, "what its agent has reported cannot be read".to_owned(), None),
        Report::Present(reported) => (reported.stage.as_str(), reported.message.clone(), reported.since),
    };
    // A clock that is ahead of ours says nothing; it would be another time at each check.
    let said = said.filter(|said| *said <= now);
    let known = before.get(&node.name).filter(|(known, _)| known == stage).map(|(_, since)| *since);
    // An agent's time is that of its last word: the stage may have begun before that.
    let since = match (said, known) {
        (Some(said), Some(known)) => said.min(known),
        (Some(since), None) | (None, Some(since)) => since,
        (None, None) => now,
    };
    Entry { name: node.name.clone(), stage, reason, since }
}

impl RollUp {
    /// Nothing more is awaited of any node.
    pub(crate) fn is_settled(&self) -> bool {
        self.not_as_desired == 0
    }
}

/// Words with their numbers, while they are counted.
#[derive(Default)]
struct Words<'a>(BTreeMap<&'a str, usize>);

impl<'a> Words<'a> {
    fn add(&mut self, word: Option<&'a str>) {
        if let Some(word) = word {
            *self.0.entry(word).or_default() += 1;
        }
    }

    fn counts(self) -> Counts {
        let mut all: Vec<(&str, usize)> = self.0.into_iter().collect();
        // Of equal numbers the first in the order of words, so that it is the same each time.
        all.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        let others = all.iter().skip(DISTINCT).map(|(_, number)| number).sum();
        let first = all.into_iter().take(DISTINCT).map(|(word, number)| (word.to_owned(), number)).collect();
        Counts { first, others }
    }
}

#[cfg(test)]
mod tests;
