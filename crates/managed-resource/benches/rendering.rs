//! How long the objects of a shoot take to be rendered: `cargo xtask bench core`. The floor is to write the objects, which cannot be left out.

#![expect(clippy::print_stdout, clippy::panic, reason = "a program for people")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use managed_resource::{Object, Templates, objects};
use serde_json::json;

/// Runs of each; the quickest counts, because what disturbs a run only makes it longer.
const RUNS: usize = 200;

/// Objects that are the same in every shoot, and those of one.
const TEMPLATES: [(&str, &str); 4] = [
    ("adjustments-crd.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/adjustments-crd.yaml")),
    ("rbac.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/rbac.yaml")),
    ("shoot-access.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/shoot-access.yaml")),
    ("desired-state.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/desired-state.yaml")),
];

fn main() {
    let templates = match Templates::new(&TEMPLATES) {
        Ok(templates) => templates,
        Err(error) => panic!("{error:?}"),
    };
    let mut shoot = 0_u64;
    // The first of all shoots: nothing is remembered.
    let first = quickest(|| {
        let fresh = Templates::new(&TEMPLATES);
        let Ok(fresh) = fresh else { panic!("the templates cannot be read") };
        let start = Instant::now();
        black_box(render(&fresh, 0));
        start.elapsed()
    });
    let next = quickest(|| {
        shoot += 1;
        let start = Instant::now();
        black_box(render(&templates, shoot));
        start.elapsed()
    });
    let rendered = render(&templates, 0);
    let floor = quickest(|| {
        let start = Instant::now();
        drop(black_box(objects::write(&rendered)));
        start.elapsed()
    });
    let per = |time: Duration| (time.as_secs_f64() / floor.as_secs_f64(), 1.0 / time.as_secs_f64());
    println!("| objects of a shoot | time | ratio to writing them | per second |\n|---|---|---|---|");
    for (what, time) in [("written (floor)", floor), ("rendered for the first shoot", first), ("for each other", next)]
    {
        let (ratio, rate) = per(time);
        println!("| {what} | {time:.2?} | {ratio:.2} × | {rate:.0} |");
    }
}

fn quickest(mut run: impl FnMut() -> Duration) -> Duration {
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

fn render(templates: &Templates, shoot: u64) -> Vec<Object> {
    let values = json!({
        "phase": "install",
        "nodeAsDesired": "example.com/as-desired",
        "switchLease": "switches",
        "access": { "name": "access", "namespace": "kube-system", "clusterRole": "access" },
        "clusterRole": "agent",
        "agent": { "name": "agent", "namespace": "kube-system" },
        "adjustments": { "group": "example.com", "version": "v1alpha1", "kind": "Adjustment", "listKind": "AdjustmentList",
            "plural": "adjustments", "name": "adjustments.example.com", "statusResource": "adjustments/status" },
        "desiredState": { "configMap": format!("state-{shoot}"), "key": "state.json", "sha256": format!("{shoot:064}"),
            "text": format!("{{\"shoot\":{shoot}}}").repeat(40) },
    });
    match templates.render(&values) {
        Ok(objects) => objects,
        Err(error) => panic!("{error:?}"),
    }
}
