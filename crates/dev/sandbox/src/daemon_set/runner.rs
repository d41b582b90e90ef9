//! How the program of a pod runs: as a process, or in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use node_agent::simulation::{RunningAgent, Simulation};
use serde_json::Value;

use super::object::PodObject;
use super::process::{Process, ProcessRunner};
use fake_kube_api::text;

/// On one node.
#[derive(Debug, Clone)]
pub(crate) enum Runner {
    /// The program itself.
    Process(ProcessRunner),
    /// The agent on a node in memory.
    Simulation(Arc<Simulation>),
}

/// A program that runs.
pub(super) enum Running {
    Process(Process),
    Agent(RunningAgent),
}

impl Runner {
    /// Starts the program of the pod's only container.
    pub(super) fn start(&self, pod: &PodObject<'_>) -> anyhow::Result<Running> {
        let container = &pod.set["spec"]["template"]["spec"]["containers"][0];
        let mounted = mounted(pod, container)?;
        match self {
            Self::Process(runner) => runner.start(pod, container, &mounted).map(Running::Process),
            Self::Simulation(simulation) => {
                let desired = mounted.get(extension_config::names::DESIRED_STATE_KEY);
                let desired = desired.context("what is mounted has no desired state")?;
                simulation.run_agent(pod.node, &pod.name(), desired).map(Running::Agent)
            }
        }
    }
}

impl Running {
    /// Between two probes of readiness; kubelet's are seconds apart, and so are those of many agents in one process.
    pub(super) fn probe_period(&self) -> Duration {
        match self {
            Self::Process(_) => Duration::from_millis(300),
            Self::Agent(_) => Duration::from_secs(1),
        }
    }

    /// What its readiness probe says.
    pub(super) async fn probe(&self) -> Result<(), String> {
        match self {
            Self::Process(process) => process.probe().await,
            Self::Agent(agent) => agent.readiness(),
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::Process(process) => process.ended().await,
            Self::Agent(agent) => agent.ended().await,
        }
    }

    /// Ends it as a crash would; in memory nothing can.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Agent(agent) => agent.stop(),
        }
    }

    /// Asks it to end, and kills it when it takes longer than `grace`.
    pub(super) async fn end(&mut self, grace: Duration) {
        match self {
            Self::Process(process) => process.end(grace).await,
            Self::Agent(agent) => {
                agent.stop();
                agent.ended().await;
            }
        }
    }
}

/// The ConfigMap that is mounted where the desired state is read.
fn mounted(pod: &PodObject<'_>, container: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mut mounts = mounts.filter(|mount| mount["mountPath"] == extension_config::names::DESIRED_STATE_DIR);
    let volume = mounts.next().map(|mount| &mount["name"]).context("nothing is mounted for the desired state")?;
    let volumes = pod.set["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
    let name = volumes
        .filter(|found| found["name"] == *volume)
        .map(|found| text(found, "/configMap/name"))
        .next()
        .unwrap_or_default();
    let namespace = text(pod.set, "/metadata/namespace");
    let data = pod.shoot.read("", "configmaps", namespace, name, |map| {
        let entries = map["data"].as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    });
    data.with_context(|| format!("configmap {name:?} not found"))
}
