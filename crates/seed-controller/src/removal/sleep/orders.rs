//! Field case D04: every order of hibernate, wake, switch on, switch off, delete and restart, in no matter how many steps.

mod controller;
mod shoot_state;

use std::collections::{BTreeSet, VecDeque};

use crate::removal::sleep::Sleep;
use crate::removal::{Found, found};
use shoot_state::{AWAKE, Extension, ShootState};

/// Everything that can be reached, in no matter how many steps.
fn reachable() -> BTreeSet<ShootState> {
    let mut seen = BTreeSet::from([AWAKE]);
    let mut ahead = VecDeque::from([AWAKE]);
    while let Some(state) = ahead.pop_front() {
        ahead.extend(state.steps().into_iter().filter(|state| seen.insert(*state)));
    }
    seen
}

#[test]
fn every_order_ends_and_none_switches_a_node_on() {
    let states = reachable();
    assert!(states.len() > 1000, "{}", states.len());
    assert!(states.iter().any(|state| state.off_in_sleep && state.node.is_some()), "and woke up");
    for state in states {
        // As it stands: a sleeping shoot waits, one in deletion ends.
        let end = state.run_to_completion();
        if state.deleting {
            assert_eq!((end.extension, end.resource, end.node), (Extension::Absent, None, None), "{state:?}");
        } else if state.wanted_asleep {
            assert_eq!(end.sleep(), Sleep::Asleep, "{state:?}");
            assert_eq!(end.extension != Extension::Absent, end.wanted_on || end.resource.is_some(), "{state:?}");
            let removing = end.resource.is_none_or(|resource| resource.removing);
            assert!(end.extension != Extension::Deleting || removing, "written before it wakes up: {state:?}");
        }
        // Woken up.
        let end = ShootState { wanted_asleep: false, ..state }.run_to_completion();
        let Some(node) = end.node.filter(|_| !state.deleting) else { continue };
        assert_eq!((node.switched, end.hibernated), (state.wanted_on, false), "{state:?}");
        let expected = if state.wanted_on { Extension::Present } else { Extension::Absent };
        assert_eq!((end.extension, end.resource.is_some()), (expected, state.wanted_on), "{state:?}");
    }
}

/// The order that D04 is about, step by step.
#[test]
fn switched_off_in_its_sleep() {
    let on = ShootState { wanted_on: true, ..AWAKE }.run_to_completion();
    assert!(on.node.is_some_and(|node| node.switched));
    let asleep = ShootState { wanted_asleep: true, ..on }.run_to_completion();
    assert_eq!((asleep.sleep(), asleep.node, asleep.daemon_set), (Sleep::Asleep, None, Some(false)));
    let off = ShootState { wanted_on: false, ..asleep }.run_to_completion();
    let resource = off.resource.unwrap();
    assert_eq!((off.extension, resource.removing, resource.applied), (Extension::Deleting, true, false));
    assert_eq!(found(off.managed_resource().as_ref()), Found::Present, "nothing is deleted without a proof");
    // Every step on the way is checked: no agent switches.
    let woken = ShootState { wanted_asleep: false, ..off }.run_to_completion();
    assert_eq!((woken.extension, woken.resource, woken.daemon_set), (Extension::Absent, None, None));
    assert_eq!(woken.node.map(|node| node.switched), Some(false));
}
