//! The memory on nodes and the patches of Adjustments, as they are: a later version has to read and to write them so.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::cri_resmgr::RestartBoundState;
use serde_json::json;

use crate::memory::{By, Fault, Memory, Refused, Run};
use crate::selection::Source;
use crate::{Data, StatusWrite};

fn source(name: &str) -> Source {
    Source { name: name.to_owned(), hash: "0123abcd".to_owned() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn full(by: By) -> Memory {
    let fault = |set: Option<&str>| Fault {
        spec: "11111111".to_owned(),
        set: set.map(str::to_owned),
        errors: map(&[("classes.memory", "unknown class")]),
    };
    Memory {
        run: Some(Run {
            invocation: "0123456789abcdef0123456789abcdef".to_owned(),
            started_with: Some("89abcdef".to_owned()),
            accepted: Some(source("cri-resmgr-config.default")),
            kept: Some(RestartBoundState {
                active: "balloons".to_owned(),
                entries: BTreeSet::from(["policy.balloons.BalloonTypes.a".to_owned()]),
                resources: BTreeMap::from([("ReservedResources".to_owned(), json!({ "CPU": "750m" }))]),
            }),
            adjustments: Some(map(&[("a", "22222222")])),
            faults: BTreeMap::from([("b".to_owned(), fault(None)), ("c".to_owned(), fault(Some("33333333")))]),
            end: Some("the active policy changes".to_owned()),
        }),
        refused: Some(Refused {
            source: source("cri-resmgr-config.node.n"),
            by,
            keys: vec!["policy.Active".to_owned()],
        }),
        renewed_for: Some("44444444".to_owned()),
        starting: Some(source("cri-resmgr-config.group.g")),
    }
}

#[test]
fn memories_equal_their_golden_files() {
    for (memory, golden) in [
        (full(By::Check), include_str!("golden/memory-refused-by-check.json")),
        (full(By::Daemon), include_str!("golden/memory-refused-by-daemon.json")),
        (full(By::Start), include_str!("golden/memory-refused-by-start.json")),
        (Memory::default(), include_str!("golden/memory-of-nothing.json")),
    ] {
        assert_eq!(serde_json::to_string_pretty(&memory).unwrap(), golden.trim_end());
        assert_eq!(serde_json::from_str::<Memory>(golden).unwrap(), memory);
    }
}

#[test]
fn status_patches_of_adjustments_are_byte_equal_to_the_golden_ones() {
    let before = map(&[("gone", "x"), ("same", "y")]);
    let patch = |entry| StatusWrite::new("a", "n", Some(&before), entry).patch.to_string();
    assert_eq!(patch(None), r#"{"status":{"nodes":{"n":null}}}"#);
    assert_eq!(
        patch(Some(map(&[("same", "y"), ("new", "z")]))),
        r#"{"status":{"nodes":{"n":{"errors":{"gone":null,"new":"z","same":"y"}}}}}"#
    );
}

/// It is compared with what an earlier agent remembered; another sum would push everything once more.
#[test]
fn hash_of_a_configuration_is_the_one_on_nodes() {
    let data: Data = map(&[("policy", "Active: none\n"), ("logger", "Debug: policy\n")]);
    assert_eq!(crate::selection::hash(&data), "44f06520");
}
