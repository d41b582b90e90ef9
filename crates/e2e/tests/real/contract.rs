//! The contract of a Kubernetes API, against a real kube-apiserver. Against the sandbox's stand-in: `crates/sandbox/tests/contract.rs`.

use anyhow::ensure;
use sandbox::contract::{KUBERNETES_API, verify};
use testbed::{Bed, Options, Progress};

/// Without workers a bed comes up in seconds.
#[test]
fn a_kube_apiserver_keeps_the_contract() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let progress = Progress::default();
    let options = Options {
        name: "contract".to_owned(),
        root: crate::root(),
        shoot_namespace: "shoot--local--local".to_owned(),
        workers: 0,
        progress: progress.clone(),
    };
    let outcome = runtime.block_on(async {
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
    let verdict = verify("a Kubernetes API", KUBERNETES_API, &bed.seed().admin().await?).await;
    progress.step(&verdict.to_string());
    ensure!(verdict.broken.is_empty(), "{verdict}");
    Ok(())
}
