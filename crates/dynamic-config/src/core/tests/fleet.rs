//! Many nodes on one API server: status writes grow with the nodes, not with their square.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::serve;
use crate::adjustments::Adjustment;
use crate::core::{Answer, Core, Push};
use crate::memory::Memory;

/// What a merge patch does.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        let Some(map) = target.as_object_mut() else { return };
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

struct Fleet {
    names: Vec<String>,
    cores: Vec<Core>,
    objects: BTreeMap<String, Value>,
    writes: usize,
    pushes: usize,
}

impl Fleet {
    fn new(nodes: usize) -> Self {
        let names: Vec<String> = (0..nodes).map(|number| format!("worker-{number}")).collect();
        let cores = names
            .iter()
            .map(|name| {
                let mut core = Core::new(name.clone(), Memory::default());
                core.set_daemon_mode(serve());
                core.set_run(Some("run"), || None);
                core.set_adjustments(BTreeMap::new());
                core
            })
            .collect();
        Self { names, cores, objects: BTreeMap::new(), writes: 0, pushes: 0 }
    }

    /// Every agent is shown the object as it stands.
    fn show(&mut self, name: &str) {
        let object = self.objects[name].clone();
        for (core, node) in self.cores.iter_mut().zip(&self.names) {
            core.set_adjustment(name, Some(Adjustment::of(&object, node)));
        }
    }

    fn write_spec(&mut self, name: &str, spec: &Value) {
        merge(self.objects.entry(name.to_owned()).or_insert(json!({})), &json!({ "spec": spec }));
        self.show(name);
    }

    /// Until no agent has anything to do. Each write is shown to all, as the API server does.
    fn run_until_idle(&mut self) {
        loop {
            let mut written = Vec::new();
            for core in &mut self.cores {
                while let Some(push) = core.next_push() {
                    if matches!(&push, Push::Adjustments { set } if !set.is_empty()) {
                        self.pushes += 1;
                    }
                    core.answered(&push, &Answer::Accepted);
                }
                for write in core.status_writes() {
                    core.wrote(&write);
                    written.push(write);
                }
            }
            if written.is_empty() {
                return;
            }
            for write in written {
                self.writes += 1;
                assert!(self.writes < 10_000, "writes do not end");
                if let Some(object) = self.objects.get_mut(&write.name) {
                    merge(object, &write.patch);
                }
                self.show(&write.name);
            }
        }
    }
}

#[test]
fn status_writes_grow_linearly() {
    for nodes in [2, 50, 200] {
        let mut fleet = Fleet::new(nodes);
        fleet.write_spec("a", &json!({"scope": [], "classes": {"rdt": "gold"}}));
        fleet.write_spec("b", &json!({"scope": [{"nodes": ["worker-1*"]}], "classes": {"rdt": "gold"}}));
        fleet.run_until_idle();
        let of_b = fleet.names.iter().filter(|name| name.starts_with("worker-1")).count();
        assert_eq!(fleet.writes, nodes + of_b, "{nodes} nodes: one write for each node and Adjustment");
        assert_eq!(fleet.pushes, nodes, "{nodes} nodes: nothing is sent to a daemon because another node wrote");
        let entries = |name: &str| fleet.objects[name]["status"]["nodes"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!((entries("a"), entries("b")), (nodes, of_b));
        // A change costs one push and no write: it was in effect before and is now.
        fleet.write_spec("a", &json!({"scope": [], "classes": {"rdt": "silver"}}));
        fleet.run_until_idle();
        assert_eq!((fleet.writes, fleet.pushes), (nodes + of_b, 2 * nodes));
        // Out of scope: one write for each node that had an entry.
        fleet.write_spec("b", &json!({"scope": [{"nodes": ["elsewhere"]}]}));
        fleet.run_until_idle();
        assert_eq!(fleet.writes, nodes + 2 * of_b);
    }
}
