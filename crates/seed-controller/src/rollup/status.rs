//! A roll-up in the Extension's providerStatus. Whatever is the same gives the same value, at any time.

use gardener_extension::Unseen;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::limits::NAMED_IN_CONDITION;
use super::{Before, Counts, Entry, RollUp};

pub(super) const NOT_AS_DESIRED: &str = "notAsDesired";
pub(super) const FIRST: &str = "first";
/// Since when the rest is not known to be so any more, and why.
pub(super) const UNKNOWN_SINCE: &str = "unknownSince";
const UNKNOWN_BECAUSE: &str = "unknownBecause";
/// Said of a shoot that has no nodes.
const HIBERNATED: &str = "the shoot is hibernated";

impl RollUp {
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({ "count": self.count, "stages": self.stages });
        let mut add = |key: &str, there: bool, value: Value| {
            if there {
                status[key] = value;
            }
        };
        add("withoutReport", self.without_report > 0, json!(self.without_report));
        for (key, counts) in
            [("backends", &self.backends), ("agentVersions", &self.versions), ("configurations", &self.configurations)]
        {
            add(key, *counts != Counts::default(), counts.status());
        }
        add("waitingForSlot", self.waiting > 0, json!({ "count": self.waiting, FIRST: self.waiting_first }));
        add("heldByHalt", self.halted > 0, json!({ "count": self.halted, FIRST: self.halted_first }));
        let first: Vec<Value> = self.first.iter().map(Entry::status).collect();
        add(NOT_AS_DESIRED, self.not_as_desired > 0, json!({ "count": self.not_as_desired, FIRST: first }));
        status
    }
}

impl Entry {
    fn status(&self) -> Value {
        json!({ "name": self.name, "stage": self.stage, "reason": self.reason, "since": seconds(self.since) })
    }
}

impl Counts {
    fn status(&self) -> Value {
        let mut words: Map<String, Value> =
            self.first.iter().map(|(word, number)| (word.clone(), json!(number))).collect();
        if self.others > 0 {
            // No word has a blank.
            words.insert("all others".to_owned(), json!(self.others));
        }
        words.into()
    }
}

/// Who is not as desired, in a sentence; `None`: nobody, or it is not known now.
pub(crate) fn sentence(status: &Value) -> Option<String> {
    let (bad, all) = (status[NOT_AS_DESIRED]["count"].as_u64()?, status["count"].as_u64()?);
    let first = status[NOT_AS_DESIRED][FIRST].as_array().filter(|_| status[UNKNOWN_SINCE].is_null())?;
    let named: Vec<String> = first
        .iter()
        .take(NAMED_IN_CONDITION)
        .filter_map(|entry| {
            let (name, stage) = (entry["name"].as_str()?, entry["stage"].as_str()?);
            let reason = entry["reason"].as_str().filter(|reason| !reason.is_empty());
            Some(reason.map_or_else(|| format!("{name} ({stage})"), |reason| format!("{name} ({stage}: {reason})")))
        })
        .collect();
    let more = match bad.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("Not as desired are {bad} of {all} nodes: {}{more}", named.join(", ")))
}

/// Since when nodes are in the stages that stand in the status.
pub(crate) fn before(status: Option<&Value>) -> Before {
    let first = status.and_then(|status| status[NOT_AS_DESIRED][FIRST].as_array());
    let read = |entry: &Value| {
        let text = |key: &str| entry[key].as_str();
        Some((text("name")?.to_owned(), (text("stage")?.to_owned(), text("since")?.parse().ok()?)))
    };
    first.into_iter().flatten().filter_map(read).collect()
}

/// The status where nothing was seen `since` then: what stood there, and that it may not be so any more.
pub(crate) fn unseen(before: Option<&Value>, since: Timestamp, why: &Unseen) -> Value {
    let because = match why {
        Unseen::Hibernated => HIBERNATED,
        Unseen::Failed(reason) => reason,
    };
    let reported = |key: &str| before.and_then(|before| before[key].as_str());
    let was_asleep = reported(UNKNOWN_BECAUSE) == Some(HIBERNATED);
    let known = reported(UNKNOWN_SINCE).filter(|_| was_asleep || *why != Unseen::Hibernated);
    let since = known.map_or_else(|| seconds(since), str::to_owned);
    // The nodes of before do not come back.
    let keeps = *why != Unseen::Hibernated && !was_asleep;
    let mut status = before.filter(|before| keeps && before.is_object()).cloned().unwrap_or_else(|| json!({}));
    status[UNKNOWN_SINCE] = json!(since);
    status[UNKNOWN_BECAUSE] = json!(because);
    status
}

/// In whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
