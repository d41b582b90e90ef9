use gardener_api::ManagedResourceSpec;
use serde_json::json;

use super::*;

#[test]
fn every_situation_has_its_step() {
    use Found::{Deleting, Nothing, Present};
    let table = [
        // (shoot is deleting, proven, found) -> step
        ((true, false, Nothing), Step::Delete),
        ((true, false, Deleting), Step::Delete),
        ((true, false, Present), Step::Delete),
        ((true, true, Nothing), Step::Delete),
        ((true, true, Deleting), Step::Delete),
        ((true, true, Present), Step::Delete),
        ((false, true, Nothing), Step::Delete),
        ((false, true, Deleting), Step::Delete),
        ((false, true, Present), Step::Apply),
        ((false, false, Nothing), Step::Apply),
        ((false, false, Present), Step::Apply),
        ((false, false, Deleting), Step::AwaitForeignDeletion),
    ];
    for ((shoot_is_deleting, proven, found), expected) in table {
        assert_eq!(
            next(Situation { shoot_is_deleting, proven, found }),
            expected,
            "{shoot_is_deleting} {proven} {found:?}"
        );
    }
}

#[test]
fn only_a_resource_of_the_installation_delivers_one() {
    let of = |phase: &str| resource(phase, 1, 1, ["True", "True", "False"]);
    assert!(is_installation(Some(&of(Phase::Install.as_str()))));
    assert!(!is_installation(Some(&of(Phase::Remove.as_str()))));
    assert!(!is_installation(None));
}

fn resource(phase: &str, generation: i64, observed: i64, conditions: [&str; 3]) -> ManagedResource {
    at(phase, generation, observed, conditions, ["05", "07", "06"])
}

/// The times are those seconds of a minute at which the conditions changed.
fn at(phase: &str, generation: i64, observed: i64, conditions: [&str; 3], seconds: [&str; 3]) -> ManagedResource {
    let types = ["ResourcesApplied", "ResourcesHealthy", "ResourcesProgressing"];
    let conditions: Vec<_> = (0..3)
        .map(|index| {
            let time = format!("2026-01-01T00:00:{}Z", seconds[index]);
            json!({"type": types[index], "status": conditions[index], "reason": "Reason", "message": "",
                "lastTransitionTime": time, "lastUpdateTime": time})
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": "m", "namespace": "n", "generation": generation},
        "spec": {"secretRefs": [], "injectLabels": {names::PHASE_KEY: phase}},
        "status": {"observedGeneration": observed, "conditions": conditions},
    }))
    .unwrap()
}

#[test]
fn only_the_current_generation_of_the_removal_phase_is_proof() {
    assert_eq!(proof(&resource("Remove", 2, 2, ["True", "True", "False"]), Duration::ZERO), Proof::Complete);
    for (phase, generation, observed, conditions) in [
        ("Install", 2, 2, ["True", "True", "False"]),
        ("Remove", 2, 1, ["True", "True", "False"]),
        ("Remove", 2, 2, ["Progressing", "True", "False"]),
        ("Remove", 2, 2, ["False", "True", "False"]),
        ("Remove", 2, 2, ["True", "Unknown", "False"]),
        ("Remove", 2, 2, ["True", "False", "False"]),
        ("Remove", 2, 2, ["True", "True", "True"]),
        ("Remove", 2, 2, ["True", "True", "Unknown"]),
    ] {
        // No time makes a proof of it.
        let found = proof(&resource(phase, generation, observed, conditions), Duration::from_secs(3600));
        let awaited = |message: &str| message.starts_with("waiting until cri-resmgr is removed");
        assert!(matches!(&found, Proof::Awaited(message) if awaited(message)), "{phase} {conditions:?}: {found:?}");
    }
    let fresh = ManagedResource::new("m", ManagedResourceSpec::default());
    assert!(matches!(proof(&fresh, CONFIRMATION), Proof::Awaited(_)), "a resource without status proves nothing");
}

#[test]
fn a_health_check_from_before_the_roll_out_must_stand_for_a_while() {
    let proven = ["True", "True", "False"];
    let second = Duration::from_secs(1);
    for (healthy, rolled_out, unchanged_for, expected) in [
        ("07", "06", Duration::ZERO, Proof::Complete),
        // Within the same second the order is unknown.
        ("06", "06", Duration::ZERO, Proof::Unconfirmed(CONFIRMATION)),
        ("05", "06", Duration::ZERO, Proof::Unconfirmed(CONFIRMATION)),
        ("05", "06", CONFIRMATION.saturating_sub(second), Proof::Unconfirmed(second)),
        ("05", "06", CONFIRMATION, Proof::Complete),
    ] {
        let found = proof(&at("Remove", 2, 2, proven, ["04", healthy, rolled_out]), unchanged_for);
        assert_eq!(
            found, expected,
            "healthy at {healthy}, rolled out at {rolled_out}, unchanged for {unchanged_for:?}"
        );
    }
}

#[test]
fn what_was_found() {
    assert_eq!(found(None), Found::Nothing);
    let mut present = ManagedResource::new("m", ManagedResourceSpec::default());
    assert_eq!(found(Some(&present)), Found::Present);
    present.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert_eq!(found(Some(&present)), Found::Deleting);
}

#[test]
fn time_counts_from_when_the_resource_last_changed() {
    let removals = Removals::default();
    let mut seen = at("Remove", 2, 2, ["True", "True", "False"], ["05", "06", "06"]);
    seen.metadata.resource_version = Some("1".into());
    let start = std::time::Instant::now();
    assert_eq!(removals.judge("a", &seen, None, start), Proof::Unconfirmed(CONFIRMATION));
    seen.metadata.resource_version = Some("2".into());
    assert_eq!(removals.judge("a", &seen, None, start + CONFIRMATION), Proof::Unconfirmed(CONFIRMATION));
    assert!(!removals.is_proven("a"));
    assert_eq!(removals.judge("a", &seen, None, start + CONFIRMATION * 2), Proof::Complete);
    assert!(removals.is_proven("a") && !removals.is_proven("b"));
    // What came undone is not proven any more.
    let undone = at("Remove", 2, 2, ["True", "False", "False"], ["05", "07", "06"]);
    assert!(matches!(removals.judge("a", &undone, None, start + CONFIRMATION * 3), Proof::Awaited(_)));
    assert!(!removals.is_proven("a"));
    removals.forget("a");
}

#[test]
fn proof_by_nodes_needs_the_applied_phase_and_clean_nodes_and_nothing_else() {
    let node = |name: &str, agent, away: bool| nodes::Node {
        name: name.to_owned(),
        away_since: away.then_some(jiff::Timestamp::UNIX_EPOCH),
        agent,
        report: None,
    };
    let both = [node("a", nodes::Agent::Done, false), node("b", nodes::Agent::Done, false)];
    let dead = [&both[..], &[node("dead", nodes::Agent::AtWork, true)]].concat();
    let slow = [&dead[..], &[node("slow", nodes::Agent::AtWork, false)]].concat();
    let [clean, given_up, awaited] = [&both[..], &dead, &slow].map(|nodes| nodes::tally(nodes, jiff::Timestamp::now()));
    for (phase, generation, observed, conditions, complete) in [
        ("Remove", 2, 2, ["True", "True", "False"], true),
        // A dead node keeps the resource unhealthy; a health check may be old.
        ("Remove", 2, 2, ["True", "False", "True"], true),
        ("Remove", 2, 2, ["True", "Unknown", "Unknown"], true),
        ("Install", 2, 2, ["True", "True", "False"], false),
        ("Remove", 2, 1, ["True", "True", "False"], false),
        ("Remove", 2, 2, ["Progressing", "True", "False"], false),
        ("Remove", 2, 2, ["False", "True", "False"], false),
    ] {
        let resource = resource(phase, generation, observed, conditions);
        for tally in [&clean, &given_up] {
            let found = proof_by_nodes(&resource, tally);
            assert_eq!(found == Proof::Complete, complete, "{phase} {generation} {observed} {conditions:?}: {found:?}");
        }
        let found = proof_by_nodes(&resource, &awaited);
        assert!(
            matches!(&found, Proof::Awaited(message) if !complete || message.contains("slow (its agent is at work)")),
            "{found:?}"
        );
    }
}

#[test]
fn proof_by_nodes_needs_no_time_and_a_note_is_published_once() {
    let removals = Removals::default();
    let seen = at("Remove", 2, 2, ["True", "True", "False"], ["05", "06", "06"]);
    let start = std::time::Instant::now();
    assert!(removals.record_note("a", "n"), "nothing is known yet");
    assert_eq!(removals.judge("a", &seen, Some(&nodes::Tally::default()), start), Proof::Complete);
    assert!(removals.is_proven("a"));
    // The shoot cannot be asked any more: the resource alone must say it again.
    assert!(matches!(removals.judge("a", &seen, None, start), Proof::Unconfirmed(_)));
    assert!(!removals.is_proven("a"));
    assert!(removals.record_note("a", "n") && !removals.record_note("a", "n") && removals.record_note("a", "m"));
}
