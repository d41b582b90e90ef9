//! Whatever happens in whatever order: what holds always, and where it ends.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::model::{Node, adjustment, config, serve};
use crate::core::DaemonMode;
use crate::selection::{Group, Selected, hash, read, select};

#[derive(Debug, Clone)]
enum Event {
    Maps(Vec<(usize, usize)>),
    Group(Option<usize>),
    Adjustments(Vec<usize>),
    DaemonMode(usize),
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
        1 => (0..4_usize).prop_map(Event::DaemonMode),
        2 => Just(Event::DaemonRestarts),
        1 => Just(Event::DaemonDies),
        1 => Just(Event::NewAgent),
        1 => any::<bool>().prop_map(Event::Bad),
        4 => Just(Event::Settle),
        1 => Just(Event::Lost),
    ]
}

/// What an agent is given again after its start.
#[derive(Default)]
struct ApiState {
    maps: Option<BTreeMap<String, BTreeMap<String, String>>>,
    group: Group,
    adjustments: Option<Vec<usize>>,
    daemon_mode: DaemonMode,
    runs: usize,
    up: bool,
}

impl ApiState {
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
        node.core.set_daemon_mode(self.daemon_mode.clone());
    }

    fn restart(&mut self, node: &mut Node) {
        self.runs += 1;
        self.up = true;
        node.start(&format!("run-{}", self.runs));
    }
}

fn happen(api_state: &mut ApiState, node: &mut Node, event: Event) {
    match event {
        Event::Maps(maps) => {
            let named =
                maps.iter().map(|(level, text)| config(&format!("cri-resmgr-config.{}", LEVELS[*level]), TEXTS[*text]));
            api_state.maps = Some(named.collect());
        }
        Event::Group(group) => api_state.group = group.map(|which| ["g", "h"][which].to_owned()).into(),
        Event::Adjustments(which) => api_state.adjustments = Some(which),
        Event::DaemonMode(which) => {
            api_state.daemon_mode = [DaemonMode::Undecided, DaemonMode::Off, serve(), serve()][which].clone();
        }
        Event::DaemonRestarts => api_state.restart(node),
        Event::DaemonDies => {
            api_state.up = false;
            node.core.set_run(None, || None);
        }
        Event::NewAgent if api_state.up => node.next_agent(),
        Event::NewAgent => {}
        Event::Bad(bad) => {
            node.daemon.bad = if bad { ["a1".to_owned()].into() } else { [].into() };
        }
        Event::Settle => node.run_until_idle(),
        Event::Lost => drop(node.core.next_push()),
    }
    api_state.show(node);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_events_end_in_the_configuration_that_is_due(events in proptest::collection::vec(event(), 0..40)) {
        let mut node = Node::new("n");
        let mut api_state = ApiState::default();
        for event in events {
            let before = node.daemon.pushed.len();
            happen(&mut api_state, &mut node, event);
            // Nothing was pushed that may not be: no empty one (the daemon asserts it), none without duty or list.
            if node.daemon.pushed.len() > before {
                prop_assert!(api_state.maps.is_some() && api_state.daemon_mode == serve() && api_state.up);
            }
        }
        // From here on all goes well, and the agent's restarts are carried out.
        node.daemon.bad.clear();
        api_state.maps.get_or_insert_default();
        if api_state.group == Group::Unknown {
            api_state.group = Group::None;
        }
        api_state.adjustments.get_or_insert_default();
        api_state.daemon_mode = serve();
        api_state.show(&mut node);
        api_state.restart(&mut node);
        let mut restarts = 0;
        loop {
            node.run_until_idle();
            if node.core.config_status().restart_request.is_none() {
                break;
            }
            restarts += 1;
            prop_assert!(restarts <= 1, "restarted again and again");
            api_state.restart(&mut node);
        }
        let pushed = node.daemon.pushed.len();
        node.run_until_idle();
        prop_assert_eq!(node.daemon.pushed.len(), pushed);

        let maps = api_state.maps.clone().unwrap_or_default();
        match select(Some(&maps), "n", &api_state.group) {
            Selected::Map(name, data) if read(data).is_ok() => {
                prop_assert_eq!(node.daemon.cached.as_ref().map(hash), Some(hash(data)), "{}", name);
                let policy = extension_config::cri_resmgr::check_modules(data).map(|good| good.active);
                prop_assert_eq!(Ok(node.daemon.running_policy.clone()), policy);
                prop_assert_eq!(node.core.config_status().problem, None);
            }
            Selected::Map(..) => prop_assert!(node.core.config_status().problem.is_some()),
            Selected::None => {
                let fallback = hash(&config("", super::model::FALLBACK).1);
                prop_assert!(node.daemon.cached.as_ref().is_none_or(|cached| hash(cached) == fallback));
            }
            Selected::Unknown => prop_assert!(false, "all is known"),
        }
        let mut wanted: Vec<String> =
            api_state.adjustments.iter().flatten().map(|number| format!("a{number}")).collect();
        wanted.sort();
        wanted.dedup();
        prop_assert_eq!(node.daemon.in_effect(), wanted);
        prop_assert_eq!(node.core.next_push(), None);
    }
}
