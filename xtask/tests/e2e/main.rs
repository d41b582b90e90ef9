//! `cargo xtask e2e` itself, against a Gardener that is a double, and the real controller and node agents in the sandbox.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

mod gardener;
mod http;

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use gardener::{Care, Gardener};
use sandbox::{Binaries, Fault, Sandbox, WORKER_POOL};

/// Runs the command as a person does, and gives its end and what Gardener saw of it.
async fn run(care: Care, nodes: usize, minutes: &str, prepare: impl Fn(&Sandbox)) -> (Output, Arc<Gardener>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sandbox =
        Arc::new(Sandbox::up(root, &Binaries::build(root).unwrap(), &vec![WORKER_POOL; nodes]).await.unwrap());
    prepare(&sandbox);
    let gardener = Gardener::start(Arc::clone(&sandbox), care);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["e2e", "--namespace", "garden-x", "--shoot", "y", "--minutes", minutes, "--kubeconfig"]);
    command.arg(gardener.kubeconfig()).kill_on_drop(true);
    let output = tokio::select! {
        output = command.output() => output.unwrap(),
        error = gardener.reconcile() => panic!("{error:?}\n{}", sandbox.explain()),
    };
    (output, gardener)
}

#[tokio::test]
async fn e2e_switches_a_shoot_on_and_off_and_deletes_it() {
    let (output, gardener) = run(Care::Full, 2, "2", |_| ()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(gardener.history(), ["off", "on", "off", "on", "delete"], "{said}");
    // Both nodes were asked each time, and nothing of that is left.
    let (probes, left) = gardener.probes();
    assert!(probes >= 8 && left.is_empty(), "{probes} probes, left are {left:?}");
    for line in ["on containerd: node-1, node-2", "through cri-resource-manager: node-1, node-2"] {
        assert_eq!(said.matches(line).count(), 2, "{line} in {said}");
    }
}

#[tokio::test]
async fn e2e_names_a_node_that_did_not_switch_and_keeps_the_shoot() {
    let (output, gardener) = run(Care::None, 1, "0.4", |sandbox| {
        sandbox.nodes()[0].faults().programs.add("start proxy", .., Fault::Break);
    })
    .await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("node-1") && last.contains("cri-resource-manager.service is"), "{said}");
    assert!(last.contains("garden-x/y stays as it is"), "{said}");
    assert_eq!(gardener.history(), ["off", "on"], "{said}");
    assert!(gardener.probes().1.is_empty());
}
