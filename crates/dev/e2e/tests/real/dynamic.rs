//! Dynamic configuration and Adjustments, on the real daemon: what it keeps in its cache is what it has accepted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::{NodeFacts, TestEnvironment};
use extension_config::names;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};
use testbed::{Progress, Worker, wait_for};

use crate::in_environment;

/// Far more than it takes: the machine may be busy.
const SOON: Duration = Duration::from_secs(90);

#[test]
fn configurations_and_adjustments_reach_the_running_daemon() {
    in_environment("dynamic", 1, async |environment, progress| {
        let before = environment.trees()?;
        environment.switch_on(Some(&configs())).await?;
        let node = Bench::new(environment).await?;
        let on = NodeFacts::observe(node.worker).await?;
        levels(&node, progress).await?;
        faults(&node, progress).await?;
        ensure!(
            NodeFacts::observe(node.worker).await?.daemon_pid == on.daemon_pid,
            "a configuration that needs no restart restarted the daemon"
        );
        adjustments(&node, progress).await?;
        restarts(&node, environment, progress).await?;
        sticky_keys(&node, progress).await?;
        policy(&node, progress).await?;
        let off = NodeFacts::observe(node.worker).await?;
        ensure!(on.kubelet_invocation == off.kubelet_invocation, "kubelet was restarted for a configuration");
        environment.switch_off().await?;
        environment.ensure_trees_equal(&before)?;
        ensure!(
            node.adjustments.list(&ListParams::default()).await.is_err(),
            "the definition of Adjustments is still there"
        );
        Ok(())
    });
}

/// Each level says which it is in a setting that changes nothing else.
fn document(level: &str) -> String {
    format!("policy: {{Active: none}}\nlogger: {{Debug: {level}}}\n")
}

fn configs() -> Value {
    json!({ "configs": { "default": document("of-default"), "group.g": document("of-group") } })
}

/// What agents remember of one run of the daemon.
#[derive(Debug, Default, PartialEq)]
struct Pushed {
    run: String,
    config: String,
    adjustments: Vec<String>,
}

struct Bench<'a> {
    worker: &'a Worker,
    maps: Api<ConfigMap>,
    nodes: Api<Node>,
    leases: Api<Lease>,
    adjustments: Api<DynamicObject>,
    kind: ApiResource,
}

impl<'a> Bench<'a> {
    async fn new(environment: &'a TestEnvironment) -> anyhow::Result<Self> {
        let client = environment.bed.shoot().admin().await?;
        let namespace = names::SHOOT_NAMESPACE;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
            names::ADJUSTMENT_GROUP,
            names::ADJUSTMENT_VERSION,
            names::ADJUSTMENT_KIND,
        ));
        Ok(Self {
            worker: &environment.bed.workers()[0],
            maps: Api::namespaced(client.clone(), namespace),
            nodes: Api::all(client.clone()),
            leases: Api::namespaced(client.clone(), namespace),
            adjustments: Api::namespaced_with(client, namespace, &kind),
            kind,
        })
    }

    fn own_map(&self) -> String {
        format!("{}node.{}", names::DYNAMIC_CONFIG_MAP_PREFIX, self.worker.name())
    }

    /// Writes the node's own ConfigMap, as a person would.
    async fn write_own(&self, data: &Value) -> anyhow::Result<()> {
        let name = self.own_map();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/name": names::NODE_AGENT } },
            "data": data,
        });
        self.maps.patch(&name, &PatchParams::apply("e2e").force(), &Patch::Apply(&map)).await?;
        Ok(())
    }

    async fn delete_own(&self) -> anyhow::Result<()> {
        self.maps.delete(&self.own_map(), &DeleteParams::default()).await?;
        Ok(())
    }

    async fn label(&self, group: Option<&str>) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "labels": { (names::NODE_GROUP_LABEL): group } } });
        self.nodes.patch(self.worker.name(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    fn cache(&self) -> anyhow::Result<Value> {
        let path = self.worker.live_root()?.join("var/lib/cri-resmgr/cache");
        Ok(serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?)
    }

    /// The configuration that the daemon accepted last.
    fn accepted(&self) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(serde_json::from_value(self.cache()?["Cfg"]["Data"].clone()).unwrap_or_default())
    }

    /// Waits until the daemon has accepted a configuration with this text in this key.
    async fn takes(&self, key: &str, text: &str) -> anyhow::Result<Duration> {
        let start = Instant::now();
        wait_for(&format!("the daemon to accept {key} with {text:?}"), SOON, || async {
            Ok(self.accepted()?.get(key).is_some_and(|found| found.contains(text)).then_some(()))
        })
        .await?;
        Ok(start.elapsed())
    }

    fn pushed(&self) -> anyhow::Result<Pushed> {
        let path = self.worker.live_root()?.join(names::node::DYNAMIC_MEMORY.trim_start_matches('/'));
        let memory: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let run = &memory["content"]["run"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Pushed {
            run: text(&run["invocation"]),
            config: text(&run["accepted"]["hash"]),
            adjustments: run["adjustments"].as_object().map(|set| set.keys().cloned().collect()).unwrap_or_default(),
        })
    }

    async fn run(&self) -> anyhow::Result<String> {
        let shown = ["systemctl", "show", "--value", "--property", "InvocationID", names::node::DAEMON_UNIT];
        Ok(self.worker.run(&shown).await?.trim().to_owned())
    }

    /// What the agent tells in its Lease.
    async fn report(&self) -> anyhow::Result<Value> {
        let lease = self.leases.get(&format!("cri-resmgr-node-{}", self.worker.name())).await?;
        let annotations = lease.metadata.annotations.context("no report yet")?;
        Ok(serde_json::from_str(&annotations[&format!("{}/node", names::API_GROUP)])?)
    }

    async fn reports(&self, message: &str) -> anyhow::Result<()> {
        wait_for(&format!("the report to say {message:?}"), SOON, || async {
            let report = self.report().await?;
            let said = report["message"].as_str().unwrap_or_default();
            let same = if message.is_empty() { said.is_empty() } else { said.contains(message) };
            ensure!(same, "it says {said:?}");
            Ok(Some(()))
        })
        .await
    }

    async fn adjust(&self, name: &str, spec: Value) -> anyhow::Result<()> {
        let object = DynamicObject::new(name, &self.kind).data(json!({ "spec": spec }));
        self.adjustments.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Keys of the errors that an Adjustment has on this node.
    async fn errors(&self, name: &str) -> anyhow::Result<Vec<String>> {
        wait_for(&format!("the status of Adjustment {name}"), SOON, || async {
            let object = self.adjustments.get(name).await?;
            let entry = &object.data["status"]["nodes"][self.worker.name()]["errors"];
            Ok(entry.as_object().map(|errors| errors.keys().cloned().collect()))
        })
        .await
    }
}

async fn levels(node: &Bench<'_>, progress: &Progress) -> anyhow::Result<()> {
    let took = node.takes("logger", "of-default").await?;
    progress.step(&format!("default: taken {took:.1?} after the switch"));
    node.label(Some("g")).await?;
    progress.step(&format!("labelled: the group's, after {:.1?}", node.takes("logger", "of-group").await?));
    node.write_own(&json!({ "policy": "Active: none", "logger": "Debug: of-node" })).await?;
    progress.step(&format!("the node's own, after {:.1?}", node.takes("logger", "of-node").await?));
    node.delete_own().await?;
    progress.step(&format!("deleted: the group's again, after {:.1?}", node.takes("logger", "of-group").await?));
    node.label(None).await?;
    progress.step(&format!("unlabelled: default again, after {:.1?}", node.takes("logger", "of-default").await?));
    Ok(())
}

async fn faults(node: &Bench<'_>, progress: &Progress) -> anyhow::Result<()> {
    let huge = format!("Active: none\n# {}\n", "x".repeat(900_000));
    for (what, data, wrong) in [
        ("invalid", json!({ "policy": "Active: baloons" }), "policy.Active"),
        ("empty", json!({}), "the whole document"),
        ("of 900 kB", json!({ "policy": huge, "logger": "Debug: huge" }), "the whole document"),
    ] {
        node.write_own(&data).await?;
        node.reports(&format!("is not valid and is not pushed to cri-resmgr; invalid: {wrong}")).await?;
        ensure!(node.accepted()?["logger"].contains("of-default"), "something was pushed");
        progress.step(&format!("{what}: told and not pushed"));
    }
    node.delete_own().await?;
    node.takes("logger", "of-default").await?;
    node.reports("").await
}

async fn adjustments(node: &Bench<'_>, progress: &Progress) -> anyhow::Result<()> {
    let scope = json!([{ "containers": [{ "key": "name", "operator": "Equals", "values": ["nobody"] }] }]);
    node.adjust("good", json!({ "scope": scope, "classes": { "rdt": "gold" } })).await?;
    ensure!(node.errors("good").await?.is_empty(), "the good Adjustment has errors");
    let contradiction = json!({ "requests": { "cpu": "2" }, "limits": { "cpu": "1" } });
    node.adjust("bad", json!({ "scope": scope, "resources": contradiction })).await?;
    let errors = node.errors("bad").await?;
    ensure!(!errors.is_empty(), "the daemon took an Adjustment that contradicts itself");
    ensure!(node.errors("good").await?.is_empty(), "the fault of one shows on the other");
    progress.step(&format!("Adjustments: one in effect, one refused ({})", errors.join(", ")));
    wait_for("the good Adjustment alone to be in effect", SOON, || async {
        Ok((node.pushed()?.adjustments == ["good"]).then_some(()))
    })
    .await
}

async fn restarts(node: &Bench<'_>, environment: &TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let before = node.pushed()?;
    node.worker.shell("kill -9 $(systemctl show --value -p MainPID cri-resource-manager)").await?;
    let start = Instant::now();
    wait_for("everything to be handed to the new run of the daemon", SOON, || async {
        let now = node.pushed()?;
        let same = now.config == before.config && now.adjustments == before.adjustments;
        Ok((now.run != before.run && now.run == node.run().await? && same).then_some(()))
    })
    .await?;
    progress.step(&format!("the daemon was killed: configuration and Adjustments back after {:.1?}", start.elapsed()));

    let before = node.pushed()?;
    let facts = NodeFacts::observe(node.worker).await?;
    let agent = node.worker.shell("pgrep -f '^/cri-resmgr-node-agent'").await?;
    node.worker.shell("kill -9 $(pgrep -f '^/cri-resmgr-node-agent')").await?;
    let emptied = Cell::new(false);
    wait_for("a new agent", SOON, || async {
        emptied.set(emptied.get() || node.accepted()?.is_empty());
        let now = node.worker.exec(&["pgrep", "-f", "^/cri-resmgr-node-agent"]).await?.stdout;
        Ok((!now.is_empty() && now != agent).then_some(()))
    })
    .await?;
    // The new agent knows everything again when it hands on what is new.
    node.write_own(&json!({ "policy": "Active: none", "logger": "Debug: of-the-new-agent" })).await?;
    node.takes("logger", "of-the-new-agent").await?;
    node.delete_own().await?;
    node.takes("logger", "of-default").await?;
    environment.wait_healthy().await?;
    ensure!(!emptied.get(), "the daemon was given an empty configuration");
    let after = NodeFacts::observe(node.worker).await?;
    ensure!(facts.daemon_pid == after.daemon_pid, "the agent's restart restarted the daemon");
    wait_for("the memory to be as before", SOON, || async { Ok((node.pushed()? == before).then_some(())) }).await?;
    progress.step("the agent was killed: nothing empty was pushed, nothing restarted");
    Ok(())
}

/// Waits until the daemon was restarted by the agent, and sees that it stays so: once.
async fn restarted(node: &Bench<'_>, from: &str) -> anyhow::Result<()> {
    wait_for("the daemon to be restarted and given the configuration", SOON, || async {
        let now = node.pushed()?;
        Ok((now.run != from && now.run == node.run().await? && !now.config.is_empty()).then_some(()))
    })
    .await?;
    node.reports("").await
}

async fn sticky_keys(node: &Bench<'_>, progress: &Progress) -> anyhow::Result<()> {
    let control = "control:\n  Controllers:\n    rdt: disabled\n    blockio: disabled\n";
    node.write_own(&json!({ "policy": "Active: none", "resource-manager": control })).await?;
    node.takes("resource-manager", "blockio").await?;
    let run = node.run().await?;
    let control = "control:\n  Controllers:\n    rdt: disabled\n";
    node.write_own(&json!({ "policy": "Active: none", "resource-manager": control })).await?;
    restarted(node, &run).await?;
    let log = node.worker.shell("cat /var/log/pods/kube-system_cri-resmgr-node-agent-*/*/*.log").await?;
    ensure!(
        log.contains("a running daemon keeps resource-manager.control.Controllers.blockio"),
        "the agent did not say why it restarted the daemon"
    );
    progress.step("a sticky key shrank: the daemon was restarted, and the agent said why");
    Ok(())
}

async fn policy(node: &Bench<'_>, progress: &Progress) -> anyhow::Result<()> {
    let run = node.run().await?;
    // The sticky key of before goes in the same step.
    node.write_own(&json!({ "policy": "Active: topology-aware\nReservedResources:\n  CPU: 750m\n" })).await?;
    restarted(node, &run).await?;
    ensure!(node.cache()?["PolicyName"] == "topology-aware", "the daemon runs with {}", node.cache()?["PolicyName"]);
    let run = node.run().await?;
    node.delete_own().await?;
    restarted(node, &run).await?;
    ensure!(node.cache()?["PolicyName"] == "none", "the daemon runs with {}", node.cache()?["PolicyName"]);
    progress.step("another policy and back: one restart of the daemon each");
    Ok(())
}
