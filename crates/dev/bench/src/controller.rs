//! `cargo xtask bench controller`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use extension_config::names;
use image_builder::binaries;
use image_builder::image::Platform;
use serde_json::{Value, json};
use testbed::Progress;
use testbed::gardenlet::example_shoot;

use crate::calls;
use crate::figures::{Idle, Machine, Report, Run, Scenario, Start};
use crate::floor::{Floor, Templates};
use crate::gardenlet::{Content, Shoots};
use crate::kinds::Kind;
use crate::observer::Observer;
use crate::process::{Controller, NAMESPACE};
use crate::relay::Relay;
use crate::resource_manager;
use crate::round::{Contestant, Round};
use crate::seed::{Seed, User};
use crate::shoot_api::ShootApi;
use crate::table;

/// From the end of a reconcile to the condition: gardener-resource-manager's part comes between.
const CONDITION: Duration = Duration::from_secs(30);

/// The controller beside a bare client: all Extensions new, again, 20 in flight, and deleted.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// How many, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    extensions: Vec<NonZeroUsize>,
    /// Size of each shoot's Cluster, in KiB, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "50")]
    cluster_kb: Vec<usize>,
    /// Extensions worked on at a time, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "5")]
    workers: Vec<NonZeroUsize>,
    /// Added to each call, such as 5ms.
    #[arg(long, default_value = "0ms", value_parser = milliseconds)]
    latency: Duration,
    /// Extensions of others in each shoot's namespace.
    #[arg(long, default_value_t = 10)]
    foreign: usize,
    /// How long each shoot's API server takes for an answer, such as 2000ms; it is asked when the Extension is deleted.
    #[arg(long, default_value = "0ms", value_parser = milliseconds)]
    slow_shoots: Duration,
    /// Also leaves it idle for so many seconds.
    #[arg(long)]
    idle: Option<u64>,
    /// Measures this program instead of the one of these sources.
    #[arg(long, value_name = "FILE")]
    controller: Option<PathBuf>,
    /// Writes the figures here.
    #[arg(long, value_name = "FILE", default_value = "dist/bench-controller.json")]
    json: PathBuf,
    /// Compares the ratios with those in this file.
    #[arg(long, value_name = "FILE", default_value = "docs/performance/controller.json")]
    compare: PathBuf,
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    number.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is no duration: a number and ms, such as 5ms"))
}

impl ControllerArgs {
    /// Measures, and gives the tables.
    ///
    /// # Errors
    /// When something does not start, or hangs.
    pub fn run(&self, root: &Path) -> anyhow::Result<String> {
        // The first call in a process decides, whoever makes it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let program = match &self.controller {
            Some(program) => program.clone(),
            None => binaries::build(root, Platform::LinuxAmd64)?.join(names::CONTROLLER_NAME),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(self.measure(root, &program))?;
        let json = root.join(&self.json);
        if let Some(folder) = json.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&json, format!("{:#}\n", serde_json::to_value(&report)?))
            .with_context(|| format!("cannot write {}", json.display()))?;
        let committed = match std::fs::read(root.join(&self.compare)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            read => Some(serde_json::from_slice(&read?).with_context(|| self.compare.display().to_string())?),
        };
        Ok(table::of(&report, committed.as_ref()))
    }

    async fn measure(&self, root: &Path, program: &Path) -> anyhow::Result<Report> {
        let (progress, load_before) = (Progress::default(), load()?);
        let mut runs = Vec::new();
        for extensions in &self.extensions {
            for cluster_kib in &self.cluster_kb {
                for workers in &self.workers {
                    let scenario = Scenario {
                        extensions: extensions.get(),
                        cluster_kib: *cluster_kib,
                        workers: workers.get(),
                        latency_ms: u64::try_from(self.latency.as_millis())?,
                        foreign: self.foreign,
                    };
                    let run = self.play(root, program, &scenario, *workers, &progress).await;
                    runs.push(run.with_context(|| format!("{scenario:?}"))?);
                }
            }
        }
        let machine = Machine {
            processor: processor()?,
            cores: std::thread::available_parallelism()?.get(),
            load_before,
            load_after: load()?,
        };
        let revision = match &self.controller {
            None => revision(root).await?,
            Some(_) => testbed::run(&program.display().to_string(), &["--version"]).await?.trim().to_owned(),
        };
        Ok(Report { revision, machine, runs })
    }

    async fn play(
        &self,
        root: &Path,
        program: &Path,
        scenario: &Scenario,
        workers: NonZeroUsize,
        progress: &Progress,
    ) -> anyhow::Result<Run> {
        let seed = Seed::up(root, progress).await?;
        let (client, shoot) = (seed.client(User::Bench).await?, example_shoot(root, "shoot--p--s")?);
        let relay = if self.latency.is_zero() { None } else { Some(Relay::start(seed.port(), self.latency).await?) };
        let port = relay.as_ref().map_or(seed.port(), |relay| relay.port);
        let kubeconfig = seed.path("controller.kubeconfig");
        std::fs::write(&kubeconfig, seed.kubeconfig(User::Controller, port).to_string())?;
        let shoot_api = ShootApi::start(seed.authority(), self.slow_shoots).await?;
        let (count, cluster_kib) = (scenario.extensions, scenario.cluster_kib);
        let content =
            Content { shoot: &shoot, cluster_kib, foreign: scenario.foreign, kubeconfig: &shoot_api.kubeconfig };
        progress.step(&format!("{count} shoots, Clusters of {cluster_kib} KiB, {workers} workers: preparing"));
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        let namespaces = Kind::Namespace.all(&client);
        namespaces.create(&kube::api::PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let (sample, shoots) = (Shoots::new(&client, "sample", 1), Shoots::new(&client, "bench", count));
        sample.prepare(&content).await?;
        shoots.prepare(&content).await?;
        let _resource_manager = resource_manager::start(&client);
        let observer = Arc::new(Observer::start(&client));
        let start = |log: &str| Controller::start(program, &kubeconfig, seed.path(log), workers);

        let templates = {
            let controller = start("sample.log")?;
            controller.ready().await?;
            let templates = self.sample(&sample, &observer).await;
            templates.with_context(|| controller.tail())?
        };
        progress.step("the floor");
        let floor = {
            let (text, templates) = (seed.kubeconfig(User::Floor, port).to_string(), templates.clone());
            let connect = async move {
                let kubeconfig = kube::config::Kubeconfig::from_yaml(&text)?;
                let options = kube::config::KubeConfigOptions::default();
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
                Ok(kube::Client::try_from(config)?)
            };
            let contestant = Contestant::Floor(Floor::start(connect, templates, workers).await?);
            let round = Round { seed: &seed, shoots: &shoots, observer: &observer, contestant: &contestant };
            round.play().await.context("the floor")?
        };
        shoots.sweep().await?;
        observer.gone(&shoots.namespaces).await?;

        progress.step("the controller");
        let controller = start("controller.log")?;
        controller.ready().await?;
        let contestant = Contestant::Ours(controller);
        let round = Round { seed: &seed, shoots: &shoots, observer: &observer, contestant: &contestant };
        let outcome = async {
            let figures = round.play().await?;
            let idle = match (self.idle, &contestant) {
                (Some(seconds), Contestant::Ours(controller)) => Some(idle(&seed, controller, seconds).await?),
                _ => None,
            };
            anyhow::Ok((figures, idle))
        };
        let tail = |error: anyhow::Error| match &contestant {
            Contestant::Ours(controller) => error.context(controller.tail()),
            Contestant::Floor(_) => error,
        };
        let (mut ours, idle) = outcome.await.map_err(tail)?;
        // It ends before the next one starts.
        drop(contestant);

        progress.step("its start, with all of them there, and their removal");
        observer.expect(&shoots.namespaces);
        shoots.request().await?;
        let began = Instant::now();
        let controller = start("again.log")?;
        let contestant = Contestant::Ours(controller);
        let round = Round { seed: &seed, shoots: &shoots, observer: &observer, contestant: &contestant };
        let Contestant::Ours(controller) = &contestant else { anyhow::bail!("somebody else is measured") };
        controller.ready().await?;
        let ready_seconds = began.elapsed().as_secs_f64();
        let done = observer.ready(&shoots.namespaces).await.with_context(|| controller.tail())?;
        let first = done.iter().min().map(|first| first.saturating_duration_since(began)).unwrap_or_default();
        let peak_kib = controller.usage()?.peak_kib;
        let start = Start { ready_seconds, first_done_seconds: first.as_secs_f64(), peak_kib };
        ours.deleted = Some(round.delete().await.with_context(|| controller.tail())?);
        Ok(Run { scenario: scenario.clone(), floor, ours, start: Some(start), idle })
    }

    /// What our program makes of one shoot.
    async fn sample(&self, shoots: &Shoots, observer: &Observer) -> anyhow::Result<Templates> {
        observer.expect(&shoots.namespaces);
        shoots.create().await?;
        observer.ready(&shoots.namespaces).await?;
        testbed::wait_for("the sample's condition", CONDITION, || async {
            let sampled = shoots.sample().await?;
            Ok(sampled.conditions.as_array().is_some_and(|all| !all.is_empty()).then_some(sampled))
        })
        .await
    }
}

impl Shoots {
    /// The objects of the first, as they would be applied, and its status.
    async fn sample(&self) -> anyhow::Result<Templates> {
        let namespace = self.namespaces.first().context("no shoot")?;
        let read = |kind: Kind, name: &'static str| async move {
            let object = kind.of(self.client(), namespace).get(name).await?;
            let mut value = serde_json::to_value(&object)?;
            let metadata = json!({
                "name": name, "labels": object.metadata.labels, "annotations": object.metadata.annotations,
            });
            value["metadata"] = metadata;
            anyhow::Ok(value)
        };
        let mut access = read(Kind::Secret, names::SHOOT_ACCESS_SECRET).await?;
        let manifests = read(Kind::Secret, names::SHOOT_MANAGED_RESOURCE_SECRET).await?;
        let mut resource = read(Kind::ManagedResource, names::SHOOT_MANAGED_RESOURCE).await?;
        let extension = read(Kind::Extension, names::EXTENSION_TYPE).await?;
        // Other writers' parts.
        for (object, field) in [(&mut access, "data"), (&mut resource, "status")] {
            object.as_object_mut().context("an object")?.remove(field);
        }
        let status = |field: &str| -> Value { extension["status"][field].clone() };
        Ok(Templates {
            objects: [(Kind::Secret, access), (Kind::Secret, manifests), (Kind::ManagedResource, resource)],
            provider_status: status("providerStatus"),
            conditions: status("conditions"),
        })
    }
}

async fn idle(seed: &Seed, controller: &Controller, seconds: u64) -> anyhow::Result<Idle> {
    let (before, position, start) = (controller.usage()?, calls::position(&seed.audit_log())?, Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = controller.usage()?;
    Ok(Idle {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        wake_ups: after.wake_ups.saturating_sub(before.wake_ups),
        calls: calls::since(&seed.audit_log(), position, User::Controller)?,
        rss_kib: after.rss_kib,
    })
}

fn load() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

fn processor() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Ok(model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()))
}

async fn revision(root: &Path) -> anyhow::Result<String> {
    let place = root.display().to_string();
    Ok(testbed::run("git", &["-C", &place, "describe", "--always", "--dirty"]).await?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_of_milliseconds() {
        assert_eq!(milliseconds("5ms"), Ok(Duration::from_millis(5)));
        for text in ["5", "ms", "5s", "-1ms", ""] {
            assert!(milliseconds(text).is_err_and(|error| error.contains("such as 5ms")), "{text:?}");
        }
    }
}
