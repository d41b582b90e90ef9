//! What the shoot itself says about a removal, node by node. Pure.

use std::time::Duration;

use extension_config::node_report::NodeReport;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A node that is not Ready for longer than this is named and no longer waited for: nobody is there to clean it.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(10 * 60);
/// Nodes named one by one; of the others only the number is given.
const NAMED: usize = 5;
/// Nodes named one by one in the providerStatus.
pub(crate) const NAMED_IN_STATUS: usize = 50;
/// Longest reason given for one node, characters.
pub(crate) const REASON: usize = 160;

/// What is known of a node that an agent works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Since when kubelet has not been heard of; `None`: the node is Ready.
    pub(crate) away_since: Option<Timestamp>,
    /// The agent's pod.
    pub(crate) agent: Agent,
    /// The agent's own report. It says why; what counts is the pod.
    pub(crate) report: Option<NodeReport>,
}

/// The agent's pod of the removal on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    /// None of this phase.
    Missing,
    /// It runs, or is about to.
    AtWork,
    /// It has opened its readiness gate, which it does when its node is proven clean.
    Done,
}

/// The nodes, by what is left to do for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Waited for, with the reason.
    pub(crate) awaited: NamedNodes,
    /// Not clean, and not waited for any more.
    pub(crate) given_up: NamedNodes,
    /// Proven clean.
    pub(crate) clean: usize,
}

/// Nodes with what is said of them: the first ones by name, and the number of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedNodes {
    first: Vec<(String, String)>,
    count: usize,
}

impl NamedNodes {
    fn add(&mut self, node: &Node, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED_IN_STATUS {
            self.first.push((node.name.clone(), reason()));
        }
    }
}

/// Counts the nodes.
pub(crate) fn tally(nodes: &[Node], now: Timestamp) -> Tally {
    let mut tally = Tally::default();
    let mut by_name: Vec<&Node> = nodes.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    for node in by_name {
        if node.agent == Agent::Done {
            tally.clean += 1;
            continue;
        }
        match node.away_since.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default()) {
            Some(away) if away > GIVEN_UP_AFTER => {
                tally.given_up.add(node, || format!("not Ready for more than {} min", minutes(GIVEN_UP_AFTER)));
            }
            Some(_) => tally
                .awaited
                .add(node, || format!("not Ready, waited for until that has lasted {} min", minutes(GIVEN_UP_AFTER))),
            None => tally.awaited.add(node, || reason(node)),
        }
    }
    tally
}

fn minutes(duration: Duration) -> u64 {
    duration.as_secs() / 60
}

fn reason(node: &Node) -> String {
    match (&node.report, node.agent) {
        (_, Agent::Missing) => "its agent does not run yet".to_owned(),
        // What a former phase reported is no change of this one.
        (Some(report), _) if report.phase == "Remove" && !report.message.is_empty() => {
            let message: String = report.message.chars().take(REASON).collect();
            format!("{}: {message}", report.stage.as_str())
        }
        _ => "its agent is at work".to_owned(),
    }
}

impl Tally {
    /// Who is waited for; `None`: nobody.
    pub(crate) fn message(&self) -> Option<String> {
        (self.awaited.count > 0).then(|| {
            let all = self.awaited.count + self.given_up.count + self.clean;
            let awaited = self.awaited.count;
            format!("waiting until cri-resmgr is removed from {awaited} of {all} nodes: {}", list(&self.awaited))
        })
    }

    /// Who is not waited for any more; `None`: nobody.
    pub(crate) fn note(&self) -> Option<String> {
        (self.given_up.count > 0).then(|| {
            let text =
                "cri-resmgr may still be installed on nodes that are not waited for; their own gate keeps them safe";
            format!("{text}: {}", list(&self.given_up))
        })
    }

    /// For the Extension's providerStatus.
    pub(crate) fn status(&self) -> Value {
        let reported = |reported: &NamedNodes| -> Vec<Value> {
            reported.first.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect()
        };
        json!({
            "clean": self.clean,
            "awaited": reported(&self.awaited),
            "notAwaited": reported(&self.given_up),
        })
    }
}

fn list(reported: &NamedNodes) -> String {
    let named: Vec<String> =
        reported.first.iter().take(NAMED).map(|(name, reason)| format!("{name} ({reason})")).collect();
    match reported.count.saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use extension_config::node_report::{self, Stage};
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn report(phase: &str, message: &str) -> NodeReport {
        NodeReport {
            stage: Stage::Blocked,
            phase: phase.to_owned(),
            desired: String::new(),
            since: 0,
            restarts: 0,
            message: message.to_owned(),
            warnings: Vec::new(),
            config: None,
            retry_at: None,
            awaits_slot: false,
            backend: None,
            version: None,
            codes: Vec::new(),
            slot_since: None,
            published: node_report::Published::default(),
        }
    }

    #[test]
    fn every_node_counts_once_and_is_named_with_its_reason() {
        const LIMIT: i64 = 600;
        let waits = "not Ready, waited for until that has lasted 10 min";
        let gone = "not Ready for more than 10 min";
        // (agent, away since, report) -> (awaited, given up)
        let table = [
            (Agent::Done, None, None, None, None),
            // Clean is clean, whatever kubelet says now.
            (Agent::Done, Some(-LIMIT - 1), None, None, None),
            (Agent::Done, None, Some(report("Remove", "left over")), None, None),
            (Agent::Missing, None, None, Some("its agent does not run yet"), None),
            (Agent::Missing, None, Some(report("Remove", "old")), Some("its agent does not run yet"), None),
            (Agent::AtWork, None, None, Some("its agent is at work"), None),
            (Agent::AtWork, None, Some(report("Install", "of before")), Some("its agent is at work"), None),
            (Agent::AtWork, None, Some(report("Remove", "")), Some("its agent is at work"), None),
            (Agent::AtWork, None, Some(report("Remove", "no space")), Some("Blocked: no space"), None),
            (Agent::Missing, Some(0), None, Some(waits), None),
            (Agent::AtWork, Some(-LIMIT), None, Some(waits), None),
            (Agent::AtWork, Some(-LIMIT - 1), None, None, Some(gone)),
            (Agent::Missing, Some(-LIMIT - 1), None, None, Some(gone)),
            // A clock that is ahead of ours gives nobody up.
            (Agent::Missing, Some(LIMIT * 10), None, Some(waits), None),
        ];
        for (agent, away, report, awaited, given_up) in table {
            let node = Node { name: "n".to_owned(), away_since: away.map(at), agent, report };
            let tally = tally(std::slice::from_ref(&node), at(0));
            let reported = |reported: &NamedNodes| reported.first.first().map(|(_, reason)| reason.clone());
            assert_eq!(reported(&tally.awaited).as_deref(), awaited, "{node:?}");
            assert_eq!(reported(&tally.given_up).as_deref(), given_up, "{node:?}");
            assert_eq!(tally.clean, usize::from(awaited.is_none() && given_up.is_none()), "{node:?}");
        }
    }

    #[test]
    fn messages_stay_short() {
        let node = |number: usize| Node {
            name: format!("n{number:02}"),
            away_since: None,
            agent: Agent::AtWork,
            report: Some(report("Remove", &"x".repeat(5000))),
        };
        let nodes: Vec<Node> = (0..200).map(node).collect();
        let message = tally(&nodes, at(0)).message().unwrap();
        assert!(message.len() < 1024 && message.ends_with("and 195 more"), "{message}");
        assert!(message.starts_with("waiting until cri-resmgr is removed from 200 of 200 nodes: n00 ("), "{message}");
        assert_eq!(tally(&nodes, at(0)).status()["awaited"].as_array().unwrap().len(), 50);
        assert_eq!((tally(&[], at(0)).message(), tally(&[], at(0)).note()), (None, None));
    }

    proptest! {
        /// Nobody is forgotten, and without kubelet's silence nobody is given up.
        #[test]
        fn all_nodes_are_accounted_for(raw in proptest::collection::vec((0_u8..3, proptest::option::of(-2000_i64..2000)), 0..30)) {
            let nodes: Vec<Node> = raw.iter().enumerate().map(|(number, (agent, away))| Node {
                name: format!("n{number}"),
                away_since: away.map(at),
                agent: [Agent::Missing, Agent::AtWork, Agent::Done][usize::from(*agent)],
                report: None,
            }).collect();
            let tally = tally(&nodes, at(0));
            prop_assert_eq!(tally.awaited.count + tally.given_up.count + tally.clean, nodes.len());
            prop_assert!(tally.given_up.count <= nodes.iter().filter(|node| node.away_since.is_some()).count());
            prop_assert_eq!(tally.message().is_none(), tally.awaited.count == 0);
        }
    }
}
