use serde_json::json;

use super::*;

#[test]
fn every_state_of_hibernation() {
    let shoot = |asked: Option<bool>, reached: bool, deleting: bool| -> Shoot {
        let deletion = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"deletionTimestamp": deletion, "generation": 1},
            "spec": {"hibernation": {"enabled": asked}},
            "status": {"hibernated": reached},
        }))
        .unwrap()
    };
    for (asked, reached, expected) in [
        (None, false, Sleep::Awake),
        (Some(false), false, Sleep::Awake),
        (Some(true), false, Sleep::FallingAsleep),
        (Some(true), true, Sleep::Asleep),
        (Some(false), true, Sleep::WakingUp),
        (None, true, Sleep::WakingUp),
    ] {
        assert_eq!(Sleep::of(Some(&shoot(asked, reached, false))), expected, "{asked:?} {reached}");
        assert_eq!(Sleep::of(Some(&shoot(asked, reached, true))), Sleep::Awake, "in deletion: {asked:?} {reached}");
        assert_eq!(expected.can_prove(), !shoot(asked, reached, false).is_hibernated());
    }
    assert_eq!(Sleep::of(None), Sleep::Awake);
}

#[test]
fn what_is_said() {
    let reported = |sleep: Sleep| sleep.explain("waiting for x".to_owned());
    assert_eq!(reported(Sleep::Awake), "waiting for x");
    assert_eq!(reported(Sleep::Asleep), "the shoot is hibernated, and this ends after it wakes up: waiting for x");
    assert_eq!(
        reported(Sleep::FallingAsleep),
        "the shoot is being hibernated, and what is not done before ends after it wakes up: waiting for x"
    );
    assert_eq!(reported(Sleep::WakingUp), "the shoot is waking up: waiting for x");
}
