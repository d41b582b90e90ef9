//! What goes wrong between the controller and its API, and with the controller itself: calls that fail, an API server that restarts, leaders
//! that are killed and leaders that sleep. Each run ends converged: no operation lost, no object twice, no finalizer left.
//!
//! A short cut by default. `FAULT_SHOOTS` and `FAULT_KILLS` ask for more (the soak).

mod fleet;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::Artifacts;
use extension_config::names;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use nix::sys::signal::Signal;
use serde_json::json;
use testbed::{Bed, Daemon, FaultProxy, Generation, Options, Progress, wait_for};

use fleet::Fleet;

const BED: &str = "faults";
const CONTROLLER_NAMESPACE: &str = "extension-cri-resmgr-extension-bed";
/// Patience with a whole fleet while a fifth of the calls fail.
const LIMIT: Duration = Duration::from_secs(240);
/// A lease is taken over 15 s after its last renewal, and every step of it may meet a fault.
const TAKEOVER: Duration = Duration::from_secs(90);
/// In the middle of so many the API server is restarted.
const RECONCILES: usize = 200;
/// Part of the calls that fail, in percent.
const FAULTY: u8 = 20;

/// A controller, and the way it goes to the API.
struct Replica {
    name: String,
    /// Of its ports.
    args: [String; 2],
    daemon: Daemon,
    proxy: FaultProxy,
}

struct Fixture {
    bed: Bed,
    artifacts: Artifacts,
    progress: Progress,
    started: usize,
}

#[test]
fn faults() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let outcome = async {
            let mut fixture = Fixture::up().await?;
            let outcome = fixture.run().await;
            if outcome.is_err() {
                fixture.explain();
            }
            outcome
        }
        .await;
        testbed::down(BED).await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

fn asked(variable: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text:?} is no number")),
        Err(_absent) => Ok(default),
    }
}

impl Fixture {
    async fn up() -> anyhow::Result<Self> {
        let progress = Progress::default();
        let artifacts = Artifacts::from_env()?;
        let bed = Bed::up(Options {
            name: BED.to_owned(),
            root: crate::root(),
            shoot_namespace: "shoot--local--local".to_owned(),
            workers: 0,
            generation: Generation::from_env()?,
            progress: progress.clone(),
        })
        .await?;
        bed.main_seed().install_chart("{}\n").await?;
        let (repository, tag) = artifacts.image_name.rsplit_once(':').context("the image has no tag")?;
        let images = json!({ "images": [{ "name": names::INSTALLATION_IMAGE, "repository": repository, "tag": tag }] });
        std::fs::write(bed.dir().join("images-overwrite.yaml"), format!("{images:#}\n"))?;
        Ok(Self { bed, artifacts, progress, started: 0 })
    }

    /// Another replica, behind a proxy of its own.
    async fn start(&mut self) -> anyhow::Result<Replica> {
        self.started += 1;
        let name = format!("seed-controller-{}", self.started);
        let port = 9200 + 2 * self.started;
        let args = [format!("--metrics-bind-address=:{port}"), format!("--health-bind-address=:{}", port + 1)];
        let proxy = self.bed.fault_proxy().await?;
        let daemon = self.launch(&name, &args, &proxy).await?;
        Ok(Replica { name, args, daemon, proxy })
    }

    async fn launch(&self, name: &str, args: &[String], proxy: &FaultProxy) -> anyhow::Result<Daemon> {
        let vector = self.bed.dir().join("images-overwrite.yaml").display().to_string();
        let env = [("IMAGEVECTOR_OVERWRITE", vector.as_str())];
        self.bed.main_seed().start_controller_at(proxy.url(), name, &self.artifacts.controller, args, &env).await
    }

    /// Starts it again whenever it has ended, as its Deployment would: a leader that cannot renew its lease in time ends.
    async fn keep_alive(&self, Replica { name, args, daemon, proxy }: &mut Replica) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !daemon.is_alive() {
                self.progress.step(&format!("{name} has ended; starting it again"));
                *daemon = self.launch(name, args, proxy).await?;
            }
        }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let (shoots, kills) = (asked("FAULT_SHOOTS", 10)?, asked("FAULT_KILLS", 3)?);
        let seed = self.bed.seed().admin().await?;
        let fleet = Fleet::new(seed.clone(), &crate::root(), shoots).await?;
        let mut first = self.start().await?;
        let played = tokio::spawn(fleet::play_resource_manager(seed));
        let outcome = async {
            self.failing_calls(&fleet, &mut first).await?;
            self.restarted_server(&fleet, &mut first).await?;
            let last = self.killed_leaders(&fleet, first, kills).await?;
            self.sleeping_leader(&fleet, last).await
        }
        .await;
        played.abort();
        outcome
    }

    /// Every life of every Extension while a fifth of all calls fail.
    async fn failing_calls(&self, fleet: &Fleet, replica: &mut Replica) -> anyhow::Result<()> {
        let start = Instant::now();
        replica.proxy.fail(FAULTY);
        let lives = async {
            for round in ["created", "reconciled again"] {
                fleet.ask("reconcile").await?;
                fleet.wait_ready(LIMIT).await.context(round)?;
            }
            fleet.delete().await?;
            fleet.wait_gone(LIMIT).await.context("deleted")
        };
        let outcome = tokio::select! {
            outcome = lives => outcome,
            failed = self.keep_alive(replica) => failed,
        };
        outcome.with_context(|| format!("with {}", replica.proxy.summary()))?;
        replica.proxy.fail(0);
        if !replica.daemon.is_alive() {
            replica.daemon = self.launch(&replica.name, &replica.args, &replica.proxy).await?;
        }
        self.progress.step(&format!("failing calls: {:.0?}, {}", start.elapsed(), replica.proxy.summary()));
        Ok(())
    }

    /// The API server dies in the middle of many reconciles.
    async fn restarted_server(&mut self, fleet: &Fleet, replica: &mut Replica) -> anyhow::Result<()> {
        let start = Instant::now();
        let rounds = RECONCILES.div_ceil(fleet.len());
        for round in 0..rounds {
            fleet.ask("reconcile").await?;
            if round == rounds / 2 {
                self.bed.restart_seed(Duration::from_secs(2)).await?;
            }
        }
        let outcome = tokio::select! {
            outcome = fleet.wait_ready(LIMIT) => outcome,
            failed = self.keep_alive(replica) => failed,
        };
        outcome.context("after a restart of the API server")?;
        self.progress.step(&format!(
            "restarted API server: {} reconciles in {:.0?}",
            rounds * fleet.len(),
            start.elapsed()
        ));
        Ok(())
    }

    /// SIGKILL at the leader in mid-work, again and again. Answers the last leader.
    async fn killed_leaders(&mut self, fleet: &Fleet, first: Replica, kills: usize) -> anyhow::Result<Replica> {
        let start = Instant::now();
        let mut leader = first;
        for number in 0..kills {
            let next = self.start().await?;
            let before = holder(&self.bed).await?;
            fleet.ask("reconcile").await?;
            // Each time at another point of the work.
            tokio::time::sleep(Duration::from_millis(u64::try_from(number % 10)? * 70)).await;
            leader.daemon.signal(Signal::SIGKILL)?;
            wait_for("another leader", TAKEOVER, || async { Ok((holder(&self.bed).await? != before).then_some(())) })
                .await?;
            fleet.wait_ready(LIMIT).await.with_context(|| format!("after the death of {}", leader.name))?;
            leader = next;
        }
        self.progress.step(&format!("{kills} leaders killed: {:.0?}", start.elapsed()));
        Ok(leader)
    }

    /// A leader that sleeps longer than its lease wakes up without the right to write.
    async fn sleeping_leader(&mut self, fleet: &Fleet, sleeper: Replica) -> anyhow::Result<()> {
        let start = Instant::now();
        let other = self.start().await?;
        let before = holder(&self.bed).await?;
        fleet.ask("reconcile").await?;
        sleeper.daemon.signal(Signal::SIGSTOP)?;
        wait_for("another leader", TAKEOVER, || async { Ok((holder(&self.bed).await? != before).then_some(())) })
            .await?;
        fleet.wait_ready(LIMIT).await.context("while the former leader sleeps")?;
        // There is work that it could do when it wakes.
        fleet.ask("reconcile").await?;
        let (its_writes, others) = (sleeper.proxy.writes(), other.proxy.writes());
        sleeper.daemon.signal(Signal::SIGCONT)?;
        wait_for("the former leader to end", TAKEOVER, || async { Ok((!sleeper.daemon.is_alive()).then_some(())) })
            .await?;
        fleet.wait_ready(LIMIT).await.context("after the former leader woke up")?;
        ensure!(sleeper.proxy.writes() == its_writes, "it wrote {} times", sleeper.proxy.writes() - its_writes);
        ensure!(other.proxy.writes() > others, "nobody wrote");
        fleet.delete().await?;
        fleet.wait_gone(LIMIT).await?;
        self.progress.step(&format!("sleeping leader: {:.0?}", start.elapsed()));
        Ok(())
    }

    fn explain(&self) {
        for number in 1..=self.started {
            let log = self.bed.dir().join(format!("seed-controller-{number}.log"));
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}\n{}", log.display(), lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

async fn holder(bed: &Bed) -> anyhow::Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(bed.seed().admin().await?, CONTROLLER_NAMESPACE);
    let lease = leases.get_opt("cri-resmgr-leader-election").await?;
    Ok(lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity))
}
