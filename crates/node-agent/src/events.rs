//! The Events about a node: what was published before and what a round came to in, what is published now out. Pure.
//!
//! An Event is about a topic. What was said of it last is remembered in the node's report, so that neither the next round nor the next agent publishes it
//! again; what does not hold any more is forgotten, so that it counts as new when it comes back. Whatever holds and could not be published yet, because its reason was
//! published a moment ago, is published later.

use std::collections::BTreeMap;

use extension_config::desired_state::hash8;
use extension_config::node_report::{NodeReport, Published, Stage, Word};
use extension_config::{NodeEvent, ReasonCode};
use node_plan::{Action, Backend, Restarts, Step};

use crate::report::backend_word;

/// The same reason is reported again after so long at the earliest, seconds: a node that goes to and fro fills nobody's list.
pub(crate) const SAME_REASON_SECONDS: u64 = 600;
/// A node that has waited so long for a switch slot says so, seconds. A shoot of any size takes its turns within a quarter of an hour when all goes well.
pub(crate) const SLOT_OVERDUE_SECONDS: u64 = 1800;
/// What was done is described by its first steps.
const NAMED_STEPS: usize = 3;
/// Longest evidence of a step in a note, characters.
const EVIDENCE: usize = 120;

/// What an Event can be about; each is published by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    /// Where the node stands.
    Node,
    /// What it is held by, other than by itself.
    Hold,
    /// How long it has waited for a slot.
    Slot,
    /// The configuration in effect.
    Config,
    /// What is wrong with the configuration that is wanted.
    Problem,
    /// What is to be known of the one in effect.
    Warnings,
    /// What was put right.
    Heal,
}

impl Topic {
    const ALL: [Self; 7] =
        [Self::Node, Self::Hold, Self::Slot, Self::Config, Self::Problem, Self::Warnings, Self::Heal];

    /// Its key in the report.
    fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Hold => "hold",
            Self::Slot => "slot",
            Self::Config => "config",
            Self::Problem => "problem",
            Self::Warnings => "warnings",
            Self::Heal => "heal",
        }
    }
}

/// What was done on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Steps that changed something.
    pub(crate) changes: usize,
    /// Restarts of kubelet among them.
    pub(crate) kubelet_restarts: usize,
    /// Why the first of them were necessary.
    pub(crate) because: Vec<String>,
}

impl Done {
    /// One more step was done.
    pub(crate) fn add(&mut self, step: &Step) {
        match &step.action {
            Action::Check(_) | Action::Prove(_) | Action::Journal(_) => return,
            Action::File(_) | Action::Unit(_) | Action::RestartKubelet { .. } | Action::ResetPins => {}
        }
        self.changes += 1;
        self.kubelet_restarts += usize::from(step.action.restarts() == Restarts::Kubelet);
        self.name(step.evidence.chars().take(EVIDENCE).collect());
    }

    /// All of it was done after what was done before.
    pub(crate) fn append(&mut self, later: &Self) {
        self.changes += later.changes;
        self.kubelet_restarts += later.kubelet_restarts;
        for because in &later.because {
            self.name(because.clone());
        }
    }

    fn name(&mut self, because: String) {
        if self.because.len() < NAMED_STEPS && !self.because.contains(&because) {
            self.because.push(because);
        }
    }

    /// For people.
    fn restarts(&self) -> String {
        match self.kubelet_restarts {
            0 => "without a restart of kubelet".to_owned(),
            1 => "with 1 restart of kubelet".to_owned(),
            many => format!("with {many} restarts of kubelet"),
        }
    }
}

/// Which configuration the backend goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InEffect {
    /// Not known yet, or one is on its way to the daemon.
    Unknown,
    /// The static one, or the one that the report names.
    Known,
}

/// What is wrong with a configuration that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigProblem {
    /// Not known yet.
    Unknown,
    /// Nothing.
    None,
    /// This.
    Some(NodeEvent, String),
}

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    /// The report of it; what is published is not in it yet.
    pub(crate) report: &'a NodeReport,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// The codes of the report.
    pub(crate) codes: &'a [ReasonCode],
    /// What is on the node, or was last.
    pub(crate) backend: Option<Backend>,
    /// Digest of all that the backend is started with, as it is wanted.
    pub(crate) inputs: Option<&'a str>,
    /// Whether the configuration in effect is known.
    pub(crate) in_effect: InEffect,
    /// What is wrong with the one that is wanted.
    pub(crate) problem: &'a ConfigProblem,
    /// A configuration has asked for a restart of the daemon.
    pub(crate) restart_requested: bool,
    /// What was done since the node was last as it was to be, or since the agent began.
    pub(crate) done: &'a Done,
    /// What was put right, and not published yet.
    pub(crate) healed: &'a Done,
}

/// An Event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) event: NodeEvent,
    /// For people: names, hashes and codes, never a configuration's text.
    pub(crate) note: String,
}

/// What follows from a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// To be published now.
    pub(crate) announcements: Vec<Announcement>,
    /// What was reported when they are.
    pub(crate) published: Published,
    /// The node's topic has something that could not be published yet.
    pub(crate) is_pending: bool,
}

/// What is to be said of a topic.
enum Say {
    /// Nothing is known of it now: what was published stands.
    Keep,
    /// There is nothing of it any more.
    Clear,
    /// This is so, and nothing has to be published.
    Adopt(NodeEvent, String),
    /// This is so.
    Tell { event: NodeEvent, about: String, note: String },
}

/// What was published, by the report of an earlier agent. One that remembered nothing has reported the stage.
pub(crate) fn published_before(report: Option<&NodeReport>) -> Published {
    let Some(report) = report else { return Published::default() };
    if !report.published.is_empty() {
        return bounded(&report.published);
    }
    let event = match report.stage {
        Stage::Installed => NodeEvent::Installed,
        Stage::Clean => NodeEvent::Removed,
        Stage::Blocked => NodeEvent::Blocked,
        Stage::RolledBack => NodeEvent::RolledBack,
        Stage::Working | Stage::Undecided => return Published::default(),
    };
    let about = report.backend.clone().filter(|_| event == NodeEvent::Installed).unwrap_or_default();
    let word = Word { reason: event.as_str().to_owned(), about };
    Published { topics: BTreeMap::from([(Topic::Node.as_str().to_owned(), word)]), at: BTreeMap::new() }
}

/// What this version knows of it: the report may be a newer agent's, or anybody's.
fn bounded(published: &Published) -> Published {
    let topics = Topic::ALL.iter().filter_map(|topic| published.topics.get_key_value(topic.as_str()));
    let at = NodeEvent::ALL.iter().filter_map(|event| published.at.get_key_value(event.as_str()));
    Published {
        topics: topics.map(|(topic, word)| (topic.clone(), word.clone())).collect(),
        at: at.map(|(reason, at)| (reason.clone(), *at)).collect(),
    }
}

/// Whether what a round has done was to put right what somebody else had changed: nothing else was wanted than before.
pub(crate) fn is_heal(published: &Published, last: Option<&NodeReport>, round: &Round<'_>) -> bool {
    let Some(last) = last else { return false };
    let Round { report, .. } = round;
    let was_well = word(published, Topic::Node).is_some_and(|word| is_in_place(word) && word.about == here(round));
    let same_inputs = word(published, Topic::Config)
        .is_some_and(|word| round.inputs.is_some_and(|inputs| word.about.starts_with(&hash8(inputs))));
    report.stage == Stage::Installed
        && round.done.changes > 0
        && was_well
        && same_inputs
        && !round.restart_requested
        && (&last.desired, &last.version) == (&report.desired, &report.version)
}

/// What is published now.
pub(crate) fn decide(published: &Published, round: &Round<'_>) -> Decision {
    let mut next = published.clone();
    let mut announcements = Vec::new();
    let mut is_pending = false;
    for topic in Topic::ALL {
        match say(published, topic, round) {
            Say::Keep => {}
            Say::Clear => drop(next.topics.remove(topic.as_str())),
            Say::Adopt(event, about) => drop(next.topics.insert(topic.as_str().to_owned(), of(event, about))),
            Say::Tell { event, about, note } => {
                let said = word(published, topic).filter(|word| word.reason == event.as_str());
                if said.is_some_and(|word| word.about == about) {
                    continue;
                }
                // Of an earlier version, which did not say what about.
                let is_known = said.is_some_and(|word| word.about.is_empty() && !about.is_empty());
                if !is_known && !is_due(published, event, round.now) {
                    is_pending |= topic == Topic::Node;
                    continue;
                }
                next.topics.insert(topic.as_str().to_owned(), of(event, about));
                if !is_known {
                    next.at.insert(event.as_str().to_owned(), round.now);
                    announcements.push(Announcement { event, note });
                }
            }
        }
    }
    if !announcements.is_empty() {
        next.at.retain(|_, at| at.abs_diff(round.now) < SAME_REASON_SECONDS);
    }
    Decision { announcements, published: next, is_pending }
}

/// A clock that was set back holds nothing up for longer than the time.
fn is_due(published: &Published, event: NodeEvent, now: u64) -> bool {
    published.at.get(event.as_str()).is_none_or(|at| at.abs_diff(now) >= SAME_REASON_SECONDS)
}

fn word(published: &Published, topic: Topic) -> Option<&Word> {
    published.topics.get(topic.as_str())
}

fn of(event: NodeEvent, about: String) -> Word {
    Word { reason: event.as_str().to_owned(), about }
}

/// Whether it was said that a backend is on the node.
fn is_in_place(word: &Word) -> bool {
    matches!(NodeEvent::parse(&word.reason), Some(NodeEvent::Installed | NodeEvent::Moved))
}

/// The word for the backend of a node that has one.
fn here(round: &Round<'_>) -> &'static str {
    backend_word(round.backend.unwrap_or(Backend::Proxy))
}

fn say(published: &Published, topic: Topic, round: &Round<'_>) -> Say {
    match topic {
        Topic::Node => node(word(published, topic), round),
        Topic::Hold => hold(round),
        Topic::Slot => slot(round),
        Topic::Config => config(published, round),
        Topic::Problem => problem(round),
        Topic::Warnings => warnings(round),
        Topic::Heal => heal(round),
    }
}

fn node(before: Option<&Word>, round: &Round<'_>) -> Say {
    let Round { report, done, .. } = round;
    let say_so = |event, about: &str, note| Say::Tell { event, about: about.to_owned(), note };
    let before_event = before.and_then(|word| NodeEvent::parse(&word.reason));
    match report.stage {
        Stage::Installed => match before {
            // The first check of a node that is as desired is no change.
            None if done.changes == 0 => Say::Adopt(NodeEvent::Installed, here(round).to_owned()),
            Some(word) if is_in_place(word) && word.about == here(round) => Say::Keep,
            Some(word) if is_in_place(word) && word.about.is_empty() => {
                Say::Adopt(NodeEvent::Installed, here(round).to_owned())
            }
            Some(word) if is_in_place(word) => {
                let note = format!("moved from {}: {}", word.about, installed(round));
                say_so(NodeEvent::Moved, here(round), note)
            }
            _ => say_so(NodeEvent::Installed, here(round), installed(round)),
        },
        Stage::Clean => match before_event {
            None if done.changes == 0 => Say::Adopt(NodeEvent::Removed, String::new()),
            Some(NodeEvent::Removed) => Say::Keep,
            Some(NodeEvent::RolledBack | NodeEvent::Blocked) if done.changes == 0 => {
                Say::Adopt(NodeEvent::Removed, String::new())
            }
            _ => say_so(NodeEvent::Removed, "", removed(round)),
        },
        Stage::Blocked => say_so(NodeEvent::Blocked, &hash8(&coded(round.codes)), with_codes(round)),
        Stage::RolledBack => say_so(NodeEvent::RolledBack, &hash8(&report.message), report.message.clone()),
        Stage::Working | Stage::Undecided => Say::Keep,
    }
}

fn installed(round: &Round<'_>) -> String {
    let what = match round.backend {
        Some(Backend::Plugin) => "a policy of nri-plugins places the containers",
        Some(Backend::Proxy) | None => "kubelet runs through cri-resmgr",
    };
    format!("{what}, with {}, {}", configuration(round), round.done.restarts())
}

fn removed(round: &Round<'_>) -> String {
    let what = match round.backend {
        Some(Backend::Plugin) => {
            "the policy of nri-plugins is removed; running containers have the CPUs and memory back that they had without it"
        }
        Some(Backend::Proxy) | None => {
            "cri-resmgr is removed; CPU and memory pins of running containers stay until they are recreated"
        }
    };
    format!("{what} ({})", round.done.restarts())
}

fn configuration(round: &Round<'_>) -> String {
    round.report.config.clone().unwrap_or_else(|| "the static configuration".to_owned())
}

/// What a node waits for that is nothing of its own. That other nodes switch first is no change before it takes long.
fn hold(round: &Round<'_>) -> Say {
    let held = round.report.stage == Stage::Working && round.codes.iter().any(|code| is_held(*code));
    if !held {
        return if round.report.stage == Stage::Undecided { Say::Keep } else { Say::Clear };
    }
    Say::Tell { event: NodeEvent::Held, about: hash8(&coded(round.codes)), note: with_codes(round) }
}

fn is_held(code: ReasonCode) -> bool {
    matches!(code, ReasonCode::UpdateInPlace | ReasonCode::FailedUpdateInPlace | ReasonCode::SwitchesHalted)
}

/// Whether a node with these reasons waits for other nodes.
pub(crate) fn waits_for_others(codes: &[ReasonCode]) -> bool {
    codes
        .iter()
        .any(|code| matches!(code, ReasonCode::SlotNotAsked | ReasonCode::SlotsTaken | ReasonCode::SlotsUnknown))
}

fn slot(round: &Round<'_>) -> Say {
    match round.report.slot_since {
        None => Say::Clear,
        Some(since) if round.now.saturating_sub(since) < SLOT_OVERDUE_SECONDS => Say::Keep,
        Some(since) => {
            let minutes = round.now.saturating_sub(since) / 60;
            let note = format!("has waited for a switch slot for {minutes} minutes: {}", with_codes(round));
            Say::Tell { event: NodeEvent::SlotOverdue, about: since.to_string(), note }
        }
    }
}

fn config(published: &Published, round: &Round<'_>) -> Say {
    match (round.report.stage, round.inputs, round.in_effect) {
        (Stage::Clean, ..) => Say::Clear,
        (Stage::Installed, Some(inputs), InEffect::Known) => {
            let name = round.report.config.as_deref().unwrap_or_default();
            let about = format!("{} {}", hash8(inputs), hash8(name));
            let note = format!("in effect: {}", configuration(round));
            // It is published with the switch itself, and on a first check it is nothing new.
            let is_first = word(published, Topic::Config).is_none();
            let is_new_here =
                !word(published, Topic::Node).is_some_and(|word| is_in_place(word) && word.about == here(round));
            if is_first || is_new_here {
                return Say::Adopt(NodeEvent::ConfigInEffect, about);
            }
            Say::Tell { event: NodeEvent::ConfigInEffect, about, note }
        }
        _ => Say::Keep,
    }
}

fn problem(round: &Round<'_>) -> Say {
    match round.problem {
        ConfigProblem::Unknown => Say::Keep,
        ConfigProblem::None => Say::Clear,
        ConfigProblem::Some(event, text) => Say::Tell { event: *event, about: hash8(text), note: text.clone() },
    }
}

fn warnings(round: &Round<'_>) -> Say {
    let warnings = round.report.warnings.join("; ");
    match round.report.stage {
        Stage::Installed if round.in_effect == InEffect::Unknown && warnings.is_empty() => Say::Keep,
        Stage::Installed | Stage::Clean if warnings.is_empty() => Say::Clear,
        Stage::Installed => Say::Tell {
            event: NodeEvent::ConfigWarning,
            about: hash8(&warnings),
            note: format!("the configuration is in effect, but {warnings}"),
        },
        _ => Say::Keep,
    }
}

fn heal(round: &Round<'_>) -> Say {
    let healed = round.healed;
    if healed.changes == 0 {
        return Say::Clear;
    }
    let more = healed.changes.saturating_sub(healed.because.len());
    let more = if more > 0 { format!("; {} steps in all", healed.changes) } else { String::new() };
    let note = format!("put right, {}: {}{more}", healed.restarts(), healed.because.join("; "));
    Say::Tell { event: NodeEvent::Healed, about: round.now.to_string(), note }
}

fn coded(codes: &[ReasonCode]) -> String {
    let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    words.join(", ")
}

fn with_codes(round: &Round<'_>) -> String {
    format!("{}: {}", coded(round.codes), round.report.message)
}

#[cfg(test)]
mod tests;
