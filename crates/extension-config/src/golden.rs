//! The public formats and names as they are. What stands in a golden file is on nodes, in shoots and in people's alerts: a later version has to
//! write it and to read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::desired_state::{self, Backend, Daemon, DesiredState, Phase, Selection, hash8};
use crate::names::{self, node};
use crate::node_event::NodeEvent;
use crate::node_report::{self, NodeReport, Published, Stage, Word};
use crate::provider_config;
use crate::reason_code::ReasonCode;

/// Name and value of constants, with the source that declares them: one that is missing here is found.
fn table(source: &str, constants: &[(&str, String)]) -> String {
    assert_eq!(source.matches("pub const ").count(), constants.len(), "each constant belongs into the golden file");
    constants.iter().fold(String::new(), |mut table, (name, value)| {
        writeln!(table, "{name} = {value}").unwrap();
        table
    })
}

macro_rules! constants {
    ($source:literal, $module:ident, $($name:ident)*) => {
        table(include_str!($source), &[$((stringify!($name), $module::$name.to_string())),*])
    };
}

#[test]
fn names_of_both_sides() {
    let table = constants!("names.rs", names,
        EXTENSION_TYPE EXTENSION_NAME FINALIZER CONTROLLER_NAME API_GROUP NODE_AS_DESIRED BASE_CONFIG_MAP
        BASE_CONFIG_NAMESPACE_ENV SHOOT_MANAGED_RESOURCE SHOOT_MANAGED_RESOURCE_SECRET MONITORING_MANAGED_RESOURCE
        MONITORING_MANAGED_RESOURCE_SECRET PHASE_KEY SHOOT_ACCESS_ACCOUNT
        SHOOT_ACCESS_SECRET SHOOT_NAMESPACE NODE_AGENT NODE_AGENT_POLICY NODE_AGENT_CONTAINER NODE_AGENT_LABEL
        NODE_REPORT_LEASE_PREFIX NODE_REPORT_ANNOTATION INSTALLATION_IMAGE NODE_AGENT_PORT DESIRED_STATE_DIR STEPS_DIR
        DESIRED_STATE_KEY DESIRED_STATE_CONFIG_MAP_PREFIX SWITCH_LEASE SWITCHES_ANNOTATION HALT_ANNOTATION DYNAMIC_CONFIG_MAP_PREFIX
        POLICY_CONFIG_MAP_PREFIX HAND_MADE_CONFIG_MAP_ID HAND_MADE_ADJUSTMENT_ID
        NODE_GROUP_LABEL NRI_GROUP_LABEL ADJUSTMENT_GROUP ADJUSTMENT_VERSION ADJUSTMENT_KIND ADJUSTMENT_PLURAL WORKER_POOL_LABEL
        WORKER_CRI_LABEL ARCHITECTURE CONTAINER_RUNTIME
    );
    insta::assert_snapshot!(table);
}

#[test]
fn paths_and_units_on_the_host() {
    let table = constants!("names/node.rs", node,
        DAEMON GATE_DIR GATE KEPT_DAEMON CONFIG_DIR FALLBACK_CONFIG FORCE_CONFIG ENVIRONMENT_FILE UNIT_DIR DAEMON_UNIT
        DAEMON_UNIT_FILE DAEMON_UNIT_LINK GUARD_UNIT GUARD_UNIT_FILE GUARD_TIMER GUARD_TIMER_FILE GUARD_TIMER_LINK
        KUBELET_UNIT CONTAINERD_UNIT KUBELET_DROP_IN_DIR KUBELET_DROP_IN RUN_DIR RUNTIME_ENV LOCK DYNAMIC_MEMORY
        STATE_DIR JOURNAL DAEMON_RUN_DIR DAEMON_STATE_DIR DAEMON_PID_FILE ASIDE_STATE_DIR ASIDE_RUN_DIR ASIDE_PID_FILE
        RELAY_SOCKET CONFIG_SOCKET AGENT_SOCKET CONTAINERD_RUN_DIR CONTAINERD_SOCKET KUBELET_ENDPOINT_ARGUMENT
        PLUGIN KEPT_PLUGIN TRIED_PLUGIN PLUGIN_CONFIG_DIR PLUGIN_CONFIG PLUGIN_NAME PLUGIN_UNIT PLUGIN_UNIT_FILE
        PLUGIN_UNIT_LINK TRIAL_UNIT TRIAL_OUTPUT HOST_LOG_UNIT PLUGIN_STATE_DIR ASIDE_PLUGIN_STATE_DIR PLUGIN_BOOKS PLUGIN_RUN_DIR
        ASIDE_PLUGIN_RUN_DIR PLUGIN_PID_FILE NRI_RUN_DIR NRI_SOCKET FOREIGN_PLUGIN_RUN_DIR
    );
    insta::assert_snapshot!(table);
}

#[test]
fn reasons_of_events_on_nodes() {
    let table = NodeEvent::ALL.iter().fold(String::new(), |mut table, event| {
        let kind = if event.is_warning() { "Warning" } else { "Normal" };
        writeln!(table, "{event:?} = {} ({kind})", event.as_str()).unwrap();
        table
    });
    insta::assert_snapshot!(table);
}

#[test]
fn api_versions_and_kinds_equal_the_golden_ones() {
    assert_eq!(
        [provider_config::API_VERSION, provider_config::KIND, desired_state::API_VERSION, desired_state::KIND],
        [
            "cri-resmgr.extensions.gardener.cloud/v1alpha1",
            "CriResourceManagerConfig",
            "node.cri-resmgr.extensions.gardener.cloud/v1alpha1",
            "DesiredState"
        ]
    );
}

#[test]
fn a_desired_state_with_every_field_equals_its_golden_file() {
    let state = DesiredState {
        phase: Phase::Install,
        selection: Selection {
            worker_pools: Some(vec!["pool-a".to_owned(), "pool-b".to_owned()]),
            match_labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            excluded_pools: BTreeSet::from(["pool-c".to_owned()]),
        },
        backend: Backend::CriResmgr(Daemon {
            fallback_config: Some("policy:\n  Active: none\n".to_owned()),
            force_config: Some("policy:\n  Active: balloons\n".to_owned()),
            extra_options: "--metrics-interval 5s".to_owned(),
        }),
        handover: None,
    };
    let golden = include_str!("golden/desired-state.json").trim_end();
    assert_eq!(state.encode().unwrap(), golden);
    assert_eq!(DesiredState::decode(golden).unwrap(), state);
    // The sum is part of names in the shoot and of the agent's environment.
    assert_eq!(hash8(golden), "5bba82fd");
    assert_eq!(state.config_map_name().unwrap(), "cri-resmgr-desired-state-5bba82fd");
}

#[test]
fn a_node_report_with_every_field_equals_its_golden_file() {
    let report = NodeReport {
        stage: Stage::RolledBack,
        phase: Phase::Install.as_str().to_owned(),
        desired: "0123abcd".to_owned(),
        since: 1_800_000_000,
        restarts: 2,
        message: "rolled back after failure 1".to_owned(),
        // Left out when there are none: as written before there were any
        warnings: Vec::new(),
        config: Some("cri-resmgr-config.default (89abcdef)".to_owned()),
        retry_at: Some(1_800_000_060),
        awaits_slot: true,
        backend: Some(node_report::CRI_RESMGR.to_owned()),
        version: Some("0.1.0".to_owned()),
        // As written before there were any
        codes: Vec::new(),
        slot_since: None,
        published: Published::default(),
    };
    let golden = include_str!("golden/node-report.json").trim_end();
    assert_eq!(serde_json::to_string(&report).unwrap(), golden);
    assert_eq!(serde_json::from_str::<NodeReport>(golden).unwrap(), report);
    // As agents wrote it before it had a backend, a version and a word on slots.
    let before = NodeReport { awaits_slot: false, backend: None, version: None, ..report };
    let golden = include_str!("golden/node-report-before.json").trim_end();
    assert_eq!(serde_json::to_string(&before).unwrap(), golden);
    assert_eq!(serde_json::from_str::<NodeReport>(golden).unwrap(), before);
    let with_codes = NodeReport { codes: vec![ReasonCode::RolledBack.as_str().to_owned()], ..before.clone() };
    let golden = include_str!("golden/node-report-codes.json").trim_end();
    assert_eq!(serde_json::to_string(&with_codes).unwrap(), golden);
    assert_eq!(serde_json::from_str::<NodeReport>(golden).unwrap(), with_codes);
    let telling = NodeReport {
        slot_since: Some(1_799_999_000),
        published: Published {
            topics: BTreeMap::from([(
                "node".to_owned(),
                Word { reason: NodeEvent::Installed.as_str().to_owned(), about: node_report::CRI_RESMGR.to_owned() },
            )]),
            at: BTreeMap::from([(NodeEvent::Installed.as_str().to_owned(), 1_799_999_990)]),
        },
        ..with_codes
    };
    let golden = include_str!("golden/node-report-published.json").trim_end();
    assert_eq!(serde_json::to_string(&telling).unwrap(), golden);
    assert_eq!(serde_json::from_str::<NodeReport>(golden).unwrap(), telling);
    let least = NodeReport { config: None, retry_at: None, ..before };
    let golden = include_str!("golden/node-report-least.json").trim_end();
    assert_eq!(serde_json::to_string(&least).unwrap(), golden);
    assert_eq!(serde_json::from_str::<NodeReport>(golden).unwrap(), least);
}
