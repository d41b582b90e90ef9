//! What a running daemon does not let go of: keys that it keeps when a new configuration leaves them out, and values that it reads at its
//! start only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json;
use crate::desired_state::hash8;
use crate::limits;

/// Keys whose default is an empty map or list: the daemon's reset to defaults does not clear them. With the depth to which a new value is
/// merged into the old one (0: the key's own entries).
const STICKY: [(&[&str], usize); 6] = [
    (&["policy", "AvailableResources"], 0),
    (&["policy", "ReservedResources"], 0),
    (&["blockio", "Classes"], 0),
    (&["policy", "podpools", "Pools"], usize::MAX),
    (&["policy", "static-pools", "pools"], usize::MAX),
    (&["resource-manager", "control", "Controllers"], 0),
];
/// Keys that all policies but the topology-aware one read at their start only.
const READ_AT_START: [&str; 2] = ["AvailableResources", "ReservedResources"];
/// Policies that follow a change of [`READ_AT_START`], or do not use them.
const FOLLOW: [&str; 3] = ["none", "topology-aware", "memtier"];

/// What of a configuration stays in a daemon until it is restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartBoundState {
    /// The active policy: another one takes over at a restart only.
    pub active: String,
    /// Paths of all entries below sticky keys; for a key with more than [`limits::KEPT_ENTRIES`], the key with a hash of its value.
    pub entries: BTreeSet<String>,
    /// Available and reserved resources, where the policy reads them at its start only.
    pub resources: BTreeMap<String, Value>,
}

impl RestartBoundState {
    pub(super) fn of(tree: &Map<String, Value>, active: &str) -> Self {
        let mut entries = BTreeSet::new();
        for (names, depth) in STICKY {
            let mut at = tree.get(names[0]);
            for name in &names[1..] {
                at = at.and_then(|value| value.get(name));
            }
            if let Some(value) = at {
                let path = names.join(".");
                if count(value, depth) > limits::KEPT_ENTRIES {
                    // Another value restarts the daemon, although perhaps nothing in it is gone.
                    let text = json::text(value, usize::MAX).unwrap_or_default();
                    entries.insert(format!("{path} (as a whole, {})", hash8(&text)));
                } else {
                    collect(value, &path, depth, &mut entries);
                }
            }
        }
        let policy = tree.get("policy").and_then(Value::as_object);
        let resources = READ_AT_START
            .iter()
            .filter(|_| !FOLLOW.contains(&active))
            .filter_map(|key| Some(((*key).to_owned(), policy?.get(*key)?.clone())))
            .collect();
        Self { active: active.to_owned(), entries, resources }
    }

    /// Why a daemon that has this must be restarted to run with `next` and nothing else; names keys, no values. `None`: it need not.
    #[must_use]
    pub fn restart_for(&self, next: &Self) -> Option<String> {
        if self.active != next.active {
            return Some(format!("the policy changes from {} to {}", self.active, next.active));
        }
        let left: Vec<&str> = self.entries.difference(&next.entries).map(String::as_str).collect();
        if let Some(first) = left.first() {
            let more = if left.len() > 1 { format!(" and {} more", left.len() - 1) } else { String::new() };
            return Some(format!("a running daemon keeps {first}{more}, which the configuration no longer has"));
        }
        let changed = self.resources.iter().find(|(key, value)| next.resources.get(*key) != Some(value));
        changed.map(|(key, _)| format!("policy {} reads policy.{key} at its start only", self.active))
    }

    /// After a restart was not needed: what the daemon has now, with what it kept.
    pub fn absorb(&mut self, next: Self) {
        let before = std::mem::replace(self, next);
        self.entries.extend(before.entries);
    }
}

/// Entries that [`collect`] would give.
fn count(value: &Value, depth: usize) -> usize {
    let below = |child| 1 + if depth > 0 { count(child, depth - 1) } else { 0 };
    match value {
        Value::Object(map) => map.values().map(below).sum(),
        Value::Array(list) => list.iter().map(below).sum(),
        _ => 0,
    }
}

fn collect(value: &Value, path: &str, depth: usize, entries: &mut BTreeSet<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, child)| (format!("{path}.{key}"), child)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, child)| (format!("{path}[{index}]"), child)).collect()
        }
        _ => Vec::new(),
    };
    for (path, child) in children {
        if depth > 0 {
            collect(child, &path, depth - 1, entries);
        }
        entries.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::RestartBoundState;
    use crate::cri_resmgr::check;

    fn kept(text: &str) -> RestartBoundState {
        check(text).unwrap_or_else(|findings| panic!("{findings:?}")).kept()
    }

    const BALLOONS: &str = "policy: {Active: balloons, ReservedResources: {CPU: 750m}}";

    #[test]
    fn changes_of_restart_bound_keys_name_the_reason_for_a_restart() {
        for (old, new, reason) in [
            (BALLOONS, BALLOONS, None),
            ("policy: {Active: none}", BALLOONS, Some("the policy changes from none to balloons")),
            ("logger: {Debug: a}", "dump: {Disabled: true}", None),
            (
                "blockio: {Classes: {a: [{Weight: '10'}], b: [{Weight: '10'}]}}",
                "blockio: {Classes: {a: [{Weight: '20'}]}}",
                Some("a running daemon keeps blockio.Classes.b, which the configuration no longer has"),
            ),
            (
                "blockio: {Classes: {a: [{Weight: '10'}, {Weight: '10'}]}}",
                "blockio: {Classes: {a: [{Weight: '20'}]}}",
                None,
            ),
            (
                "policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: '1', MaxPods: 2}]}}",
                "policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: '1'}]}}",
                Some("a running daemon keeps policy.podpools.Pools[0].MaxPods, which the configuration no longer has"),
            ),
            (
                "resource-manager: {control: {Controllers: {cpu: disabled, rdt: required}}}",
                "policy: {Active: none}",
                Some(
                    "a running daemon keeps resource-manager.control.Controllers.cpu and 1 more, which the configuration no longer has",
                ),
            ),
            (
                "policy: {Active: none, AvailableResources: {CPU: 'cpuset:0-3'}}",
                "policy: {Active: none}",
                Some("a running daemon keeps policy.AvailableResources.CPU, which the configuration no longer has"),
            ),
            (
                BALLOONS,
                "policy: {Active: balloons, ReservedResources: {CPU: 1}}",
                Some("policy balloons reads policy.ReservedResources at its start only"),
            ),
            (
                "policy: {Active: topology-aware, ReservedResources: {CPU: 750m}}",
                "policy: {Active: topology-aware, ReservedResources: {CPU: 1}}",
                None,
            ),
        ] {
            assert_eq!(kept(old).restart_for(&kept(new)).as_deref(), reason, "{old} → {new}");
        }
    }

    #[test]
    fn a_restart_bound_key_stays_in_effect_until_the_restart() {
        let mut run = kept("blockio: {Classes: {a: [{Weight: '10'}]}}");
        run.absorb(kept("blockio: {Classes: {b: [{Weight: '10'}]}}"));
        assert!(run.restart_for(&kept("blockio: {Classes: {b: [{Weight: '10'}]}}")).is_some());
    }

    #[test]
    fn a_large_restart_bound_list_is_kept_as_its_hash() {
        let name = "a".repeat(200);
        let pools = |lists: usize, socket: u32| {
            let list = format!("{{Socket: {socket}}},").repeat(lists);
            kept(&format!("policy: {{static-pools: {{pools: {{{name}: {{cpuLists: [{list}]}}}}}}}}"))
        };
        assert_eq!(pools(10, 1).entries.len(), 22);
        let (many, other) = (pools(1000, 1), pools(1000, 2));
        assert_eq!(many.entries.len(), 1);
        assert_eq!(many.restart_for(&many), None);
        assert!(
            many.restart_for(&other).is_some_and(|reason| reason.contains("policy.static-pools.pools (as a whole"))
        );
    }

    #[test]
    fn dotted_and_nested_keys_have_the_same_restart_bound_state() {
        assert_eq!(
            kept("policy.podpools: {Pools: [{Name: a, CPU: '1'}]}"),
            kept("policy: {podpools: {Pools: [{Name: a, CPU: '1'}]}}")
        );
    }
}
