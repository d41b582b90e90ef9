//! What is to be said of each node: facts in, one row for each node out.

use extension_config::ReasonCode;
use extension_config::node_report::{NodeReport, Stage};

use crate::advice::{Turn, advice};
use crate::facts::{Facts, NodeFact, PodFact, ReportFact};
use crate::limits;
use crate::text::clean;

/// Whether somebody has to look at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Urgency {
    /// No agent is to run on it.
    NotServed,
    /// As it shall be, proven.
    AsDesired,
    /// On its way, or waiting for something that comes by itself.
    UnderWay,
    /// Not without somebody.
    Stuck,
}

/// A node and the switch slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Slot {
    /// It holds one.
    Holds,
    /// It waits for one.
    Waits,
}

/// What is said of a node. All texts are clean.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) node: String,
    pub(crate) pool: String,
    #[serde(rename = "standing")]
    pub(crate) urgency: Urgency,
    /// As its agent reports it; none where it reports nothing.
    pub(crate) stage: Option<&'static str>,
    pub(crate) phase: String,
    /// What places its containers, by its agent's word; in the middle of a change of backend the one that is proven.
    pub(crate) backend: Option<String>,
    /// Seconds since 1970.
    pub(crate) since: Option<u64>,
    pub(crate) slot: Option<Slot>,
    pub(crate) reason: String,
    /// Words of reason codes, also such that this program does not know.
    pub(crate) codes: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// Name and hash of the configuration in effect.
    pub(crate) config: Option<String>,
    /// Restarts of kubelet by the agent recently.
    pub(crate) restarts: usize,
    /// Seconds since 1970.
    pub(crate) retry_at: Option<u64>,
    /// The agent's pod.
    pub(crate) pod: Option<String>,
    /// The report is good, and its pod or its age speaks against it.
    #[serde(skip)]
    pub(crate) is_doubted: bool,
}

impl Row {
    /// The reasons that this program knows.
    pub(crate) fn known_codes(&self) -> Vec<ReasonCode> {
        self.codes.iter().filter_map(|word| ReasonCode::parse(word)).collect()
    }
}

/// A row for each Node, by name.
pub(crate) fn rows(facts: &Facts) -> Vec<Row> {
    facts.nodes.iter().map(|(name, node)| row(facts, name, node)).collect()
}

/// Reports of nodes that the cluster does not have.
pub(crate) fn strays(facts: &Facts) -> Vec<String> {
    facts
        .reports
        .keys()
        .filter(|name| !facts.nodes.contains_key(*name))
        .map(|name| clean(name, limits::OBJECT_NAME))
        .collect()
}

fn row(facts: &Facts, name: &str, node: &NodeFact) -> Row {
    let pod = facts.pods.as_ref().and_then(|pods| pods.get(name));
    let mut row = match facts.reports.get(name) {
        Some(Ok(report)) => row_of_report(facts, report, pod),
        other => untold(facts, node, pod, other),
    };
    row.node = clean(name, limits::OBJECT_NAME);
    row.pool = clean(&node.pool, limits::NAME);
    row.pod = pod.map(|pod| clean(&pod.name, limits::OBJECT_NAME));
    if facts.slots.holders.contains(name) {
        row.slot = Some(Slot::Holds);
    }
    row
}

/// A node whose agent has reported something.
fn row_of_report(facts: &Facts, report: &NodeReport, pod: Option<&PodFact>) -> Row {
    let mut row = Row {
        stage: Some(report.stage.as_str()),
        phase: clean(&report.phase, limits::NAME),
        backend: report.backend.as_deref().map(|backend| clean(backend, limits::NAME)),
        since: Some(report.since),
        reason: clean(&report.message, limits::PARAGRAPH),
        codes: report.codes.iter().take(limits::ENTRIES).map(|code| clean(code, limits::NAME)).collect(),
        warnings: report.warnings.iter().take(limits::ENTRIES).map(|text| clean(text, limits::PARAGRAPH)).collect(),
        config: report.config.as_deref().map(|config| clean(config, limits::SENTENCE)),
        restarts: report.restarts,
        retry_at: report.retry_at,
        ..nothing(Urgency::UnderWay, "")
    };
    let is_halted = row.known_codes().contains(&ReasonCode::SwitchesHalted);
    row.slot = ((report.awaits_slot && !is_halted) || waits_for_slot(report)).then_some(Slot::Waits);
    let is_settled = matches!(report.stage, Stage::Installed | Stage::Clean) && report.message.is_empty();
    row.urgency = if is_settled { Urgency::AsDesired } else { urgency(report.stage, &row.known_codes()) };
    if is_settled && let Some(doubt) = doubt(facts, report, pod) {
        (row.urgency, row.reason) = doubt;
        row.is_doubted = true;
    }
    row
}

/// Why a node is not as desired although its report says so. The pod's gate is the word that counts, and the report may be an old one.
fn doubt(facts: &Facts, report: &NodeReport, pod: Option<&PodFact>) -> Option<(Urgency, String)> {
    let wanted = facts.set.as_ref().and_then(|set| set.desired.as_deref());
    if let Some(wanted) = wanted.filter(|wanted| *wanted != report.desired) {
        let (wanted, reported) = (clean(wanted, limits::NAME), clean(&report.desired, limits::NAME));
        return Some((Urgency::UnderWay, format!("the report is about desired state {reported}, wanted is {wanted}")));
    }
    facts.pods.as_ref()?;
    let Some(pod) = pod else {
        return Some((Urgency::Stuck, "the agent's pod is gone; the report is its last word".to_owned()));
    };
    match &pod.trouble {
        _ if pod.is_ready => None,
        Some(trouble) => Some((Urgency::Stuck, format!("the agent's pod is not ready: {trouble}"))),
        None => Some((Urgency::UnderWay, "the agent's pod is not ready".to_owned())),
    }
}

/// Agents of before the codes are known by their words.
fn waits_for_slot(report: &NodeReport) -> bool {
    let codes = [ReasonCode::SlotNotAsked, ReasonCode::SlotsTaken, ReasonCode::SlotsUnknown].map(ReasonCode::as_str);
    if report.codes.is_empty() {
        return report.message.contains("switch slot");
    }
    report.codes.iter().any(|code| codes.contains(&code.as_str()))
}

/// The stage decides, and where it only says that the agent works, its reasons.
fn urgency(stage: Stage, codes: &[ReasonCode]) -> Urgency {
    let needs_somebody = codes.iter().any(|code| advice(*code).turn == Turn::Somebody);
    match stage {
        // Of the last two: in effect is what was before, and something is wrong with what is wanted.
        Stage::RolledBack | Stage::Installed | Stage::Clean => Urgency::Stuck,
        Stage::Blocked if codes.is_empty() || needs_somebody => Urgency::Stuck,
        Stage::Working | Stage::Undecided if needs_somebody => Urgency::Stuck,
        Stage::Blocked | Stage::Working | Stage::Undecided => Urgency::UnderWay,
    }
}

/// A node whose agent has reported nothing, or nothing that can be read.
fn untold(facts: &Facts, node: &NodeFact, pod: Option<&PodFact>, report: Option<&ReportFact>) -> Row {
    if let Some(Err(why)) = report {
        return nothing(Urgency::Stuck, why);
    }
    let Some(set) = &facts.set else {
        let is_known = !facts.is_set_hidden;
        let (urgency, why) = if is_known {
            (Urgency::NotServed, "no agent runs here: the DaemonSet is not there")
        } else {
            (Urgency::Stuck, "no report")
        };
        return nothing(urgency, why);
    };
    let missing = set.selector.iter().find(|(key, value)| node.labels.get(*key) != Some(value));
    if let Some((key, value)) = missing {
        let why = format!(
            "no agent runs here: the Node has not the label {}={}",
            clean(key, limits::NAME),
            clean(value, limits::NAME)
        );
        return nothing(Urgency::NotServed, &why);
    }
    match (pod, &facts.pods) {
        // A node that is clean takes its report away.
        (Some(pod), _) if pod.is_ready && set.phase == "Remove" => nothing(Urgency::AsDesired, ""),
        (Some(pod), _) => match &pod.trouble {
            Some(trouble) => nothing(Urgency::Stuck, &format!("no report; the agent's pod is not ready: {trouble}")),
            None => nothing(Urgency::UnderWay, "no report yet; the agent's pod runs"),
        },
        (None, Some(_)) => nothing(Urgency::Stuck, "no report, and no pod of the agent"),
        (None, None) => nothing(Urgency::Stuck, "no report"),
    }
}

fn nothing(urgency: Urgency, reason: &str) -> Row {
    Row {
        node: String::new(),
        pool: String::new(),
        urgency,
        stage: None,
        phase: String::new(),
        backend: None,
        since: None,
        slot: None,
        reason: reason.to_owned(),
        codes: Vec::new(),
        warnings: Vec::new(),
        config: None,
        restarts: 0,
        retry_at: None,
        pod: None,
        is_doubted: false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
