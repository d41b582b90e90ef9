use extension_config::names;

use super::*;
use crate::facts::NodeFact;
use crate::rows::tests::{good, report};

/// A shoot in the middle of a roll-out, with everything that can be said of one.
fn mixed() -> Facts {
    let mut facts = good(6);
    let mut add_report = |node: &str, stage: &str, message: &str, codes: &[&str]| {
        facts.reports.insert(node.to_owned(), Ok(report(stage, message, codes)));
    };
    add_report(
        "n2",
        "Working",
        "kubelet runs on containerd; waiting for a switch slot (1 node at a time)",
        &["SlotsTaken"],
    );
    add_report(
        "n3",
        "RolledBack",
        "rolled back after failure 1: prove that the proxy answers: it crashed",
        &["RolledBack"],
    );
    add_report(
        "n5",
        "Working",
        "4 steps to do, with a restart of kubelet.service; next: write /opt/x (absent)",
        &["UnderWay"],
    );
    add_report("gone", "Installed", "", &[]);
    facts.reports.remove("n4");
    facts.nodes.insert("n6".to_owned(), NodeFact::default());
    facts.reports.remove("n6");
    facts.slots.holders.insert("n5".to_owned());
    facts.slots.rolled_back.push("n3".to_owned());
    facts.notes.push("something\u{1b}[2J".to_owned());
    facts
}

#[test]
fn a_table_of_everything() {
    insta::assert_snapshot!(Status::of(&mixed()).text(1000, Style::Plain, None), @"
    NODE   POOL     BACKEND      STAGE        SINCE   SLOT    REASON
    n1     pool-a   cri-resmgr   Installed    60s     -
    n2     pool-a   -            Working      60s     waits   kubelet runs on containerd; waiting for a switch slot (1 node at a time)
    n3     pool-a   -            RolledBack   60s     -       rolled back after failure 1: prove that the proxy answers: it crashed
    n4     pool-a   -            -            -       -       no report yet; the agent's pod runs
    n5     pool-a   -            Working      60s     holds   4 steps to do, with a restart of kubelet.service; next: write /opt/x (absent)
    n6     -        -            -            -       -       no agent runs here: the Node has not the label os=linux

    6 nodes: 1 as desired, 3 under way or waiting, 1 in need of somebody (kubectl resmgr explain), 1 not served; wanted: Install of cri-resmgr (desired state 5bba82fd)
    switch slots: held by n5; 1 waiting
    rolled back, as counted for the stop of switches: n3
    reports of nodes that are not in the cluster (they are not counted): gone
    note: something�[2J
    ");
}

#[test]
fn a_table_fits_its_terminal() {
    let text = Status::of(&mixed()).text(1000, Style::Plain, Some(80));
    let rows: Vec<&str> = text.lines().take(7).collect();
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{text}");
    assert!(rows[3].ends_with('…'), "{text}");
}

#[test]
fn colours_follow_the_urgency() {
    let text = Status::of(&mixed()).text(1000, Style::Coloured, None);
    for (stage, code) in [("Installed", 32), ("Working", 33), ("RolledBack", 31)] {
        assert!(text.contains(&format!("\u{1b}[{code}m{stage}\u{1b}[0m")), "{text}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst_node() {
    let exit = |facts: &Facts| Status::of(facts).exit().code();
    assert_eq!(exit(&good(3)), 0);
    assert_eq!(exit(&mixed()), 4);
    let mut working = good(2);
    working.reports.insert("n1".to_owned(), Ok(report("Working", "m", &["UnderWay"])));
    assert_eq!(exit(&working), 3);
    assert_eq!(exit(&Facts::default()), 5);
    assert_ne!(exit(&Facts { is_set_hidden: true, ..Facts::default() }), 5, "nobody knows");
    let nodes = good(2).nodes;
    assert_eq!(exit(&Facts { nodes, ..Facts::default() }), 5, "nodes, and no extension");
    let mut unserved = good(1);
    (unserved.nodes, unserved.reports) = ([("n1".to_owned(), NodeFact::default())].into(), [].into());
    assert_eq!(exit(&unserved), 0, "where no agent is to run nothing is awaited");
}

#[test]
fn json_has_what_the_table_has() {
    let json = Status::of(&mixed()).json(false).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let counts = serde_json::json!({ "nodes": 6, "asDesired": 1, "underWay": 3, "stuck": 1, "notServed": 1, "waitingForSlot": 1 });
    assert_eq!(value["counts"], counts);
    assert_eq!(value["nodes"][2]["codes"][0], "RolledBack");
    assert_eq!(value["reportsWithoutNode"][0], "gone");
    assert_eq!(
        (&value["phase"], &value["backend"], &value["desiredState"]),
        (&"Install".into(), &"cri-resmgr".into(), &"5bba82fd".into())
    );
    assert_eq!(Status::of(&mixed()).json(true).unwrap().lines().count(), 1);
}

/// Thousands of nodes are no reason to wait.
#[test]
fn five_thousand_nodes_are_a_matter_of_a_moment() {
    let facts = good(5000);
    let start = std::time::Instant::now();
    let status = Status::of(&facts);
    let (text, json) = (status.text(1000, Style::Plain, None), status.json(false).unwrap());
    assert_eq!((text.lines().count(), status.exit().code()), (5003, 0));
    assert!(json.len() < 4 << 20, "{}", json.len());
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_cluster_without_the_extension_is_said_to_be_so() {
    let text = Status::of(&Facts::default()).text(1000, Style::Plain, None);
    assert!(text.starts_with("The extension is not in this cluster"), "{text}");
}

#[test]
fn names_are_listed_up_to_a_limit() {
    let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    assert_eq!(listed(&[]), "nobody");
}

#[test]
fn a_stop_of_all_switches_is_reported_with_who_is_held_by_it() {
    let mut facts = good(3);
    let set = facts.set.as_mut().unwrap();
    let annotations = [(names::HALT_ANNOTATION.to_owned(), "INC-1".to_owned())].into();
    set.halt = extension_config::Halt::of(&annotations);
    let mut held = report("Working", "kubelet runs on containerd; all switches are halted: INC-1", &["SwitchesHalted"]);
    held.awaits_slot = true;
    facts.reports.insert("n2".to_owned(), Ok(held));
    let status = Status::of(&facts);
    let text = status.text(1000, Style::Plain, None);
    assert!(text.contains("\nall switches are halted (INC-1); held by that: 1\n") && !text.contains("waits"), "{text}");
    let json = status.json(true).unwrap();
    assert!(json.contains(r#""heldByHalt":1"#) && json.contains(r#""halted":"INC-1""#), "{json}");
    assert_eq!(status.exit(), crate::exit::Exit::UnderWay, "nobody has to do anything about the node");
}
