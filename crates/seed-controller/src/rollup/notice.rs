//! The Events about a roll-up: what changed between two of them. Pure.

use std::collections::BTreeSet;

use gardener_extension::Notice;
use serde_json::Value;

use super::status::{FIRST, NOT_AS_DESIRED, UNKNOWN_SINCE, sentence};
use crate::reason;

/// Action of these Events.
const ACTION: &str = "Observe";

/// What a roll-up comes to.
#[derive(Debug, PartialEq, Eq)]
enum Summary<'a> {
    /// Nobody knows now, there are no nodes, or they are on their way.
    Nothing,
    /// So many nodes, all as desired.
    Good(u64),
    /// These nodes need somebody, each in this stage.
    Bad(BTreeSet<(&'a str, &'a str)>),
}

impl<'a> Summary<'a> {
    fn of(status: &'a Value) -> Self {
        let count = status["count"].as_u64().unwrap_or_default();
        if count == 0 {
            return Self::Nothing;
        }
        if status[NOT_AS_DESIRED].is_null() {
            return Self::Good(count);
        }
        let entries = status[NOT_AS_DESIRED][FIRST].as_array().into_iter().flatten();
        let pairs = entries.filter_map(|entry| Some((entry["name"].as_str()?, entry["stage"].as_str()?)));
        // A new node, and one that is at work, needs nobody.
        let bad: BTreeSet<_> =
            pairs.filter(|(_, stage)| ["RolledBack", "Blocked", "Installed", "Clean"].contains(stage)).collect();
        if bad.is_empty() { Self::Nothing } else { Self::Bad(bad) }
    }
}

/// The Event. A status of before whose nodes are not known any more counts as it was: what is seen again is no change.
pub(crate) fn notice(before: Option<&Value>, now: &Value) -> Option<Notice> {
    if !now[UNKNOWN_SINCE].is_null() {
        return None;
    }
    let summary = Summary::of(now);
    // How many they are does not matter: nodes come and go.
    let same = |before: &Value| match (Summary::of(before), &summary) {
        (Summary::Good(_), Summary::Good(_)) => true,
        (before, now) => before == *now,
    };
    if before.is_some_and(same) {
        return None;
    }
    match summary {
        Summary::Nothing => None,
        Summary::Good(1) => Some(Notice::normal(reason::NODES_AS_DESIRED, ACTION, "The node is as desired".to_owned())),
        Summary::Good(count) => {
            Some(Notice::normal(reason::NODES_AS_DESIRED, ACTION, format!("All {count} nodes are as desired")))
        }
        Summary::Bad(_) => Some(Notice::warning(reason::NODES_NOT_AS_DESIRED, ACTION, sentence(now)?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(count: u64, bad: &[(&str, &str)]) -> Value {
        let mut status = json!({ "count": count });
        if !bad.is_empty() {
            let first: Vec<Value> =
                bad.iter().map(|(name, stage)| json!({ "name": name, "stage": stage, "reason": "r" })).collect();
            status[NOT_AS_DESIRED] = json!({ "count": bad.len(), FIRST: first });
        }
        status
    }

    #[test]
    fn a_changed_summary_is_an_event_and_a_mere_check_is_none() {
        let good = status(3, &[]);
        let (a, b) = (status(3, &[("a", "RolledBack")]), status(3, &[("b", "Blocked"), ("c", "Working")]));
        let under_way = status(3, &[("a", "Working"), ("d", "WithoutReport")]);
        let mut away = good.clone();
        away[UNKNOWN_SINCE] = json!("2027-01-15T08:00:00Z");
        let asleep = json!({ UNKNOWN_SINCE: "2027-01-15T08:00:00Z" });
        let none = json!({ "count": 0 });
        for (before, now, reported) in [
            (None, &good, Some(reason::NODES_AS_DESIRED)),
            (Some(&good), &good, None),
            (Some(&good), &status(4, &[]), None),
            (Some(&good), &under_way, None),
            (Some(&under_way), &good, Some(reason::NODES_AS_DESIRED)),
            (Some(&good), &a, Some(reason::NODES_NOT_AS_DESIRED)),
            (Some(&a), &a, None),
            (Some(&a), &status(3, &[("a", "RolledBack"), ("c", "Working")]), None),
            (Some(&a), &b, Some(reason::NODES_NOT_AS_DESIRED)),
            (Some(&b), &good, Some(reason::NODES_AS_DESIRED)),
            // The API server was away for a while.
            (Some(&good), &away, None),
            (Some(&away), &good, None),
            (Some(&away), &a, Some(reason::NODES_NOT_AS_DESIRED)),
            (Some(&good), &asleep, None),
            (Some(&asleep), &good, Some(reason::NODES_AS_DESIRED)),
            (Some(&good), &none, None),
            (None, &none, None),
            (Some(&json!([7])), &json!("nonsense"), None),
        ] {
            assert_eq!(notice(before, now).map(|notice| notice.reason), reported, "{before:?} -> {now}");
        }
        let notice = notice(None, &b).unwrap();
        assert_eq!(
            (notice.is_warning, notice.note.as_str()),
            (true, "Not as desired are 2 of 3 nodes: b (Blocked: r), c (Working: r)")
        );
    }
}
