//! Whatever goes wrong around them, the unchanged programs bring every node where it shall be, and back.

use std::path::Path;
use std::time::Duration;

use cri_client::fake::Code;
use sandbox::{Binaries, Fault, Node, Sandbox, WORKER_POOL};
use testbed::tree;

/// On and off with the faults that `script` prepares; a fault that was never injected proves nothing.
async fn on_and_off(script: impl AsyncFn(&Sandbox, &Node) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let sandbox = Sandbox::up(&root, &Binaries::build(&root)?, &[WORKER_POOL]).await?;
    let outcome = async {
        let node = &sandbox.nodes()[0];
        let before = tree::snapshot(node.root())?;
        script(&sandbox, node).await?;
        sandbox.switch_on(None).await?;
        sandbox.wait_installed(node).await?;
        sandbox.wait_healthy().await?;
        sandbox.switch_off().await?;
        let difference = tree::diff(&before, &tree::snapshot(node.root())?);
        anyhow::ensure!(difference.is_empty(), "the node is not as before:\n{}", difference.join("\n"));
        let faults = node.faults();
        let others = [sandbox.seed.faults(), sandbox.shoot.faults()].map(sandbox::Faults::hits).concat();
        let environment = [sandbox.faults().resource_manager.hits(), sandbox.faults().pods.hits()].concat();
        let hits =
            [others, environment, faults.systemd.hits(), faults.containerd.hits(), faults.programs.hits()].concat();
        anyhow::ensure!(hits.iter().all(|(_, count)| *count > 0), "a fault was never injected: {hits:?}");
        Ok(())
    };
    let outcome = outcome.await.map_err(|error: anyhow::Error| error.context(sandbox.explain()));
    sandbox.down().await?;
    outcome
}

/// The APIs refuse, break connections and are slow; the resource manager refuses; the controller crashes.
#[tokio::test]
async fn the_controller_converges_through_faults_of_apis_and_crashes() -> anyhow::Result<()> {
    on_and_off(async |sandbox, _| {
        let (seed, shoot) = (sandbox.seed.faults(), sandbox.shoot.faults());
        seed.add("PATCH managedresources", 1..=2, Fault::Refuse(409));
        seed.add("extensions/cri-resmgr-extension/status", 2..=2, Fault::Refuse(500));
        seed.add("secrets", 1..=1, Fault::Refuse(429));
        seed.add("GET extensions watch", 1..=1, Fault::Break);
        seed.add("GET clusters", 1..=1, Fault::Refuse(503));
        seed.add("GET leases", 2..=2, Fault::Delay(Duration::from_secs(1)));
        shoot.add("PATCH leases", 1..=1, Fault::Refuse(500));
        shoot.add("PATCH pods status", 1..=1, Fault::Break);
        sandbox.faults().resource_manager.add("reconcile", 2..=3, Fault::Refuse("not now".to_owned()));
        sandbox.crash_controller()?;
        sandbox.seed.cut();
        Ok(())
    })
    .await
}

/// systemd refuses a call, is slow and loses the bus; containerd is slow, refuses and breaks; the agent is killed in its work.
#[tokio::test]
async fn the_agent_converges_through_faults_of_systemd_containerd_and_kills() -> anyhow::Result<()> {
    on_and_off(async |sandbox, node| {
        let faults = node.faults();
        faults.systemd.add("Reload", 1..=1, Fault::Refuse("org.freedesktop.DBus.Error.LimitsExceeded".to_owned()));
        faults.systemd.add("RestartUnit kubelet.service", 1..=1, Fault::Delay(Duration::from_secs(1)));
        faults.systemd.add("GetAll kubelet.service", 8..=8, Fault::Break);
        faults.containerd.add("Status", 2..=2, Fault::Refuse(Code::Unavailable));
        faults.containerd.add("Version", 3..=3, Fault::Delay(Duration::from_secs(2)));
        faults.containerd.add("Version", 4..=4, Fault::Break);
        faults.programs.add("start proxy", 1..=1, Fault::Break);
        faults.programs.add("connect proxy", 2..=2, Fault::Break);
        sandbox.faults().pods.add("start", 1..=1, Fault::Break);
        sandbox.faults().pods.add("probe", 5..=5, Fault::Break);
        Ok(())
    })
    .await
}
