//! Whatever happens in whatever order: what holds always, and where it ends.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::model::{Node, adjustment, config, serve};
use crate::core::Duty;
use crate::selection::{Group, Selected, hash, read, select};

#[derive(Debug, Clone)]
enum Event {
    Maps(Vec<(usize, usize)>),
    Group(Option<usize>),
    Adjustments(Vec<usize>),
    Duty(usize),
    DaemonRestarts,
    DaemonDies,
    NewAgent,
    Bad(bool),
    Settle,
    /// One push that never arrives.
    Lost,
}

const LEVELS: [&str; 4] = ["default", "group.g", "group.h", "node.n"];
const TEXTS: [&str; 6] = [
    "policy: {Active: none}",
    "policy: {Active: none}\nlogger: {Debug: policy}",
    "policy: {Active: balloons, ReservedResources: {CPU: 750m}}",
    "blockio: {Classes: {a: [{Weight: '10'}], b: [{Weight: '10'}]}}",
    "blockio: {Classes: {a: [{Weight: '10'}]}}",
    "policy: {Active: baloons}",
];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => proptest::collection::vec((0..LEVELS.len(), 0..TEXTS.len()), 0..4).prop_map(Event::Maps),
        2 => proptest::option::of(0..2_usize).prop_map(Event::Group),
        2 => proptest::collection::vec(0..4_usize, 0..4).prop_map(Event::Adjustments),
        1 => (0..4_usize).prop_map(Event::Duty),
        2 => Just(Event::DaemonRestarts),
        1 => Just(Event::DaemonDies),
        1 => Just(Event::NewAgent),
        1 => any::<bool>().prop_map(Event::Bad),
        4 => Just(Event::Settle),
        1 => Just(Event::Lost),
    ]
}

/// What an agent is told again after its start.
#[derive(Default)]
struct World {
    maps: Option<BTreeMap<String, BTreeMap<String, String>>>,
    group: Group,
    adjustments: Option<Vec<usize>>,
    duty: Duty,
    runs: usize,
    up: bool,
}

impl World {
    fn show(&self, node: &mut Node) {
        if let Some(maps) = &self.maps {
            node.core.set_maps(maps.clone());
        }
        match &self.group {
            Group::Unknown => {}
            Group::None => node.core.set_group(None),
            Group::Named(group) => node.core.set_group(Some(group.clone())),
        }
        if let Some(which) = &self.adjustments {
            node.core.set_adjustments(
                which.iter().map(|number| adjustment(&format!("a{number}"), json!({"scope": []}))).collect(),
            );
        }
        node.core.set_duty(self.duty.clone());
    }

    fn restart(&mut self, node: &mut Node) {
        self.runs += 1;
        self.up = true;
        node.start(&format!("run-{}", self.runs));
    }
}

fn happen(world: &mut World, node: &mut Node, event: Event) {
    match event {
        Event::Maps(maps) => {
            let named =
                maps.iter().map(|(level, text)| config(&format!("cri-resmgr-config.{}", LEVELS[*level]), TEXTS[*text]));
            world.maps = Some(named.collect());
        }
        Event::Group(group) => world.group = group.map(|which| ["g", "h"][which].to_owned()).into(),
        Event::Adjustments(which) => world.adjustments = Some(which),
        Event::Duty(which) => world.duty = [Duty::Undecided, Duty::Off, serve(), serve()][which].clone(),
        Event::DaemonRestarts => world.restart(node),
        Event::DaemonDies => {
            world.up = false;
            node.core.set_run(None, || None);
        }
        Event::NewAgent if world.up => node.next_agent(),
        Event::NewAgent => {}
        Event::Bad(bad) => {
            node.daemon.bad = if bad { ["a1".to_owned()].into() } else { [].into() };
        }
        Event::Settle => node.settle(),
        Event::Lost => drop(node.core.next_push()),
    }
    world.show(node);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_events_end_in_the_configuration_that_is_due(events in proptest::collection::vec(event(), 0..40)) {
        let mut node = Node::new("n");
        let mut world = World::default();
        for event in events {
            let before = node.daemon.pushed.len();
            happen(&mut world, &mut node, event);
            // Nothing was pushed that may not be: no empty one (the daemon asserts it), none without duty or list.
            if node.daemon.pushed.len() > before {
                prop_assert!(world.maps.is_some() && world.duty == serve() && world.up);
            }
        }
        // From here on all goes well, and the agent's restarts are carried out.
        node.daemon.bad.clear();
        world.maps.get_or_insert_default();
        if world.group == Group::Unknown {
            world.group = Group::None;
        }
        world.adjustments.get_or_insert_default();
        world.duty = serve();
        world.show(&mut node);
        world.restart(&mut node);
        let mut restarts = 0;
        loop {
            node.settle();
            if node.core.standing().renewal.is_none() {
                break;
            }
            restarts += 1;
            prop_assert!(restarts <= 1, "restarted again and again");
            world.restart(&mut node);
        }
        let pushed = node.daemon.pushed.len();
        node.settle();
        prop_assert_eq!(node.daemon.pushed.len(), pushed);

        let maps = world.maps.clone().unwrap_or_default();
        match select(Some(&maps), "n", &world.group) {
            Selected::Map(name, data) if read(data).is_ok() => {
                prop_assert_eq!(node.daemon.cached.as_ref().map(hash), Some(hash(data)), "{}", name);
                let policy = extension_config::cri_resmgr::check_modules(data).map(|good| good.active);
                prop_assert_eq!(Ok(node.daemon.running_policy.clone()), policy);
                prop_assert_eq!(node.core.standing().problem, None);
            }
            Selected::Map(..) => prop_assert!(node.core.standing().problem.is_some()),
            Selected::None => {
                let fallback = hash(&config("", super::model::FALLBACK).1);
                prop_assert!(node.daemon.cached.as_ref().is_none_or(|cached| hash(cached) == fallback));
            }
            Selected::Unknown => prop_assert!(false, "all is known"),
        }
        let mut wanted: Vec<String> =
            world.adjustments.iter().flatten().map(|number| format!("a{number}")).collect();
        wanted.sort();
        wanted.dedup();
        prop_assert_eq!(node.daemon.in_effect(), wanted);
        prop_assert_eq!(node.core.next_push(), None);
    }
}
