//! What pods can have of a kubelet that is five to eight minors newer than the proxy's CRI: each thing through the proxy, and on containerd itself. The
//! proxy drops fields that it does not know and refuses calls that it does not know; `docs/node-trials.md` has the table that this prints.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::TestEnvironment;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::{BUSYBOX_IMAGE, Generation, Progress, Worker, wait_for};

use crate::in_environment;

/// Until a pod runs, or something is said of why it does not.
const OUTCOME: Duration = Duration::from_secs(60);
/// kubelet tells of its runtime's handlers with its Node's status.
const TOLD: Duration = Duration::from_secs(60);
const POD: &str = "trial";

/// One thing that a pod may ask for.
struct Feature {
    name: &'static str,
    /// Merged into the pod's spec; its one container is `c`.
    spec: Value,
    /// Merged into the container.
    container: Value,
    /// Part of what is to be seen with the old generation, and with the new one.
    expected: [Seen; 2],
}

/// Through the proxy, and on containerd.
type Seen = [&'static str; 2];

/// That of a generation.
const fn of(expected: [Seen; 2], generation: Generation) -> Seen {
    match generation {
        Generation::Old => expected[0],
        Generation::New => expected[1],
    }
}

fn features() -> Vec<Feature> {
    let image_volume =
        json!({ "volumes": [{ "name": "v", "image": { "reference": BUSYBOX_IMAGE, "pullPolicy": "Never" } }] });
    let empty_volume = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
    let script = |line: &str| json!(["/bin/busybox", "sh", "-c", format!("{line}; exec /bin/busybox sleep 3600")]);
    vec![
        Feature {
            name: "a pod that asks for nothing",
            spec: json!({}),
            container: json!({ "command": script("echo as usual") }),
            expected: [["as usual", "as usual"]; 2],
        },
        Feature {
            name: "image volume",
            spec: image_volume,
            container: json!({ "command": script("/bin/busybox ls /v/bin | /bin/busybox head -n 1"), "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }),
            // containerd gets a mount without a source: 1.6 mounts nothing, 2.3 refuses.
            expected: [["No such file", "No such file"], ["failed to mkdir \"\"", "busybox"]],
        },
        Feature {
            name: "user namespace (`hostUsers: false`)",
            spec: json!({ "hostUsers": false }),
            container: json!({ "command": script("/bin/busybox cat /proc/self/uid_map") }),
            // Further than through the proxy: the file systems of a bed's machine take no mapping of ids.
            expected: [
                ["runtime does not support user namespaces", "runtime does not support user namespaces"],
                ["runtime does not support user namespaces", "MOUNT_ATTR_IDMAP"],
            ],
        },
        Feature {
            name: "recursively read-only mount",
            spec: empty_volume,
            container: json!({ "command": script("/bin/busybox grep ' /v ' /proc/self/mountinfo"),
                "volumeMounts": [{ "name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Enabled" }] }),
            expected: [
                ["not supported by the runtime", "not supported by the runtime"],
                ["not supported by the runtime", " /v ro,"],
            ],
        },
        Feature {
            name: "`supplementalGroupsPolicy: Strict`",
            spec: json!({ "securityContext": { "supplementalGroupsPolicy": "Strict", "supplementalGroups": [7] } }),
            container: json!({ "command": script("/bin/busybox id -G") }),
            // That groups of the image are left out is not to be seen with an image that has none.
            expected: [["NotSupported", "NotSupported"], ["7", "7"]],
        },
    ]
}

#[test]
#[ignore = "needs workers of the new generation: `cargo xtask soak --only newest-kubelet`"]
fn what_pods_can_have_of_the_newest_kubelet_through_the_proxy_and_without() {
    in_environment("newest-kubelet", 1, async |environment, progress| {
        environment.switch_on(None).await?;
        let through = table(environment, progress).await.context("through the proxy")?;
        environment.switch_off().await?;
        let without = table(environment, progress).await.context("on containerd")?;
        progress.step("feature | through the proxy | on containerd");
        let rows = through.iter().zip(&without);
        for ((name, proxy), (_, containerd)) in rows.clone() {
            progress.step(&format!("{name} | {proxy} | {containerd}"));
        }
        let generation = Generation::from_env()?;
        let expected = features().into_iter().map(|feature| feature.expected).chain(OTHERS);
        let expected = expected.map(|expected| of(expected, generation));
        let mut wrong = Vec::new();
        for (((name, proxy), (_, containerd)), expected) in rows.zip(expected) {
            for (seen, part) in [proxy, containerd].into_iter().zip(expected) {
                if !seen.contains(part) {
                    wrong.push(format!("{name}: {seen:?} has no {part:?}"));
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
}

/// What is to be seen of the rows after the features: of the stop signal (the API server drops it while the gate ContainerStopSignals is off, as it is by
/// default), of a resize, and of the Node.
const OTHERS: [[Seen; 2]; 3] = [
    [["SIGTERM", "SIGTERM"]; 2],
    [["not told as done; cpu.shares 10 then 10", "told as done; cpu.shares 10 then 512"]; 2],
    [["none", "none"], ["none", "\"userNamespaces\":true"]],
];

/// What comes of each, by name.
async fn table(environment: &TestEnvironment, progress: &Progress) -> anyhow::Result<Vec<(&'static str, String)>> {
    let shoot = environment.bed.shoot().admin().await?;
    let worker = &environment.bed.workers()[0];
    let pods: Api<Pod> = Api::namespaced(shoot.clone(), "default");
    let mut rows = Vec::new();
    for feature in features() {
        create(&pods, worker, &feature.spec, &feature.container).await?;
        let seen = outcome(&shoot, &pods, worker).await.with_context(|| feature.name)?;
        progress.step(&format!("{}: {seen}", feature.name));
        rows.push((feature.name, seen));
        remove(&pods).await?;
    }
    rows.push(("stop signal of a container", stop_signal(&pods, worker).await?));
    rows.push(("resize in place, from 10m to 500m", resize(&pods, worker).await?));
    rows.push(("handlers that the Node shows", handlers(&shoot, worker).await?));
    for row in &rows[rows.len() - 3..] {
        progress.step(&format!("{}: {}", row.0, row.1));
    }
    Ok(rows)
}

async fn create(pods: &Api<Pod>, worker: &Worker, spec: &Value, container: &Value) -> anyhow::Result<()> {
    let mut whole = json!({ "nodeName": worker.name(), "terminationGracePeriodSeconds": 5, "restartPolicy": "Never" });
    let mut one = json!({ "name": "c", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never",
        "resources": { "requests": { "cpu": "10m", "memory": "8Mi" } } });
    add(&mut whole, spec);
    add(&mut one, container);
    whole["containers"] = json!([one]);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD }, "spec": whole });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    Ok(())
}

fn add(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

async fn remove(pods: &Api<Pod>) -> anyhow::Result<()> {
    pods.delete(POD, &DeleteParams::default()).await?;
    wait_for("the pod to be gone", OUTCOME, || async { Ok(pods.get_opt(POD).await?.is_none().then_some(())) }).await
}

/// What its container prints once it runs, or else why it does not.
async fn outcome(shoot: &kube::Client, pods: &Api<Pod>, worker: &Worker) -> anyhow::Result<String> {
    let events: Api<Event> = Api::namespaced(shoot.clone(), "default");
    wait_for("the pod to run, or a reason why it does not", OUTCOME, || async {
        let pod = pods.get(POD).await?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        if status.phase.as_deref() == Some("Failed") {
            return Ok(Some(format!("{}: {}", status.reason.unwrap_or_default(), status.message.unwrap_or_default())));
        }
        let state = status.container_statuses.unwrap_or_default().into_iter().next().and_then(|status| status.state);
        if let Some(state) = state {
            if state.running.is_some() {
                let printed = printed(worker).await?;
                ensure!(!printed.is_empty(), "it has printed nothing so far");
                return Ok(Some(printed));
            }
            let waiting = state.waiting.unwrap_or_default();
            let reason = waiting.reason.unwrap_or_default();
            if reason.ends_with("Error") {
                return Ok(Some(format!("{reason}: {}", waiting.message.unwrap_or_default())));
            }
        }
        let of_pod = ListParams::default().fields(&format!("involvedObject.uid={uid},type=Warning"));
        let reported = events.list(&of_pod).await?.items.into_iter().next();
        Ok(reported.map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default())))
    })
    .await
}

/// The last line of the container's log, without the runtime's head.
async fn printed(worker: &Worker) -> anyhow::Result<String> {
    let line =
        worker.shell(&format!("cat /var/log/pods/default_{POD}_*/c/*.log 2>/dev/null | tail -n 1; true")).await?;
    Ok(line.trim().splitn(4, ' ').nth(3).unwrap_or_default().to_owned())
}

/// The signal that a container gets which asks for SIGUSR1.
async fn stop_signal(pods: &Api<Pod>, worker: &Worker) -> anyhow::Result<String> {
    worker.shell("rm -rf /root/signal; mkdir -p /root/signal").await?;
    let trap = "trap 'echo SIGUSR1 >/out/got; exit' USR1; trap 'echo SIGTERM >/out/got; exit' TERM; echo ready >/out/got; \
                while true; do /bin/busybox usleep 200000; done";
    let spec =
        json!({ "os": { "name": "linux" }, "volumes": [{ "name": "out", "hostPath": { "path": "/root/signal" } }] });
    let container = json!({ "command": ["/bin/busybox", "sh", "-c", trap], "lifecycle": { "stopSignal": "SIGUSR1" },
        "volumeMounts": [{ "name": "out", "mountPath": "/out" }] });
    create(pods, worker, &spec, &container).await?;
    wait_for("the container to be ready for signals", OUTCOME, || async {
        let got = worker.shell("cat /root/signal/got 2>/dev/null; true").await?;
        Ok((got.trim() == "ready").then_some(()))
    })
    .await?;
    remove(pods).await?;
    let got = worker.shell("cat /root/signal/got; rm -r /root/signal").await?;
    Ok(got.trim().to_owned())
}

/// What becomes of a resize: the requests by the Pod's status, and the shares of CPU by the kernel.
async fn resize(pods: &Api<Pod>, worker: &Worker) -> anyhow::Result<String> {
    create(pods, worker, &json!({}), &json!({})).await?;
    outcome_running(pods).await?;
    let before = shares(pods, worker).await?;
    let patch = json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "500m" } } }] } });
    pods.patch_subresource("resize", POD, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let reported = wait_for("the resize to be done", OUTCOME, || async {
        let pod = pods.get(POD).await?;
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
        let requests = status.and_then(|status| status.resources.as_ref()?.requests.clone()).unwrap_or_default();
        Ok((requests.get("cpu").is_some_and(|cpu| cpu.0 == "500m")).then_some(()))
    })
    .await;
    let after = shares(pods, worker).await?;
    let conditions = pods.get(POD).await?.status.and_then(|status| status.conditions).unwrap_or_default();
    let conditions: Vec<String> = conditions
        .into_iter()
        .filter(|condition| condition.type_.starts_with("PodResize"))
        .map(|condition| {
            format!(
                "{} {}: {}",
                condition.type_,
                condition.reason.unwrap_or_default(),
                condition.message.unwrap_or_default()
            )
        })
        .collect();
    remove(pods).await?;
    let reported = if reported.is_ok() { "told as done" } else { "not told as done" };
    Ok(format!("{reported}; cpu.shares {before} then {after} {}", conditions.join(", ")).trim().to_owned())
}

async fn outcome_running(pods: &Api<Pod>) -> anyhow::Result<()> {
    wait_for("the pod to run", OUTCOME, || async {
        let status = pods.get(POD).await?.status.unwrap_or_default();
        Ok((status.phase.as_deref() == Some("Running")).then_some(()))
    })
    .await
}

/// `cpu.shares` of the container's group.
async fn shares(pods: &Api<Pod>, worker: &Worker) -> anyhow::Result<String> {
    let status = pods.get(POD).await?.status.unwrap_or_default().container_statuses.unwrap_or_default();
    let id = status.into_iter().next().and_then(|status| status.container_id).context("no container")?;
    let id = id.trim_start_matches("containerd://").to_owned();
    let script = format!(
        "cat $(find /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/cpu -path '*{id}*' -name cpu.shares 2>/dev/null | head -n 1)"
    );
    Ok(worker.shell(&script).await?.trim().to_owned())
}

async fn handlers(shoot: &kube::Client, worker: &Worker) -> anyhow::Result<String> {
    let nodes: Api<Node> = Api::all(shoot.clone());
    wait_for("the Node to be Ready", TOLD, || async {
        let status = nodes.get(worker.name()).await?.status.unwrap_or_default();
        let ready = status.conditions.iter().flatten().any(|found| found.type_ == "Ready" && found.status == "True");
        Ok(ready
            .then(|| status.runtime_handlers.map_or_else(|| "none".to_owned(), |handlers| json!(handlers).to_string())))
    })
    .await
}
