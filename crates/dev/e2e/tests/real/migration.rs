//! From cri-resmgr to nri-plugins and back, on workers with pods, judged by what the kernel and systemd say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::kernel::{cpus, cpus_of, wait_cpus};
use e2e::{Container, Endpoint, NodeFacts, TestEnvironment, Traffic, Workload};
use extension_config::names;
use extension_config::names::node::{CONTAINERD_UNIT, DAEMON_UNIT, KUBELET_UNIT, PLUGIN_UNIT};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::{Progress, Worker, wait_for};

use crate::in_environment;

/// A mistake is told by the next reconcile.
const TOLD: Duration = Duration::from_secs(30);
/// Until the policy runs on a node: a new agent, its slot, the dry run.
const BEGUN: Duration = Duration::from_secs(200);
/// One node after the other.
const MOVED: Duration = Duration::from_secs(400);
/// An agent looks at containers at least once a minute.
const PLACED: Duration = Duration::from_secs(90);

/// Pods of the namespace default on the CPU that is not reserved; `most` differs where another try is wanted.
fn proxy(most: u8) -> Value {
    json!({
        "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1",
        "kind": "CriResourceManagerConfig",
        "backend": "cri-resmgr",
        "configs": { "fallback": { "policy": {
            "Active": "balloons",
            "ReservedResources": { "CPU": "cpuset:0" },
            "balloons": { "BalloonTypes": [
                { "Name": "work", "Namespaces": ["default"], "MinCPUs": 1, "MaxCPUs": most, "MinBalloons": 1 },
            ] },
        } } },
    })
}

/// The same, to be gone over to nri-plugins, where these ids are accepted.
fn policy(most: u8, accept: &[String]) -> Value {
    let mut config = proxy(most);
    config["backend"] = json!("nri-plugins");
    config["migration"] = json!({ "from": "cri-resmgr", "accept": accept });
    config
}

/// And the way back.
fn back(most: u8) -> Value {
    let mut config = proxy(most);
    config["migration"] = json!({ "from": "nri-plugins" });
    config
}

/// A ConfigMap for one node that somebody makes by hand, with what its fallback says anyway.
async fn write_by_hand(environment: &TestEnvironment, worker: &Worker) -> anyhow::Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let name = format!("{}node.{}", names::DYNAMIC_CONFIG_MAP_PREFIX, worker.name());
    let policy = proxy(1)["configs"]["fallback"]["policy"].to_string();
    let map = json!({ "metadata": { "name": name }, "data": { "policy": policy } });
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    Ok(name)
}

async fn wait_active(worker: &Worker) -> anyhow::Result<()> {
    wait_for(&format!("the policy to run on {}", worker.name()), BEGUN, || async {
        let state = worker.exec(&["systemctl", "is-active", PLUGIN_UNIT]).await?.stdout;
        Ok((state.trim() == "active").then_some(()))
    })
    .await
}

/// The agent dies while the policy runs under the living proxy.
async fn agent_dies_in_the_overlap(worker: &Worker) -> anyhow::Result<()> {
    wait_active(worker).await?;
    ensure!(NodeFacts::observe(worker).await?.endpoint == Endpoint::Proxy, "there was no overlap");
    worker.shell("kill -9 $(pgrep -f '^/cri-resmgr-node-agent')").await.map(drop)
}

/// The ids that the Extension's error asks for.
async fn ids(environment: &TestEnvironment, config: &Value) -> anyhow::Result<Vec<String>> {
    environment.gardenlet.sync_cluster(&environment.shoot(Some(config), false)).await?;
    environment.gardenlet.deploy_extension("reconcile", Some(config)).await?;
    let description = wait_for("what is not accepted to be told", TOLD, || async {
        let extension = environment.gardenlet.extensions().get(names::EXTENSION_TYPE).await?;
        let error = &extension.data["status"]["lastError"];
        Ok(error["description"].as_str().map(|text| (text.to_owned(), error["codes"].clone())))
    })
    .await?;
    ensure!(description.1 == json!(["ERR_CONFIGURATION_PROBLEM"]), "{description:?}");
    let lacks = description.0.split("lacks ").skip(1);
    let ids: Vec<String> = lacks.filter_map(|rest| Some(rest.split_once(": ")?.0.to_owned())).collect();
    ensure!(!ids.is_empty(), "no id in {description:?}");
    Ok(ids)
}

/// What none of it may restart, but for kubelet's one restart each way.
struct Untouched {
    containers: BTreeMap<String, Container>,
    containerd: Vec<usize>,
    kubelet: Vec<usize>,
}

impl Untouched {
    async fn now(environment: &TestEnvironment, workload: &Workload) -> anyhow::Result<Self> {
        Ok(Self {
            containers: workload.containers().await?,
            containerd: environment.starts(CONTAINERD_UNIT).await?,
            kubelet: environment.starts(KUBELET_UNIT).await?,
        })
    }

    /// Everything as before, and kubelet started so many times more on each worker.
    async fn ensure(
        &self,
        environment: &TestEnvironment,
        workload: &Workload,
        kubelet: &[usize],
    ) -> anyhow::Result<()> {
        let now = Self::now(environment, workload).await?;
        ensure!(now.containers == self.containers, "{:?} became {:?}", self.containers, now.containers);
        ensure!(now.containerd == self.containerd, "containerd was restarted");
        let more: Vec<usize> = now.kubelet.iter().zip(&self.kubelet).map(|(now, before)| now - before).collect();
        ensure!(more == kubelet, "kubelet was started {more:?} times instead of {kubelet:?}");
        Ok(())
    }
}

/// Where the workload's container on each worker is, by the kernel's word.
async fn placed(environment: &TestEnvironment, workload: &Workload) -> anyhow::Result<()> {
    let containers = workload.containers().await?;
    for worker in environment.bed.workers() {
        let container = containers.get(worker.name()).with_context(|| format!("no workload on {}", worker.name()))?;
        wait_cpus(worker, &container.id, "1", PLACED).await.with_context(|| worker.name().to_owned())?;
    }
    Ok(())
}

async fn on(worker: &Worker, endpoint: Endpoint) -> anyhow::Result<()> {
    let facts = NodeFacts::observe(worker).await?;
    ensure!(facts.endpoint == endpoint, "kubelet on {} runs on {:?}", worker.name(), facts.endpoint);
    let policy = worker.exec(&["systemctl", "is-active", PLUGIN_UNIT]).await?.stdout.trim() == "active";
    let daemon = worker.exec(&["systemctl", "is-active", DAEMON_UNIT]).await?.stdout.trim() == "active";
    let is_proxy = endpoint == Endpoint::Proxy;
    ensure!((daemon, policy) == (is_proxy, !is_proxy), "{}: daemon {daemon}, policy {policy}", worker.name());
    Ok(())
}

/// A pod that comes, and one that is resized, while the policy runs under the living proxy.
async fn in_the_overlap(
    environment: &TestEnvironment,
    workload: &Workload,
    worker: &Worker,
) -> anyhow::Result<Container> {
    wait_active(worker).await?;
    ensure!(NodeFacts::observe(worker).await?.endpoint == Endpoint::Proxy, "there was no overlap");
    let container = workload.start_pod("overlap", worker.name()).await?;
    let pods: Api<Pod> = Api::namespaced(environment.bed.shoot().admin().await?, "default");
    let name = pods.get("overlap").await?.spec.context("no spec")?.containers.remove(0).name;
    let resize = json!({ "spec": { "containers": [{ "name": name, "resources": { "requests": { "cpu": "20m" } } }] } });
    pods.patch_subresource("resize", "overlap", &PatchParams::default(), &Patch::Strategic(resize)).await?;
    Ok(container)
}

/// Three workers, there and back, with a pod on each and traffic between them that must not notice. At the first try the first worker's policy is killed
/// again and again, the second one's agent once, and the third one has a configuration that nobody has accepted to lose.
#[test]
#[ignore = "needs workers of the new generation: `cargo xtask soak --only backend-migration`"]
fn workers_go_to_the_other_backend_and_back_and_no_pod_notices() {
    in_environment("migration", 3, async |environment, progress| {
        let worker = &environment.bed.workers()[0];
        let outcome = there_and_back(environment, progress).await;
        explained(worker, outcome).await
    });
}

async fn there_and_back(environment: &TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let workers = environment.bed.workers();
    let tree = environment.trees()?;
    let took = environment.switch_on(Some(&proxy(1))).await?;
    progress.step(&format!("through the proxy after {took:.1?}"));
    let workload = Workload::deploy(environment.bed.shoot().admin().await?, workers.len()).await?;
    let traffic = Traffic::start(environment.bed.shoot().admin().await?, workers).await?;
    placed(environment, &workload).await?;
    let at_first = traffic.counts(workers).await?;
    let untouched = Untouched::now(environment, &workload).await?;
    progress.step(&format!("CPUs by container on {}: {:?}", workers[0].name(), cpus(&workers[0]).await?));

    let by_hand = write_by_hand(environment, &workers[2]).await?;
    let mut accepted = ids(environment, &policy(2, &[])).await?;
    progress.step(&format!("to be accepted: {accepted:?}"));

    progress.step(&format!("to the policy; on {} it is killed again and again", workers[0].name()));
    let kill = format!("while sleep 1; do systemctl kill --signal=KILL {PLUGIN_UNIT}; done");
    workers[0].run(&["systemd-run", "--quiet", "--unit=killer", "sh", "-c", &kill]).await?;
    environment.reconcile(Some(&policy(2, &accepted))).await?;
    let one_goes_over = wait_for(
        "the second worker to have gone over, the first one to be back, the third one to hold",
        MOVED,
        || async {
            let (first, third) = (report(environment, &workers[0]).await?, report(environment, &workers[2]).await?);
            ensure!(first["stage"] == "RolledBack", "{first}");
            ensure!(third["stage"] == "Blocked", "{third}");
            let id = format!("(accept config-map:{by_hand})");
            ensure!(third["message"].as_str().is_some_and(|message| message.contains(&id)), "{third}");
            on(&workers[0], Endpoint::Proxy).await?;
            on(&workers[2], Endpoint::Proxy).await?;
            on(&workers[1], Endpoint::Containerd).await.map(Some)
        },
    );
    let (gone, died) = tokio::join!(one_goes_over, agent_dies_in_the_overlap(&workers[1]));
    gone?;
    died.context("the second worker's agent")?;
    workers[0].run(&["systemctl", "stop", "killer"]).await?;
    placed(environment, &workload).await?;
    untouched.ensure(environment, &workload, &[0, 1, 0]).await?;
    progress.step("a mixed fleet: the first worker is back on the proxy without a restart of kubelet, the second one has the policy by a second agent, the third one holds");
    accepted.push(format!("config-map:{by_hand}"));

    let start = Instant::now();
    let go = async {
        environment.reconcile(Some(&policy(1, &accepted))).await?;
        wait_for("all workers to have gone over", MOVED, || async {
            for worker in workers {
                on(worker, Endpoint::Containerd).await?;
            }
            Ok(Some(()))
        })
        .await?;
        environment.wait_healthy().await
    };
    let (gone, overlap) = tokio::join!(go, in_the_overlap(environment, &workload, &workers[0]));
    gone?;
    let overlap = overlap?;
    progress.step(&format!("all on the policy after {:.1?}", start.elapsed()));
    placed(environment, &workload).await?;
    wait_cpus(&workers[0], &overlap.id, "1", PLACED).await.context("the pod of the overlap")?;
    untouched.ensure(environment, &workload, &[1, 1, 1]).await?;
    for worker in workers {
        let left = worker
            .shell("ls -d /opt/intel /var/lib/cri-resmgr /etc/cri-resmgr /run/cri-resmgr 2>/dev/null; true")
            .await?;
        ensure!(left.is_empty(), "the proxy has left on {}: {left}", worker.name());
        let new = workload.start_pod(&format!("new-{}", worker.name()), worker.name()).await?;
        ensure!(cpus_of(worker, &new.id).await? == "1", "a new pod is elsewhere");
    }
    progress.step(&format!("CPUs by container on {}: {:?}", workers[0].name(), cpus(&workers[0]).await?));

    let start = Instant::now();
    environment.reconcile(Some(&back(1))).await?;
    wait_for("all workers to be back on the proxy", MOVED, || async {
        for worker in workers {
            on(worker, Endpoint::Proxy).await?;
        }
        Ok(Some(()))
    })
    .await?;
    environment.wait_healthy().await?;
    progress.step(&format!("all back on the proxy after {:.1?}", start.elapsed()));
    placed(environment, &workload).await?;
    wait_cpus(&workers[0], &overlap.id, "1", PLACED).await.context("the pod of the overlap")?;
    untouched.ensure(environment, &workload, &[2, 2, 2]).await?;
    progress.step(&format!("CPUs by container on {}: {:?}", workers[0].name(), cpus(&workers[0]).await?));

    let took = environment.switch_off().await?;
    progress.step(&format!("off after {took:.1?}"));
    untouched.ensure(environment, &workload, &[3, 3, 3]).await?;
    let counts = traffic.counts(workers).await?;
    progress.step(&format!("traffic between the workers meanwhile: {counts:?}, before it {at_first:?}"));
    ensure!(counts.lost == at_first.lost && counts.answered > 1000, "{counts:?} after {at_first:?}");
    environment.ensure_trees_equal(&tree)
}

/// The report of a worker's agent.
async fn report(environment: &TestEnvironment, worker: &Worker) -> anyhow::Result<Value> {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases: Api<Lease> = Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let lease = leases.get(&format!("{}{}", names::NODE_REPORT_LEASE_PREFIX, worker.name())).await?;
    let annotations = lease.metadata.annotations.unwrap_or_default();
    let text = annotations.get(names::NODE_REPORT_ANNOTATION).context("no report")?;
    Ok(serde_json::from_str(text)?)
}

/// What units and containerd say of it, for a test that fails.
async fn explained<T>(worker: &Worker, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    let Err(error) = outcome else { return outcome };
    let script = format!(
        "systemctl --no-pager --lines=30 status {PLUGIN_UNIT} {DAEMON_UNIT}; journalctl --no-pager -u containerd | grep -i nri | tail -n 20; \
         cat /var/lib/gardener-extension-cri-resmgr/journal.json"
    );
    let said =
        worker.exec(&["sh", "-c", &script]).await.map_or_else(|error| format!("{error:#}"), |output| output.stdout);
    let placed = cpus(worker).await.map_or_else(|error| format!("{error:#}"), |cpus| format!("{cpus:?}"));
    Err(error.context(format!("{said}\n{placed}")))
}
