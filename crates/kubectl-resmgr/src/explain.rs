//! `explain`: why a node is not as desired, and what to do. Nodes with the same reasons are shown together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use extension_config::ReasonCode;

use crate::advice::advice;
use crate::duration::age;
use crate::limits;
use crate::rows::{Row, Slot, Urgency};
use crate::status::{Status, listed};
use crate::style::{Style, Tone};

/// Explanations that are given at a time; a shoot has few reasons, however many nodes.
const GROUPS: usize = 20;

/// What nodes that are shown together have in common: stage, codes and, without codes, the sentence.
type Shared<'a> = (Option<&'a str>, &'a [String], &'a str);

/// Of all nodes that are not as desired.
pub(crate) fn all(status: &Status, now: u64, style: Style) -> String {
    if !status.is_there {
        return status.text(now, style, None);
    }
    let mut groups: BTreeMap<Shared<'_>, Vec<&Row>> = BTreeMap::new();
    for row in status.nodes.iter().filter(|row| matches!(row.urgency, Urgency::UnderWay | Urgency::Stuck)) {
        // Where there are codes they say what the sentences have in common: these name times and files.
        let sentence = if row.codes.is_empty() { row.reason.as_str() } else { "" };
        groups.entry((row.stage, &row.codes, sentence)).or_default().push(row);
    }
    if groups.is_empty() {
        return format!("All {} nodes are as desired.\n", status.nodes.len());
    }
    let mut groups: Vec<Vec<&Row>> = groups.into_values().collect();
    // Who needs somebody comes first, then what concerns most.
    groups.sort_by_key(|rows| {
        let worst = rows.iter().map(|row| row.urgency).max();
        (std::cmp::Reverse(worst), std::cmp::Reverse(rows.len()))
    });
    let left = groups.len().saturating_sub(GROUPS);
    let reported: Vec<String> = groups.iter().take(GROUPS).filter_map(|rows| group(rows, now, style)).collect();
    let mut text = reported.join("\n");
    if left > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nand {left} more reasons (kubectl resmgr explain NODE)");
    }
    for note in &status.notes {
        let _ = writeln!(text, "\nnote: {note}");
    }
    text
}

/// Nodes with the same reasons, by the first of them.
fn group(rows: &[&Row], now: u64, style: Style) -> Option<String> {
    let first = rows.first()?;
    let names: Vec<String> = rows.iter().map(|row| row.node.clone()).collect();
    let head = if rows.len() == 1 { names[0].clone() } else { format!("{} nodes: {}", rows.len(), listed(&names)) };
    Some(describe(first, &head, rows.len() > 1, now, style))
}

/// Of one node, whatever it is.
pub(crate) fn one(row: &Row, now: u64, style: Style) -> String {
    describe(row, &row.node, false, now, style)
}

fn describe(row: &Row, head: &str, are_many: bool, now: u64, style: Style) -> String {
    let (tone, words) = match (row.urgency, are_many) {
        (Urgency::AsDesired, _) => (Tone::Good, "is as desired"),
        (Urgency::UnderWay, false) => (Tone::Waiting, "is on its way"),
        (Urgency::UnderWay, true) => (Tone::Waiting, "are on their way"),
        (Urgency::Stuck, false) => (Tone::Bad, "needs somebody"),
        (Urgency::Stuck, true) => (Tone::Bad, "need somebody"),
        (Urgency::NotServed, _) => (Tone::Faint, "is not served"),
    };
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<10} {value}");
    };
    let stage = row.stage.map(|stage| format!(" (stage {stage})")).unwrap_or_default();
    let since = row.since.map(|since| format!(", for {}", age(since, now))).unwrap_or_default();
    line("node", &format!("{head} {}{stage}{since}", style.paint(tone, words)));
    if !row.reason.is_empty() {
        line("says", &row.reason);
    }
    for code in &row.codes {
        if let Some(code) = ReasonCode::parse(code) {
            let advice = advice(code);
            line("means", advice.means);
            line("do", advice.todo);
        } else {
            line("means", &format!("{code}: a reason that this program does not know; the agent is newer"));
            line("do", "Take the kubectl-resmgr of the extension's version, and read what the agent says.");
        }
    }
    if row.codes.is_empty() && !row.reason.is_empty() {
        line("do", if is_about_pod(row) { of_the_pod(row) } else { untyped(row) });
    }
    if row.slot == Some(Slot::Holds) {
        line("slot", "it holds a switch slot: it is at work");
    }
    if let Some(at) = row.retry_at.filter(|at| *at > now) {
        line("next try", &format!("in {}", age(now, at)));
    }
    for warning in row.warnings.iter().take(limits::NAMES) {
        line("warning", warning);
    }
    if let Some(config) = &row.config {
        line("in effect", config);
    }
    text
}

/// There is no report, or a good one that the agent's pod does not bear out.
fn is_about_pod(row: &Row) -> bool {
    row.stage.is_none() || row.is_doubted
}

/// There is a report, and no code in it.
fn untyped(row: &Row) -> &'static str {
    match row.urgency {
        Urgency::AsDesired | Urgency::NotServed => "Nothing.",
        Urgency::UnderWay => "Wait; if it lasts, look at the agent's pod and its log (kubectl resmgr must-gather).",
        Urgency::Stuck => {
            "See what the agent says. (Its report has no reason codes: the agent is of an earlier version.)"
        }
    }
}

/// What there is to see is the pod.
fn of_the_pod(row: &Row) -> &'static str {
    match row.urgency {
        Urgency::NotServed => {
            "Nothing, unless it is to be served: agents run on amd64 nodes with containerd, as Gardener labels them."
        }
        _ => {
            "Look at the agent's pod: kubectl -n kube-system get pods -l app.kubernetes.io/name=cri-resmgr-node-agent -o wide"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::row;

    #[test]
    fn advice_is_given_by_code() {
        let mut masked = row("n1", "Blocked", "cri-resource-manager.service is masked", &["Masked"]);
        masked.retry_at = Some(1100);
        insta::assert_snapshot!(one(&masked, 1000, Style::Plain), @"
        node       n1 needs somebody (stage Blocked), for 10s
        says       cri-resource-manager.service is masked
        means      Somebody has masked one of the extension's units, to keep it off this node.
        do         `systemctl unmask UNIT` on the node, if it is wanted again.
        next try   in 100s
        ");
    }

    #[test]
    fn a_code_of_a_newer_agent_is_said_to_be_unknown() {
        let reported = one(&row("n1", "Blocked", "m", &["OfTheFuture", "Space"]), 1000, Style::Plain);
        assert!(
            reported.contains("OfTheFuture: a reason that this program does not know; the agent is newer"),
            "{reported}"
        );
        assert!(reported.contains("too full"), "what is known is shown: {reported}");
    }

    #[test]
    fn a_report_without_codes_is_reported_as_it_is() {
        let reported = one(&row("n1", "Blocked", "some sentence", &[]), 1000, Style::Plain);
        assert!(reported.contains("says       some sentence\ndo         See what the agent says."), "{reported}");
    }

    #[test]
    fn a_good_report_without_a_pod_leads_to_the_pod() {
        let mut facts = crate::rows::tests::good(1);
        facts.pods = Some(BTreeMap::new());
        let reported = all(&Status::of(&facts), 1000, Style::Plain);
        assert!(
            reported.contains("the agent's pod is gone") && reported.contains("do         Look at the agent's pod: "),
            "{reported}"
        );
    }

    #[test]
    fn a_reason_that_many_nodes_share_is_reported_once() {
        let mut nodes: Vec<Row> = (0..5000)
            .map(|number| row(&format!("n{number:04}"), "Working", &format!("waits since {number}"), &["SlotsTaken"]))
            .collect();
        nodes.push(row("x", "RolledBack", "rolled back after failure 1: …", &["RolledBack"]));
        let status = Status { is_there: true, nodes, ..Status::of(&crate::facts::Facts::default()) };
        let text = all(&status, 1000, Style::Plain);
        assert!(text.starts_with("node       x needs somebody (stage RolledBack), for 10s\n"), "{text}");
        let names =
            "5000 nodes: n0000, n0001, n0002, n0003, n0004, n0005, n0006, n0007, n0008, n0009 and 4990 more are on";
        assert!(text.contains(names) && text.len() < 2000, "{text}");
    }
}
