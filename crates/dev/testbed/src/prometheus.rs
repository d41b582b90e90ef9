//! The shoot's Prometheus: the version that Gardener deploys, with what prometheus-operator's own generator makes of the objects in the shoot's namespace in the seed.
//! As there, it finds the shoot's API server by the short name of its Service, has the rights that Gardener gives it, and no way to the shoot's nodes
//! and pods but through that server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use gardener_api::constants::{
    PURPOSE_LABEL, PURPOSE_TOKEN_REQUESTOR, SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_NAMESPACE_ANNOTATION,
    TOKEN_REQUESTOR_CLASS_LABEL,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::components::{PROMETHEUS, PROMETHEUS_CONFIGURATION};
use crate::control_plane::SHOOT_SERVICE;
use crate::process::{Daemon, Spawn};
use crate::{command, wait_for};

const NAME: &str = "prometheus";
const PORT: u16 = 9090;
const READY: Duration = Duration::from_secs(60);
/// Its ServiceAccount in the shoot, and the Secret with that one's token in the seed (gardener v1.149,
/// `pkg/component/observability/monitoring/prometheus/shoot/constants.go`).
const ACCOUNT: &str = "prometheus-shoot";
const ACCESS_SECRET: &str = "shoot-access-prometheus-shoot";
/// Its ClusterRole in the shoot (`…/prometheus/rbac.go`).
const ROLE: &str = "gardener.cloud:monitoring:prometheus-shoot";
/// Where prometheus-operator has the rules mounted.
const RULES: &str = "/etc/prometheus/rules";
const MANAGER: &str = "testbed";

/// A running Prometheus.
pub struct Prometheus {
    client: kube::Client,
    daemon: Daemon,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

/// An alert that is pending or fires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Label `node`, or nothing.
    pub node: String,
    /// `pending` or `firing`.
    pub state: String,
}

/// Its shoot's Prometheus.
impl Bed {
    /// Starts it, with the ScrapeConfigs and PrometheusRules that are in the shoot's namespace now. It scrapes, and evaluates its rules, as often as
    /// `interval` says: a whole number of seconds, in a landscape 60.
    ///
    /// # Errors
    /// When prometheus-operator would not take the objects, or it does not get ready.
    pub async fn start_prometheus(&self, interval: Duration) -> anyhow::Result<Prometheus> {
        let (root, progress) = (&self.options.root, &self.options.progress);
        let program = PROMETHEUS.obtain(root, progress).await?;
        let generator = PROMETHEUS_CONFIGURATION.obtain(root, progress).await?;
        progress.step("starting the shoot's Prometheus with what prometheus-operator makes of its objects");
        self.grant().await?;
        let access = self.access().await?;
        let version = release(&PROMETHEUS.pinned_version(root)?)?;
        let mut objects = vec![prometheus(&self.options.shoot_namespace, &version, interval), access];
        objects.extend(self.monitoring_objects("v1alpha1", "ScrapeConfig").await?);
        objects.extend(self.monitoring_objects("v1", "PrometheusRule").await?);
        let made = command::run_with_input(&generator.display().to_string(), &json!(objects).to_string()).await;
        let made: Value = serde_json::from_str(&made.context("what prometheus-operator says")?)?;
        let dir = self.dir.join(NAME);
        let rules = dir.join("rules");
        std::fs::create_dir_all(&rules)?;
        for (name, text) in made["rules"].as_object().into_iter().flatten() {
            std::fs::write(rules.join(name), text.as_str().context("rules are text")?)?;
        }
        let configuration = made["configuration"].as_str().context("the configuration is text")?;
        let file = dir.join("prometheus.yaml");
        let configuration = configuration.replace(&format!("{RULES}/rules/"), &format!("{}/", rules.display()));
        anyhow::ensure!(!configuration.contains(RULES), "rules are expected elsewhere:\n{configuration}");
        std::fs::write(&file, configuration)?;
        self.run_prometheus(&program, &dir, &file).await
    }

    async fn run_prometheus(&self, program: &Path, dir: &Path, file: &Path) -> anyhow::Result<Prometheus> {
        let netns = self.network.add_seed_pod(&[SHOOT_SERVICE]).await?;
        let address = format!("{}:{PORT}", self.network.seed_pod_address());
        let args = vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let spawn = Spawn { name: NAME, program, args, env: Vec::new(), netns: Some(&netns), logs: &self.dir };
        let daemon = Daemon::start(spawn, &self.ledger)?;
        let client = kube::Client::try_from(kube::Config::new(format!("http://{address}").parse()?))?;
        let prometheus = Prometheus { client, daemon };
        wait_for("the shoot's Prometheus to be ready", READY, || async {
            prometheus.daemon.ensure_alive()?;
            let request = http::Request::get("/-/ready").body(Vec::new())?;
            Ok(prometheus.client.request_text(request).await.map(|_| Some(()))?)
        })
        .await?;
        Ok(prometheus)
    }

    /// What it may in the shoot, as gardenlet has it.
    async fn grant(&self) -> anyhow::Result<()> {
        let client = self.planes.shoot.admin().await?;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": ROLE },
            "rules": [
                { "nonResourceURLs": ["/metrics"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["nodes", "services", "endpoints", "pods"], "verbs": ["get", "list", "watch"] },
                {
                    "apiGroups": [""],
                    "resources": ["nodes/metrics", "pods/log", "nodes/proxy", "services/proxy", "pods/proxy"],
                    "verbs": ["get"],
                },
            ],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": ROLE },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": "kube-system" }],
        });
        let params = PatchParams::apply(MANAGER);
        Api::<ClusterRole>::all(client.clone()).patch(ROLE, &params, &Patch::Apply(role)).await?;
        Api::<ClusterRoleBinding>::all(client).patch(ROLE, &params, &Patch::Apply(binding)).await?;
        Ok(())
    }

    /// Its Secret, once the shoot's resource manager has made the ServiceAccount and written its token.
    async fn access(&self) -> anyhow::Result<Value> {
        let namespace = &self.options.shoot_namespace;
        let secrets: Api<Secret> = Api::namespaced(self.planes.seed.admin().await?, namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": ACCESS_SECRET,
                "labels": { PURPOSE_LABEL: PURPOSE_TOKEN_REQUESTOR, TOKEN_REQUESTOR_CLASS_LABEL: "shoot" },
                "annotations": {
                    SERVICE_ACCOUNT_NAME_ANNOTATION: ACCOUNT, SERVICE_ACCOUNT_NAMESPACE_ANNOTATION: "kube-system",
                },
            },
        });
        secrets.patch(ACCESS_SECRET, &PatchParams::apply(MANAGER), &Patch::Apply(secret)).await?;
        let secret = wait_for("the token of the shoot's Prometheus", READY, || async {
            let secret = secrets.get(ACCESS_SECRET).await?;
            Ok(secret.data.as_ref().is_some_and(|data| data.contains_key("token")).then_some(secret))
        })
        .await?;
        Ok(serde_json::to_value(secret)?)
    }

    async fn monitoring_objects(&self, version: &str, kind: &str) -> anyhow::Result<Vec<Value>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", version, kind));
        let client = self.planes.seed.admin().await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.options.shoot_namespace, &resource);
        let found = api.list(&ListParams::default()).await?.items;
        anyhow::ensure!(!found.is_empty(), "there is no {kind} in the shoot's namespace");
        Ok(found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }
}

impl Prometheus {
    /// What an expression gives now: series with their labels (`metric`) and value.
    ///
    /// # Errors
    /// When it cannot be asked, or does not take the expression.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let mut data = self.get(&format!("query?{query}")).await.with_context(|| expression.to_owned())?;
        serde_json::from_value(data["result"].take()).with_context(|| format!("{expression} gives no series"))
    }

    /// The targets that it scrapes: `labels`, `health`, `lastError`.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn targets(&self) -> anyhow::Result<Vec<Value>> {
        let mut data = self.get("targets?state=active").await?;
        Ok(serde_json::from_value(data["activeTargets"].take())?)
    }

    /// The rules of all groups: `name`, `type`, `health`, `lastError`.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let data = self.get("rules").await?;
        let groups = data["groups"].as_array().into_iter().flatten();
        Ok(groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()).cloned().collect())
    }

    /// The alerts that are pending or fire, sorted.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn alerts(&self) -> anyhow::Result<Vec<Alert>> {
        let data = self.get("alerts").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alert = |alert: &Value| Alert {
            name: text(&alert["labels"]["alertname"]),
            node: text(&alert["labels"]["node"]),
            state: text(&alert["state"]),
        };
        let mut alerts: Vec<Alert> = data["alerts"].as_array().into_iter().flatten().map(alert).collect();
        alerts.sort();
        Ok(alerts)
    }

    /// The process.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = http::Request::get(format!("/api/v1/{path}")).body(Vec::new())?;
        let mut answer: Value = self.client.request(request).await?;
        anyhow::ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].take())
    }
}

/// The object that gardenlet makes for a shoot, as far as it decides what is selected and scraped (gardener v1.149,
/// `pkg/component/observability/monitoring/prometheus/prometheus.go`).
fn prometheus(namespace: &str, version: &str, interval: Duration) -> Value {
    let interval = format!("{}s", interval.as_secs());
    let selected = json!({ "matchLabels": { "prometheus": "shoot" } });
    json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
        "metadata": { "name": "shoot", "namespace": namespace },
        "spec": {
            "version": version,
            "evaluationInterval": interval, "scrapeInterval": interval,
            "replicas": 1, "shards": 1,
            "externalLabels": { "cluster": namespace },
            "serviceMonitorSelector": selected, "podMonitorSelector": selected, "probeSelector": selected,
            "scrapeConfigSelector": selected, "ruleSelector": selected,
        },
    })
}

/// The release of the module's version: v0.313.2 is 3.13.2.
fn release(module: &str) -> anyhow::Result<String> {
    let (major, rest) = module.strip_prefix("v0.").and_then(|rest| rest.split_at_checked(1)).context("a version")?;
    let (minor, patch) = rest.split_once('.').context("a version")?;
    let minor: u32 = minor.parse()?;
    Ok(format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_module_version_is_a_release() -> anyhow::Result<()> {
        for (module, release) in [("v0.313.2", "3.13.2"), ("v0.302.0", "3.2.0")] {
            assert_eq!(super::release(module)?, release);
        }
        assert!(super::release("v1.2.3").is_err());
        Ok(())
    }
}
