//! `status`: the nodes of a shoot, as a table or as JSON.

use std::collections::BTreeMap;

use extension_config::ReasonCode;
use serde::Serialize;

use crate::duration::age;
use crate::exit::Exit;
use crate::facts::Facts;
use crate::limits;
use crate::rows::{Row, Slot, Urgency, rows, strays};
use crate::seed::Seed;
use crate::style::{Style, Tone};
use crate::table::{self, Cell};
use crate::text::{clean, clean_json};

/// All that is said of a shoot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) is_there: bool,
    pub(crate) phase: String,
    pub(crate) backend: Option<&'static str>,
    pub(crate) desired_state: Option<String>,
    pub(crate) counts: BTreeMap<&'static str, usize>,
    pub(crate) nodes: Vec<Row>,
    /// Reports about nodes that the cluster does not have.
    pub(crate) reports_without_node: Vec<String>,
    pub(crate) slot_holders: Vec<String>,
    pub(crate) rolled_back: Vec<String>,
    /// Why all switches are halted; empty: nobody has said. Absent: they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) halted: Option<String>,
    /// What the seed knows, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Seed>,
    pub(crate) notes: Vec<String>,
}

impl Status {
    /// From what was found.
    pub(crate) fn of(facts: &Facts) -> Self {
        let nodes = rows(facts);
        let mut counts = BTreeMap::from([("nodes", nodes.len())]);
        for row in &nodes {
            *counts.entry(word(row.urgency)).or_default() += 1;
            if row.slot == Some(Slot::Waits) {
                *counts.entry("waitingForSlot").or_default() += 1;
            }
            if row.known_codes().contains(&ReasonCode::SwitchesHalted) {
                *counts.entry("heldByHalt").or_default() += 1;
            }
        }
        let name = |name: &String| clean(name, limits::OBJECT_NAME);
        let halt = facts.set.as_ref().and_then(|set| set.halt.as_ref());
        Self {
            is_there: facts.set.is_some() || facts.is_set_hidden || !facts.reports.is_empty(),
            phase: facts.set.as_ref().map(|set| clean(&set.phase, limits::NAME)).unwrap_or_default(),
            backend: facts.backend,
            desired_state: facts.set.as_ref().and_then(|set| set.desired.as_ref()).map(name),
            counts,
            nodes,
            reports_without_node: strays(facts),
            slot_holders: facts.slots.holders.iter().map(name).collect(),
            rolled_back: facts.slots.rolled_back.iter().map(name).collect(),
            halted: halt.map(|halt| clean(halt.reason(), limits::SENTENCE)),
            seed: None,
            notes: facts.notes.iter().map(|note| clean(note, limits::PARAGRAPH)).collect(),
        }
    }

    /// What the exit code says: the worst of the nodes.
    pub(crate) fn exit(&self) -> Exit {
        match self.nodes.iter().map(|row| row.urgency).max() {
            _ if !self.is_there => Exit::Absent,
            Some(Urgency::Stuck) => Exit::Stuck,
            Some(Urgency::UnderWay) => Exit::UnderWay,
            Some(Urgency::AsDesired | Urgency::NotServed) | None => Exit::Done,
        }
    }

    /// On one line if `is_compact`, for a stream of them.
    pub(crate) fn json(&self, is_compact: bool) -> serde_json::Result<String> {
        let json = if is_compact { serde_json::to_string(self) } else { serde_json::to_string_pretty(self) };
        Ok(clean_json(&json?) + "\n")
    }

    /// The table, what it comes to, and what else is to be known.
    pub(crate) fn text(&self, now: u64, style: Style, width: Option<usize>) -> String {
        let seed = self.seed.as_ref().map(|seed| seed.lines(now, style)).unwrap_or_default();
        let seed: String = seed.iter().flat_map(|line| [line, "\n"]).collect();
        if !self.is_there {
            let absent =
                "The extension is not in this cluster: no DaemonSet cri-resmgr-node-agent, and no reports of nodes.\n";
            return format!("{absent}{seed}");
        }
        let cells: Vec<[Cell; 7]> = self.nodes.iter().map(|row| self.cells(row, now, width.is_none())).collect();
        let headings = ["NODE", "POOL", "BACKEND", "STAGE", "SINCE", "SLOT", "REASON"];
        let mut text = table::render(headings, &cells, style, width);
        text.push('\n');
        text.push_str(&self.summary());
        for line in self.more() {
            text.push_str(&line);
            text.push('\n');
        }
        text + &seed
    }

    fn cells(&self, row: &Row, now: u64, is_file: bool) -> [Cell; 7] {
        let dash = |text: &str| Cell::plain(if text.is_empty() { "-" } else { text });
        let reason = match (row.reason.as_str(), row.warnings.first()) {
            ("", Some(warning)) => format!("warning: {warning}"),
            (reason, _) => reason.to_owned(),
        };
        let tone = match row.urgency {
            Urgency::AsDesired => Tone::Good,
            Urgency::UnderWay => Tone::Waiting,
            Urgency::Stuck => Tone::Bad,
            Urgency::NotServed => Tone::Faint,
        };
        // An agent of before the word has the backend that is wanted.
        let wanted = self.backend.filter(|_| row.stage == Some("Installed"));
        let backend = row.backend.as_deref().or(wanted).unwrap_or_default();
        [
            Cell::plain(row.node.clone()),
            dash(&row.pool),
            dash(backend),
            Cell::toned(row.stage.unwrap_or(if row.urgency == Urgency::AsDesired { "Clean" } else { "-" }), tone),
            Cell::plain(row.since.map_or_else(|| "-".to_owned(), |since| age(since, now))),
            Cell::plain(match row.slot {
                Some(Slot::Holds) => "holds",
                Some(Slot::Waits) => "waits",
                None => "-",
            }),
            Cell::plain(if is_file { clean(&reason, limits::SENTENCE) } else { reason }),
        ]
    }

    fn summary(&self) -> String {
        let mut parts = Vec::new();
        let count = |key: &str| self.counts.get(key).copied().unwrap_or(0);
        for (key, words) in [
            ("asDesired", "as desired"),
            ("underWay", "under way or waiting"),
            ("stuck", "in need of somebody (kubectl resmgr explain)"),
            ("notServed", "not served"),
        ] {
            if count(key) > 0 {
                parts.push(format!("{} {words}", count(key)));
            }
        }
        let nodes = count("nodes");
        let of = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        let wanted = match (&self.desired_state, self.phase.as_str()) {
            (Some(hash), phase) => {
                let backend = self.backend.map(|backend| format!(" of {backend}")).unwrap_or_default();
                format!("; wanted: {phase}{backend} (desired state {hash})")
            }
            (None, _) => String::new(),
        };
        format!("{nodes} node{}{of}{wanted}\n", if nodes == 1 { "" } else { "s" })
    }

    fn more(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let waiting = self.counts.get("waitingForSlot").copied().unwrap_or(0);
        if waiting > 0 || !self.slot_holders.is_empty() {
            lines.push(format!("switch slots: held by {}; {waiting} waiting", listed(&self.slot_holders)));
        }
        if let Some(reason) = &self.halted {
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            let held = self.counts.get("heldByHalt").copied().unwrap_or(0);
            lines.push(format!("all switches are halted{reason}; held by that: {held}"));
        }
        if !self.rolled_back.is_empty() {
            lines.push(format!("rolled back, as counted for the stop of switches: {}", listed(&self.rolled_back)));
        }
        if !self.reports_without_node.is_empty() {
            lines.push(format!(
                "reports of nodes that are not in the cluster (they are not counted): {}",
                listed(&self.reports_without_node)
            ));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }
}

/// Key of a count.
fn word(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::NotServed => "notServed",
        Urgency::AsDesired => "asDesired",
        Urgency::UnderWay => "underWay",
        Urgency::Stuck => "stuck",
    }
}

/// A few names, and how many more.
pub(crate) fn listed(all: &[String]) -> String {
    let few: Vec<&str> = all.iter().take(limits::NAMES).map(String::as_str).collect();
    match all.len().saturating_sub(few.len()) {
        _ if few.is_empty() => "nobody".to_owned(),
        0 => few.join(", "),
        more => format!("{} and {more} more", few.join(", ")),
    }
}

#[cfg(test)]
mod tests;
