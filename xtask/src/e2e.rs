//! `cargo xtask e2e`: the main job in a shoot of a real Gardener.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use e2e::{GardenerShoot, NodeFacts};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::terminal::say;

/// Creates a shoot in a Gardener that has the extension registered, switches the extension on, off and on again, looks at
/// every node each time, and deletes the shoot. When a step fails the shoot stays for inspection.
#[derive(Debug, Args)]
pub(crate) struct E2eArgs {
    /// Kubeconfig of the garden cluster (with gardener-operator: of the virtual garden).
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// Namespace of the project.
    #[arg(long, default_value = "garden-local")]
    namespace: String,
    /// Name of the shoot; there must be none of that name.
    #[arg(long, default_value = "e2e-cri-resmgr")]
    shoot: String,
    /// The shoot to create, under that name.
    #[arg(long, default_value = "examples/shoot.yaml")]
    example: PathBuf,
    /// Image with a shell and nsenter, for the pods that look at nodes.
    #[arg(long, default_value = "registry.k8s.io/e2e-test-images/busybox:1.36.1-1")]
    probe_image: String,
    /// Longest time for each step; 0.5 is half a minute.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &E2eArgs, root: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let gardener_shoot = gardener_shoot(args).await?;
        run_journey(&gardener_shoot, &root.join(&args.example))
            .await
            .with_context(|| format!("the shoot {}/{} stays as it is, if it was made", args.namespace, args.shoot))
    })
}

async fn gardener_shoot(args: &E2eArgs) -> anyhow::Result<GardenerShoot> {
    let path = args.kubeconfig.display();
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).with_context(|| format!("kubeconfig {path}"))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("kubeconfig {path}"))?;
    let garden = kube::Client::try_from(config)?;
    let patience = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes")?;
    Ok(GardenerShoot::new(garden, &args.namespace, &args.shoot, &args.probe_image, patience))
}

async fn run_journey(gardener_shoot: &GardenerShoot, example: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let reported =
        |what: &str, nodes: &[String]| say(&format!("[{:.0?}] {what}: {}", start.elapsed(), nodes.join(", ")));
    say("creating the shoot, with the extension switched off");
    gardener_shoot.create(example).await?;
    reported("on containerd", &gardener_shoot.ensure_nodes(NodeFacts::ensure_on_containerd).await?);
    for on in [true, false, true] {
        say(if on { "switching the extension on" } else { "switching the extension off" });
        gardener_shoot.switch(on).await?;
        let (judge, what): (fn(&NodeFacts) -> anyhow::Result<()>, _) = if on {
            (NodeFacts::ensure_switched, "through cri-resource-manager")
        } else {
            (NodeFacts::ensure_on_containerd, "on containerd")
        };
        reported(what, &gardener_shoot.ensure_nodes(judge).await?);
    }
    say("deleting the shoot");
    gardener_shoot.delete().await?;
    say(&format!("done after {:.0?}", start.elapsed()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(kubeconfig: &Path) -> E2eArgs {
        E2eArgs {
            kubeconfig: kubeconfig.to_owned(),
            namespace: "garden-x".to_owned(),
            shoot: "y".to_owned(),
            example: "examples/shoot.yaml".into(),
            probe_image: "busybox".to_owned(),
            minutes: 1.0,
        }
    }

    #[test]
    fn an_invalid_kubeconfig_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        for text in [None, Some("no: kubeconfig")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = run(&args(&path), Path::new("/nowhere")).unwrap_err();
            assert!(format!("{error:#}").contains(&path.display().to_string()), "{error:#}");
        }
    }
}
