use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::facts::{SetFact, SlotsFact};

/// A row of 10 s before second 1000.
pub(crate) fn row(node: &str, stage: &'static str, reason: &str, codes: &[&str]) -> Row {
    let known: Vec<ReasonCode> = codes.iter().filter_map(|code| ReasonCode::parse(code)).collect();
    let of = Stage::ALL.into_iter().find(|known| known.as_str() == stage).unwrap();
    Row {
        node: node.to_owned(),
        stage: Some(stage),
        since: Some(990),
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        ..nothing(super::urgency(of, &known), reason)
    }
}

/// A shoot of nodes `n1`, `n2`, … that are all as desired.
pub(crate) fn good(count: usize) -> Facts {
    let names = || (1..=count).map(|number| format!("n{number}"));
    let selector = BTreeMap::from([("os".to_owned(), "linux".to_owned())]);
    let node = NodeFact { pool: "pool-a".to_owned(), labels: selector.clone() };
    let pod = |name: &String| PodFact { name: format!("agent-{name}"), is_ready: true, ..PodFact::default() };
    Facts {
        nodes: names().map(|name| (name, node.clone())).collect(),
        reports: names().map(|name| (name, Ok(report("Installed", "", &[])))).collect(),
        pods: Some(names().map(|name| (name.clone(), pod(&name))).collect()),
        set: Some(SetFact { phase: "Install".to_owned(), desired: Some("5bba82fd".to_owned()), selector, halt: None }),
        backend: Some("cri-resmgr"),
        ..Facts::default()
    }
}

/// A report about the desired state of [`good`].
pub(crate) fn report(stage: &str, message: &str, codes: &[&str]) -> NodeReport {
    serde_json::from_value(serde_json::json!({
        "stage": stage, "phase": "Install", "desired": "5bba82fd", "since": 940, "message": message, "codes": codes,
    }))
    .unwrap()
}

fn of_n1(facts: &Facts) -> (Urgency, String) {
    let row = rows(facts).into_iter().next().unwrap();
    (row.urgency, row.reason)
}

/// Facts of one node whose report says this.
fn facts_with_report(stage: &str, message: &str, codes: &[&str]) -> Facts {
    let mut facts = good(1);
    facts.reports.insert("n1".to_owned(), Ok(report(stage, message, codes)));
    facts
}

/// In the middle of a migration a fleet is mixed.
#[test]
fn each_node_has_the_backend_that_its_agent_reports() {
    let mut facts = good(2);
    let mut moved = report("Installed", "", &[]);
    moved.backend = Some("nri-\u{1b}[31mplugins".to_owned());
    moved.awaits_slot = true;
    facts.reports.insert("n2".to_owned(), Ok(moved));
    let rows = rows(&facts);
    assert_eq!(rows[0].backend, None, "an agent of before");
    let reported = rows[1].backend.as_deref().unwrap();
    assert!(reported.starts_with("nri-") && !reported.contains('\u{1b}'), "{reported:?}");
    assert_eq!((rows[0].slot, rows[1].slot), (None, Some(Slot::Waits)));
}

#[test]
fn a_stage_and_its_reasons_say_whether_somebody_is_needed() {
    for (stage, message, codes, expected) in [
        ("Installed", "", &[][..], Urgency::AsDesired),
        ("Clean", "", &[], Urgency::AsDesired),
        ("Installed", "cri-resmgr-config.default is not valid", &["ConfigInvalid"], Urgency::Stuck),
        ("Working", "3 steps to do", &["UnderWay"], Urgency::UnderWay),
        ("Working", "3 steps to do", &[], Urgency::UnderWay),
        ("Working", "waiting for a switch slot", &["SlotsTaken"], Urgency::UnderWay),
        ("Working", "no node switches any more", &["SwitchesStopped"], Urgency::Stuck),
        ("Working", "read x: no answer", &["RoundFailed"], Urgency::Stuck),
        ("Working", "something new", &["OfTheFuture"], Urgency::UnderWay),
        ("Blocked", "masked", &["Masked"], Urgency::Stuck),
        ("Blocked", "masked", &[], Urgency::Stuck),
        ("Blocked", "something new", &["OfTheFuture"], Urgency::Stuck),
        ("Blocked", "restart budget used up", &["RestartBudget"], Urgency::UnderWay),
        ("RolledBack", "rolled back after failure 1", &["RolledBack"], Urgency::Stuck),
        ("Undecided", "the labels cannot be read", &["Undecided"], Urgency::UnderWay),
        ("OfTheFuture", "m", &[], Urgency::UnderWay),
    ] {
        assert_eq!(of_n1(&facts_with_report(stage, message, codes)).0, expected, "{stage} {codes:?}");
    }
}

#[test]
fn a_good_report_counts_only_with_a_pod_that_says_the_same() {
    let pods = |pod: Option<PodFact>| {
        let mut facts = good(1);
        facts.pods = Some(pod.map(|pod| ("n1".to_owned(), pod)).into_iter().collect());
        facts
    };
    let (urgency, reason) = of_n1(&pods(None));
    assert_eq!((urgency, reason.as_str()), (Urgency::Stuck, "the agent's pod is gone; the report is its last word"));
    assert_eq!(of_n1(&pods(Some(PodFact::default()))).0, Urgency::UnderWay);
    let trouble = PodFact { trouble: Some("its container: CrashLoopBackOff".to_owned()), ..PodFact::default() };
    let (urgency, reason) = of_n1(&pods(Some(trouble)));
    assert_eq!(urgency, Urgency::Stuck);
    assert_eq!(reason, "the agent's pod is not ready: its container: CrashLoopBackOff");
    let unseen = Facts { pods: None, ..good(1) };
    assert_eq!(of_n1(&unseen).0, Urgency::AsDesired, "who may not list pods goes by the reports");
}

#[test]
fn a_report_about_another_desired_state_is_an_old_one() {
    let mut facts = good(1);
    facts.set = facts.set.map(|set| SetFact { desired: Some("01234567".to_owned()), ..set });
    let (urgency, reason) = of_n1(&facts);
    assert_eq!(urgency, Urgency::UnderWay);
    assert_eq!(reason, "the report is about desired state 5bba82fd, wanted is 01234567");
}

#[test]
fn a_node_without_a_report_is_reported_by_its_pod() {
    let silent = || {
        let mut facts = good(1);
        facts.reports.clear();
        facts
    };
    assert_eq!(of_n1(&silent()), (Urgency::UnderWay, "no report yet; the agent's pod runs".to_owned()));
    let mut removed = silent();
    removed.set = removed.set.map(|set| SetFact { phase: "Remove".to_owned(), ..set });
    assert_eq!(of_n1(&removed), (Urgency::AsDesired, String::new()));
    let mut without_pod = silent();
    without_pod.pods = Some(BTreeMap::new());
    assert_eq!(of_n1(&without_pod), (Urgency::Stuck, "no report, and no pod of the agent".to_owned()));
    without_pod.pods = None;
    assert_eq!(of_n1(&without_pod), (Urgency::Stuck, "no report".to_owned()));
    let mut other = silent();
    other.nodes.insert("n1".to_owned(), NodeFact::default());
    let expected = "no agent runs here: the Node has not the label os=linux";
    assert_eq!(of_n1(&other), (Urgency::NotServed, expected.to_owned()));
    let mut without_set = silent();
    without_set.set = None;
    assert_eq!(of_n1(&without_set).0, Urgency::NotServed);
    without_set.is_set_hidden = true;
    assert_eq!(of_n1(&without_set), (Urgency::Stuck, "no report".to_owned()), "it may be there");
}

#[test]
fn a_report_that_cannot_be_read_is_said_to_be_so() {
    let mut facts = good(1);
    facts.reports.insert("n1".to_owned(), Err("the report has 262145 bytes".to_owned()));
    assert_eq!(of_n1(&facts), (Urgency::Stuck, "the report has 262145 bytes".to_owned()));
}

#[test]
fn slots_are_held_or_waited_for() {
    let slot = |facts: &Facts| rows(facts)[0].slot;
    assert_eq!(slot(&good(1)), None);
    assert_eq!(slot(&facts_with_report("Working", "m", &["SlotsTaken"])), Some(Slot::Waits));
    let by_words = "kubelet runs on containerd; waiting for a switch slot (1 node at a time)";
    assert_eq!(slot(&facts_with_report("Working", by_words, &[])), Some(Slot::Waits), "an agent of before the codes");
    let mut holds = facts_with_report("Working", "3 steps to do", &["UnderWay"]);
    holds.slots = SlotsFact { holders: BTreeSet::from(["n1".to_owned()]), ..SlotsFact::default() };
    assert_eq!(slot(&holds), Some(Slot::Holds));
}

#[test]
fn reports_without_a_node_are_no_rows() {
    let mut facts = good(2);
    facts.nodes.remove("n2");
    assert_eq!((rows(&facts).len(), strays(&facts)), (1, vec!["n2".to_owned()]));
}

#[test]
fn what_a_node_has_written_is_clean_and_within_limits() {
    let mut hostile = report("Blocked", &"\u{1b}[2Jx\n".repeat(100_000), &["\u{9b}31m"]);
    hostile.warnings = vec!["\u{7}".to_owned(); 10_000];
    hostile.config = Some("\u{1b}c".repeat(1000));
    hostile.codes.extend(vec!["Masked".to_owned(); 10_000]);
    hostile.phase = "\u{202e}".to_owned();
    let mut facts = good(1);
    facts.reports.insert("n1".to_owned(), Ok(hostile));
    let row = rows(&facts).remove(0);
    let json = serde_json::to_string(&row).unwrap();
    assert!(json.len() < 20_000, "{}", json.len());
    assert!(!json.contains("\\u001b") && !json.contains('\u{9b}') && !json.contains("\\u0007"), "{json}");
    assert_eq!((row.codes.len(), row.warnings.len()), (limits::ENTRIES, limits::ENTRIES));
}
