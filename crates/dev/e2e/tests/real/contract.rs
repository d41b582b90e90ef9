//! The contracts, against the real components. Against the sandbox's stand-ins: `crates/dev/sandbox/tests/contract.rs`.

use anyhow::ensure;
use contract::{
    CONTAINER_RUNTIME, ContractReport, KUBERNETES_API, Machine, RESOURCE_MANAGER, SYSTEMD, SeedAndShoot, verify,
};
use extension_config::names::node;
use testbed::{Bed, Generation, Options, Progress};

const NAMESPACE: &str = "shoot--local--local";

/// Nothing of ours runs on this bed.
#[test]
fn the_real_components_keep_the_contracts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let progress = Progress::default();
    let outcome = runtime.block_on(async {
        let options = Options {
            name: "contract".to_owned(),
            root: crate::root(),
            shoot_namespace: NAMESPACE.to_owned(),
            workers: 1,
            generation: Generation::from_env()?,
            progress: progress.clone(),
        };
        let bed = Bed::up(options).await?;
        let outcome = check(&bed, &progress).await;
        bed.down().await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

async fn check(bed: &Bed, progress: &Progress) -> anyhow::Result<()> {
    let (seed, shoot) = (bed.seed().admin().await?, bed.shoot().admin().await?);
    let live = bed.workers()[0].live_root()?;
    let mut verdicts = Vec::new();
    reported(progress, &mut verdicts, verify("a Kubernetes API", KUBERNETES_API, &seed).await);
    let machine = Machine::at(&live).await?;
    reported(progress, &mut verdicts, verify("systemd", SYSTEMD, &machine).await);
    let socket = live.join(node::CONTAINERD_SOCKET.trim_start_matches('/'));
    reported(progress, &mut verdicts, verify("containerd", CONTAINER_RUNTIME, &socket).await);
    let seed_and_shoot = SeedAndShoot::new(seed, shoot, NAMESPACE);
    reported(progress, &mut verdicts, verify("gardener-resource-manager", RESOURCE_MANAGER, &seed_and_shoot).await);
    let broken: Vec<&str> = verdicts.iter().flat_map(|verdict| &verdict.broken).map(String::as_str).collect();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

fn reported(progress: &Progress, verdicts: &mut Vec<ContractReport>, verdict: ContractReport) {
    progress.step(&verdict.to_string());
    verdicts.push(verdict);
}
