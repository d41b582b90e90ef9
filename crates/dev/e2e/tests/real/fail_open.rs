//! The override of kubelet, point by point, with no agent on the node: whatever breaks, kubelet gets a runtime that answers
//! (`docs/decisions/0001-kubelet-override.md`).

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{Endpoint, NodeFacts, TestEnvironment};
use extension_config::names;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use testbed::{Progress, wait_for};

use crate::in_environment;

/// Documented bound for a proxy that dies for good or hangs while kubelet runs (`docs/operations.md`).
const BOUND: Duration = Duration::from_secs(60);
/// A start of kubelet with the gate in it, and the look at it.
const START: Duration = Duration::from_secs(20);

#[test]
fn kubelet_always_gets_a_runtime_that_answers() {
    in_environment("fail-open", 1, async |environment, progress| {
        environment.switch_on(None).await?;
        remove_agent(environment).await?;
        progress.step("the agent is gone; from here on the host is alone");

        for (what, break_it, wanted, mend_it) in POINTS {
            shell(environment, break_it).await?;
            shell(environment, "systemctl reset-failed kubelet; systemctl restart kubelet").await?;
            let took = wait_for_endpoint(environment, *wanted, START).await?;
            progress.step(&format!("kubelet started with {what}: on {wanted:?} after {took:.1?}"));
            shell(environment, mend_it).await?;
        }

        shell(environment, "systemctl reset-failed kubelet; systemctl restart kubelet").await?;
        wait_for_endpoint(environment, Endpoint::Proxy, START).await?;
        let before = NodeFacts::observe(&environment.bed.workers()[0]).await?;
        shell(environment, "kill -9 $(systemctl show --value -p MainPID cri-resource-manager)").await?;
        wait_daemon(environment).await?;
        ensure!(
            NodeFacts::observe(&environment.bed.workers()[0]).await?.kubelet_invocation == before.kubelet_invocation,
            "a daemon that came back within a second cost a restart of kubelet"
        );
        progress.step("the daemon crashed and came back: kubelet was left alone");

        for (what, break_it, mend_it) in WHILE_RUNNING {
            shell(environment, "systemctl reset-failed kubelet; systemctl restart kubelet").await?;
            wait_for_endpoint(environment, Endpoint::Proxy, START).await?;
            shell(environment, break_it).await?;
            let took = wait_for_endpoint(environment, Endpoint::Containerd, BOUND).await?;
            progress.step(&format!("{what} while kubelet ran: on containerd after {took:.1?}"));
            shell(environment, mend_it).await?;
            wait_daemon(environment).await?;
        }

        reboots(environment, progress).await
    });
}

/// What is broken before kubelet starts, where kubelet must end, and how it is mended.
const POINTS: &[(&str, &str, Endpoint, &str)] = &[
    ("everything in order", "true", Endpoint::Proxy, "true"),
    (
        "the gate missing",
        "mv /opt/gardener-extension-cri-resmgr /opt/away",
        Endpoint::Containerd,
        "mv /opt/away /opt/gardener-extension-cri-resmgr",
    ),
    (
        "a full /run",
        "dd if=/dev/zero of=/run/fill bs=64k 2>/dev/null; dd if=/dev/zero of=/run/fill2 bs=1 2>/dev/null; true",
        Endpoint::Containerd,
        "rm -f /run/fill /run/fill2",
    ),
    (
        "the daemon stopped",
        "systemctl stop cri-resource-manager",
        Endpoint::Containerd,
        "systemctl start cri-resource-manager",
    ),
    (
        "the daemon hanging",
        "kill -STOP $(systemctl show --value -p MainPID cri-resource-manager)",
        Endpoint::Containerd,
        "kill -CONT $(systemctl show --value -p MainPID cri-resource-manager)",
    ),
    (
        "the daemon's socket stale",
        "systemctl stop cri-resource-manager; test -S /run/cri-resmgr/cri-resmgr.sock",
        Endpoint::Containerd,
        "systemctl start cri-resource-manager",
    ),
];

/// What breaks while kubelet runs on the proxy, and how it is mended.
const WHILE_RUNNING: &[(&str, &str, &str)] = &[
    (
        "the daemon hung",
        "kill -STOP $(systemctl show --value -p MainPID cri-resource-manager)",
        "kill -CONT $(systemctl show --value -p MainPID cri-resource-manager)",
    ),
    (
        "the daemon died for good",
        "mv /opt/intel/bin/cri-resmgr /opt/intel/bin/away; cp /bin/false /opt/intel/bin/cri-resmgr; kill -9 $(systemctl show --value -p MainPID cri-resource-manager)",
        "mv /opt/intel/bin/away /opt/intel/bin/cri-resmgr; systemctl reset-failed cri-resource-manager; systemctl restart cri-resource-manager",
    ),
];

async fn reboots(environment: &mut TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    environment.bed.workers_mut()[0].reboot().await?;
    let took = wait_for_endpoint(environment, Endpoint::Proxy, BOUND).await?;
    progress.step(&format!("rebooted: on the proxy {took:.1?} after systemd was up"));
    shell(environment, "cp /bin/false /opt/intel/bin/broken; mv /opt/intel/bin/broken /opt/intel/bin/cri-resmgr")
        .await?;
    environment.bed.workers_mut()[0].reboot().await?;
    let took = wait_for_endpoint(environment, Endpoint::Containerd, BOUND).await?;
    progress.step(&format!("rebooted with a broken daemon: on containerd {took:.1?} after systemd was up"));
    shell(environment, "rm -r /opt/intel /opt/gardener-extension-cri-resmgr").await?;
    environment.bed.workers_mut()[0].reboot().await?;
    let took = wait_for_endpoint(environment, Endpoint::Containerd, BOUND).await?;
    progress.step(&format!("rebooted with our folders deleted: on containerd {took:.1?} after systemd was up"));
    Ok(())
}

async fn shell(environment: &TestEnvironment, line: &str) -> anyhow::Result<()> {
    environment.bed.workers()[0].shell(line).await.map(drop)
}

/// Waits until kubelet runs on `wanted`, what it runs on answers, and it has told the API server so since: a kubelet that
/// crash-loops never renews its heartbeat. Gives the time until it ran on `wanted`.
async fn wait_for_endpoint(
    environment: &TestEnvironment,
    wanted: Endpoint,
    limit: Duration,
) -> anyhow::Result<Duration> {
    let worker = &environment.bed.workers()[0];
    let (start, since) = (Instant::now(), jiff::Timestamp::now());
    environment.wait_endpoint(wanted, limit).await?;
    let took = start.elapsed();
    let first = NodeFacts::observe(worker).await?;
    let socket = match wanted {
        Endpoint::Proxy => names::node::RELAY_SOCKET,
        Endpoint::Containerd => names::node::CONTAINERD_SOCKET,
    };
    let socket = worker.live_root()?.join(socket.trim_start_matches('/'));
    ensure!(cri_client::probe(&socket, Duration::from_secs(5)).await?.is_ready(), "{wanted:?} is not ready");
    let leases: Api<Lease> = Api::namespaced(environment.bed.shoot().admin().await?, "kube-node-lease");
    wait_for("kubelet's heartbeat", Duration::from_secs(60), || async {
        let renewed = leases.get(worker.name()).await?.spec.and_then(|spec| spec.renew_time);
        Ok(renewed.is_some_and(|time| time.0 > since).then_some(()))
    })
    .await?;
    let later = NodeFacts::observe(worker).await?;
    ensure!(first.kubelet_invocation == later.kubelet_invocation, "kubelet does not stay up");
    Ok(took)
}

async fn wait_daemon(environment: &TestEnvironment) -> anyhow::Result<()> {
    let worker = &environment.bed.workers()[0];
    let socket = worker.live_root()?.join("run/cri-resmgr/cri-resmgr.sock");
    wait_for("the daemon to answer", START, || async {
        Ok(cri_client::probe(&socket, Duration::from_secs(3)).await?.is_ready().then_some(()))
    })
    .await
}

/// Takes the agent away by force and keeps the resource manager from bringing it back.
async fn remove_agent(environment: &TestEnvironment) -> anyhow::Result<()> {
    let ignore = json!({ "metadata": { "annotations": { "resources.gardener.cloud/ignore": "true" } } });
    let resources = environment.gardenlet.managed_resources();
    resources.patch(names::SHOOT_MANAGED_RESOURCE, &PatchParams::default(), &Patch::Merge(ignore)).await?;
    wait_for("the ManagedResource to be ignored", START, || async {
        let resource = resources.get(names::SHOOT_MANAGED_RESOURCE).await?;
        Ok(resource.data["status"]["conditions"].to_string().contains("ManagedResourceIgnored").then_some(()))
    })
    .await?;
    let shoot = environment.bed.shoot().admin().await?;
    let sets: Api<DaemonSet> = Api::namespaced(shoot.clone(), names::SHOOT_NAMESPACE);
    sets.delete(names::NODE_AGENT, &DeleteParams::default()).await?;
    let pods: Api<Pod> = Api::namespaced(shoot, names::SHOOT_NAMESPACE);
    wait_for("the agent's pods to be gone", Duration::from_secs(90), || async {
        let all = pods.list(&ListParams::default()).await?;
        Ok((!all
            .items
            .iter()
            .any(|pod| pod.metadata.name.as_deref().is_some_and(|name| name.starts_with(names::NODE_AGENT))))
        .then_some(()))
    })
    .await
}
