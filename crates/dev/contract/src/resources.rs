//! What gardener-resource-manager makes of ManagedResources.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::wait_for;

use super::fixture::{apply, merge, resource};

/// A resource manager looks again every so many seconds; health checks have their own period.
const LIMIT: Duration = Duration::from_secs(120);
/// Name of the ManagedResource, its Secret, and what is applied.
const NAME: &str = "contract";
const OTHER: &str = "contract-other";
/// Namespace in the shoot.
const TARGET: &str = "default";
const MANAGER: &str = "contract";

/// A seed and a shoot that a resource manager connects.
#[derive(Clone)]
pub struct SeedAndShoot {
    seed: Client,
    shoot: Client,
    namespace: String,
}

impl std::fmt::Debug for SeedAndShoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedAndShoot").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl SeedAndShoot {
    /// `namespace` is the one in the seed whose ManagedResources are served.
    #[must_use]
    pub fn new(seed: Client, shoot: Client, namespace: &str) -> Self {
        Self { seed, shoot, namespace: namespace.to_owned() }
    }

    fn in_seed(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.seed.clone(), &self.namespace, &resource(group, version, kind, plural))
    }

    fn managed_resources(&self) -> Api<DynamicObject> {
        self.in_seed("resources.gardener.cloud", "v1alpha1", "ManagedResource", "managedresources")
    }

    fn secrets(&self) -> Api<DynamicObject> {
        self.in_seed("", "v1", "Secret", "secrets")
    }

    fn config_maps(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.shoot.clone(), TARGET, &resource("", "v1", "ConfigMap", "configmaps"))
    }

    fn daemon_sets(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.shoot.clone(), TARGET, &resource("apps", "v1", "DaemonSet", "daemonsets"))
    }

    /// Writes a Secret with these objects.
    async fn store(&self, objects: &[Value]) -> anyhow::Result<()> {
        let text = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": NAME, "namespace": self.namespace }, "stringData": { "objects.yaml": text },
        });
        apply(&self.secrets(), MANAGER, true, &secret).await?;
        Ok(())
    }

    /// Writes the ManagedResource, more of its specification given.
    async fn manage(&self, more: Value) -> anyhow::Result<()> {
        let mut object = json!({
            "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
            "metadata": { "name": NAME, "namespace": self.namespace }, "spec": { "secretRefs": [{ "name": NAME }] },
        });
        if let (Some(members), Value::Object(more)) = (object["spec"].as_object_mut(), more) {
            members.extend(more);
        }
        apply(&self.managed_resources(), MANAGER, true, &object).await?;
        Ok(())
    }

    /// Waits until the conditions of the present generation are these.
    async fn wait(&self, wanted: &[(&str, &str)]) -> anyhow::Result<Value> {
        wait_for(&format!("the conditions {wanted:?}"), LIMIT, || async {
            let found = serde_json::to_value(self.managed_resources().get(NAME).await?)?;
            let status = &found["status"];
            let conditions = status["conditions"].as_array().context("no conditions yet")?;
            for (kind, wanted) in wanted {
                let one = conditions.iter().find(|one| one["type"] == *kind);
                let one = one.with_context(|| format!("no {kind} yet"))?;
                ensure!(one["status"] == *wanted, "{one}");
                ensure!(one["reason"].is_string() && one["lastTransitionTime"].is_string(), "{one}");
            }
            Ok(Some(found))
        })
        .await
    }

    async fn wait_well(&self) -> anyhow::Result<Value> {
        let found = self
            .wait(&[("ResourcesApplied", "True"), ("ResourcesHealthy", "True"), ("ResourcesProgressing", "False")])
            .await?;
        ensure!(found["status"]["observedGeneration"] == found["metadata"]["generation"], "{found}");
        Ok(found)
    }

    async fn wait_data(&self, name: &str, wanted: &str) -> anyhow::Result<()> {
        wait_for(&format!("{name} to have {wanted}"), LIMIT, || async {
            let found = self.config_maps().get(name).await?;
            ensure!(found.data["data"]["k"] == wanted, "{}", found.data);
            Ok(Some(()))
        })
        .await
    }

    async fn wait_gone(&self, api: &Api<DynamicObject>, name: &str) -> anyhow::Result<()> {
        wait_for(&format!("{name} to be gone"), LIMIT, || async {
            match api.get_opt(name).await? {
                None => Ok(Some(())),
                Some(found) => anyhow::bail!("it is there: {}", found.data),
            }
        })
        .await
    }

    /// Takes away whatever a check may have made.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        for (api, names) in [
            (self.managed_resources(), [NAME, OTHER]),
            (self.secrets(), [NAME, OTHER]),
            (self.config_maps(), [NAME, OTHER]),
            (self.daemon_sets(), [NAME, OTHER]),
        ] {
            for name in names {
                match api.delete(name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    other => drop(other?),
                }
                self.wait_gone(&api, name).await?;
            }
        }
        Ok(())
    }
}

fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": TARGET }, "data": { "k": value } })
}

/// With an image that is nowhere: its pods never become ready.
fn daemon_set(selector: &Value) -> Value {
    let labels = json!({ "app": NAME });
    let container =
        json!({ "name": "c", "image": "contract.invalid/none:0", "imagePullPolicy": "Never", "command": ["/none"] });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": NAME, "namespace": TARGET },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "nodeSelector": selector, "tolerations": [{ "operator": "Exists" }],
                    "terminationGracePeriodSeconds": 1, "containers": [container],
                },
            },
        },
    })
}

pub(super) async fn objects_are_applied_marked_and_listed(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1"), config_map(OTHER, "2")]).await?;
    seed_and_shoot.manage(json!({})).await?;
    let managed = seed_and_shoot.wait_well().await?;
    let listed = managed["status"]["resources"].as_array().context("nothing is listed")?;
    for name in [NAME, OTHER] {
        let is_it = |one: &&Value| one["kind"] == "ConfigMap" && one["name"] == name && one["namespace"] == TARGET;
        ensure!(listed.iter().filter(is_it).count() == 1, "{listed:?}");
    }
    ensure!(managed["status"]["secretsDataChecksum"].is_string(), "no checksum of the secrets");
    let finalizers = managed["metadata"]["finalizers"].as_array().context("no finalizer")?;
    ensure!(
        finalizers.iter().any(|one| one.as_str().is_some_and(|one| one.starts_with("resources.gardener.cloud/"))),
        "{finalizers:?}"
    );
    let found = seed_and_shoot.config_maps().get(NAME).await?;
    ensure!(found.data["data"]["k"] == "1", "{}", found.data);
    let metadata = found.metadata;
    let origin = metadata.annotations.unwrap_or_default().remove("resources.gardener.cloud/origin");
    // A cluster's identity may stand before it.
    let wanted = format!("{}/{NAME}", seed_and_shoot.namespace);
    ensure!(origin.as_ref().is_some_and(|origin| origin.ends_with(&wanted)), "{origin:?}");
    let by = metadata.labels.unwrap_or_default().remove("resources.gardener.cloud/managed-by");
    ensure!(by.as_deref() == Some("gardener"), "{by:?}");
    Ok(())
}

pub(super) async fn a_change_of_the_secret_alone_is_applied(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.manage(json!({})).await?;
    let before = seed_and_shoot.wait_well().await?;
    seed_and_shoot.store(&[config_map(NAME, "2")]).await?;
    seed_and_shoot.wait_data(NAME, "2").await?;
    let after = seed_and_shoot.wait_well().await?;
    let member = |managed: &Value, pointer: &str| managed.pointer(pointer).cloned();
    ensure!(member(&before, "/metadata/generation") == member(&after, "/metadata/generation"), "the generation moved");
    let sum = "/status/secretsDataChecksum";
    ensure!(member(&before, sum) != member(&after, sum), "the checksum did not move");
    Ok(())
}

pub(super) async fn changed_or_deleted_objects_are_restored(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1"), config_map(OTHER, "1")]).await?;
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait_well().await?;
    merge(&seed_and_shoot.config_maps(), NAME, &json!({ "data": { "k": "changed" } })).await?;
    seed_and_shoot.config_maps().delete(OTHER, &DeleteParams::default()).await?;
    seed_and_shoot.wait_data(NAME, "1").await?;
    seed_and_shoot.wait_data(OTHER, "1").await
}

pub(super) async fn objects_that_are_no_longer_in_the_secret_are_deleted(
    seed_and_shoot: &SeedAndShoot,
) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1"), config_map(OTHER, "1")]).await?;
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait_well().await?;
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.wait_gone(&seed_and_shoot.config_maps(), OTHER).await?;
    seed_and_shoot.wait_data(NAME, "1").await
}

pub(super) async fn labels_are_injected_into_objects_and_pods(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1"), daemon_set(&json!({ "contract": "nowhere" }))]).await?;
    seed_and_shoot.manage(json!({ "injectLabels": { "contract": "injected" } })).await?;
    seed_and_shoot.wait_well().await?;
    let map = seed_and_shoot.config_maps().get(NAME).await?;
    ensure!(
        map.metadata.labels.unwrap_or_default().get("contract").is_some_and(|value| value == "injected"),
        "not in a ConfigMap"
    );
    let set = seed_and_shoot.daemon_sets().get(NAME).await?;
    let template = &set.data["spec"]["template"]["metadata"]["labels"];
    ensure!(template["contract"] == "injected" && template["app"] == NAME, "{template}");
    Ok(())
}

pub(super) async fn a_daemon_set_without_nodes_is_healthy_at_once(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[daemon_set(&json!({ "contract": "nowhere" }))]).await?;
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait_well().await.map(drop)
}

pub(super) async fn a_daemon_set_whose_pods_are_not_ready_is_unhealthy(
    seed_and_shoot: &SeedAndShoot,
) -> anyhow::Result<()> {
    seed_and_shoot.store(&[daemon_set(&json!({}))]).await?;
    seed_and_shoot.manage(json!({})).await?;
    // Before its controller has looked at it there is another reason.
    wait_for("its pods to be missed", LIMIT, || async {
        let managed = seed_and_shoot.wait(&[("ResourcesApplied", "True"), ("ResourcesHealthy", "False")]).await?;
        let mut conditions = managed["status"]["conditions"].as_array().into_iter().flatten();
        let healthy = conditions.find(|one| one["type"] == "ResourcesHealthy").context("no condition")?;
        ensure!(healthy["reason"] == "DaemonSetUnhealthy", "{healthy}");
        let message = healthy["message"].as_str().unwrap_or_default();
        ensure!(message.contains(NAME) && message.contains("unavailable"), "{message}");
        Ok(Some(()))
    })
    .await
}

pub(super) async fn an_object_that_cannot_be_applied_is_named_in_the_condition(
    seed_and_shoot: &SeedAndShoot,
) -> anyhow::Result<()> {
    let unknown = json!({ "apiVersion": "contract.example/v1", "kind": "Nothing", "metadata": { "name": NAME, "namespace": TARGET } });
    seed_and_shoot.store(&[unknown]).await?;
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait(&[("ResourcesApplied", "False")]).await?;
    // It is tried again with what the Secret says then.
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.wait_well().await.map(drop)
}

pub(super) async fn a_missing_secret_is_named_in_the_condition(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait(&[("ResourcesApplied", "False")]).await?;
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.wait_well().await.map(drop)
}

pub(super) async fn a_managed_resource_of_another_class_is_ignored(
    seed_and_shoot: &SeedAndShoot,
) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.manage(json!({ "class": "contract" })).await?;
    // What is served in the meantime shows that this one could have been.
    let other = json!({
        "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
        "metadata": { "name": OTHER, "namespace": seed_and_shoot.namespace }, "spec": { "secretRefs": [{ "name": OTHER }] },
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": OTHER, "namespace": seed_and_shoot.namespace },
        "stringData": { "objects.yaml": config_map(OTHER, "1").to_string() },
    });
    apply(&seed_and_shoot.secrets(), MANAGER, true, &secret).await?;
    apply(&seed_and_shoot.managed_resources(), MANAGER, true, &other).await?;
    seed_and_shoot.wait_data(OTHER, "1").await?;
    ensure!(seed_and_shoot.config_maps().get_opt(NAME).await?.is_none(), "it was applied");
    let managed = seed_and_shoot.managed_resources().get(NAME).await?;
    ensure!(managed.metadata.finalizers.is_none() && managed.data["status"].is_null(), "{}", managed.data);
    Ok(())
}

pub(super) async fn a_deletion_removes_the_objects_before_the_finalizer(
    seed_and_shoot: &SeedAndShoot,
) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.manage(json!({})).await?;
    seed_and_shoot.wait_well().await?;
    let hold = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
    merge(&seed_and_shoot.config_maps(), NAME, &hold(json!(["contract.example/hold"]))).await?;
    seed_and_shoot.managed_resources().delete(NAME, &DeleteParams::default()).await?;
    let asked = wait_for("the object's deletion to be asked for", LIMIT, || async {
        Ok(seed_and_shoot.config_maps().get(NAME).await?.metadata.deletion_timestamp)
    })
    .await;
    let managed = seed_and_shoot.managed_resources().get_opt(NAME).await?;
    let release = Patch::Merge(hold(json!(null)));
    seed_and_shoot.config_maps().patch(NAME, &PatchParams::default(), &release).await?;
    asked?;
    ensure!(managed.is_some(), "it was gone before its object");
    seed_and_shoot.wait_gone(&seed_and_shoot.managed_resources(), NAME).await?;
    ensure!(seed_and_shoot.config_maps().get_opt(NAME).await?.is_none(), "its object stays");
    Ok(())
}

pub(super) async fn objects_with_keep_objects_survive_a_deletion(seed_and_shoot: &SeedAndShoot) -> anyhow::Result<()> {
    seed_and_shoot.store(&[config_map(NAME, "1")]).await?;
    seed_and_shoot.manage(json!({ "keepObjects": true })).await?;
    seed_and_shoot.wait_well().await?;
    seed_and_shoot.managed_resources().delete(NAME, &DeleteParams::default()).await?;
    seed_and_shoot.wait_gone(&seed_and_shoot.managed_resources(), NAME).await?;
    let kept = seed_and_shoot.config_maps().get_opt(NAME).await?.context("its object is gone")?;
    ensure!(kept.metadata.deletion_timestamp.is_none(), "its object goes");
    Ok(())
}
