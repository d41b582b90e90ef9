//! Field case D04: every order of hibernate, wake, switch on, switch off, delete and restart, in no matter how many steps.

mod controller;
mod world;

use std::collections::{BTreeSet, VecDeque};

use crate::removal::sleep::Sleep;
use crate::removal::{Found, found};
use world::{AWAKE, Extension, World};

/// Everything that can be reached, in no matter how many steps.
fn reachable() -> BTreeSet<World> {
    let mut seen = BTreeSet::from([AWAKE]);
    let mut ahead = VecDeque::from([AWAKE]);
    while let Some(world) = ahead.pop_front() {
        ahead.extend(world.steps().into_iter().filter(|world| seen.insert(*world)));
    }
    seen
}

#[test]
fn every_order_ends_and_none_switches_a_node_on() {
    let worlds = reachable();
    assert!(worlds.len() > 1000, "{}", worlds.len());
    assert!(worlds.iter().any(|world| world.off_in_sleep && world.node.is_some()), "and woke up");
    for world in worlds {
        // As it stands: a sleeping shoot waits, one in deletion ends.
        let end = world.settle();
        if world.deleting {
            assert_eq!((end.extension, end.resource, end.node), (Extension::Absent, None, None), "{world:?}");
        } else if world.wanted_asleep {
            assert_eq!(end.sleep(), Sleep::Asleep, "{world:?}");
            assert_eq!(end.extension != Extension::Absent, end.wanted_on || end.resource.is_some(), "{world:?}");
            let removing = end.resource.is_none_or(|resource| resource.removing);
            assert!(end.extension != Extension::Deleting || removing, "written before it wakes up: {world:?}");
        }
        // Woken up.
        let end = World { wanted_asleep: false, ..world }.settle();
        let Some(node) = end.node.filter(|_| !world.deleting) else { continue };
        assert_eq!((node.switched, end.hibernated), (world.wanted_on, false), "{world:?}");
        let expected = if world.wanted_on { Extension::Present } else { Extension::Absent };
        assert_eq!((end.extension, end.resource.is_some()), (expected, world.wanted_on), "{world:?}");
    }
}

/// The order that D04 is about, step by step.
#[test]
fn switched_off_in_its_sleep() {
    let on = World { wanted_on: true, ..AWAKE }.settle();
    assert!(on.node.is_some_and(|node| node.switched));
    let asleep = World { wanted_asleep: true, ..on }.settle();
    assert_eq!((asleep.sleep(), asleep.node, asleep.daemon_set), (Sleep::Asleep, None, Some(false)));
    let off = World { wanted_on: false, ..asleep }.settle();
    let resource = off.resource.unwrap();
    assert_eq!((off.extension, resource.removing, resource.applied), (Extension::Deleting, true, false));
    assert_eq!(found(off.managed_resource().as_ref()), Found::Present, "nothing is deleted without a proof");
    // Every step on the way is checked: no agent switches.
    let woken = World { wanted_asleep: false, ..off }.settle();
    assert_eq!((woken.extension, woken.resource, woken.daemon_set), (Extension::Absent, None, None));
    assert_eq!(woken.node.map(|node| node.switched), Some(false));
}
