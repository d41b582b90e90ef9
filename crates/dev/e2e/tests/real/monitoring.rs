//! The shoot's Prometheus, a real one, on what the controller has made for it: a healthy shoot, and one node of three that fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::TestEnvironment;
use extension_config::names;
use extension_config::names::node::DAEMON_UNIT;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::{Alert, Progress, Prometheus, Worker, wait_for};

use crate::in_environment;
use crate::kubectl::Plugin;

/// A landscape's is a minute.
const INTERVAL: Duration = Duration::from_secs(5);
/// The first report, the roll-up's next look, the reconcile that it asks for, the seed's resource manager.
const MADE: Duration = Duration::from_secs(90);
/// A few intervals: an `increase` takes two.
const SEEN: Duration = Duration::from_secs(60);
/// From the begin of the failure on: what the node's own agent tells, and who reads only that.
const TOLD: Duration = Duration::from_secs(60);
/// What the Extension tells.
const ROLLED_UP: Duration = Duration::from_secs(90);
/// Exit status of `kubectl resmgr status` when a node needs somebody.
const STUCK: i32 = 4;

const SCRAPED: &str = "https://kube-apiserver:443/api/v1/namespaces/kube-system/pods/cri-resmgr-node-agent-";
const RULES: &str = "charts/cri-resmgr-monitoring/rules.yaml";

/// A query of the dashboard that has nothing to show in a healthy shoot.
struct Silent {
    expression: &'static str,
    /// It has something to show when a node is rolled back.
    tells_of_a_roll_back: bool,
}

const SILENT: [Silent; 5] = [
    // Lists the nodes that need somebody.
    Silent {
        expression: r#"max by (node, stage) (cri_resmgr_node_stage{stage!~"Installed|Clean"}) == 1"#,
        tells_of_a_roll_back: true,
    },
    // Daemons that do not answer where they should. A node that is rolled back has no backend, and should have none.
    Silent {
        expression: "count by (backend) ((max by (node, backend) (cri_resmgr_daemon_up) == 0) and on (node, backend) (max by (node, backend) (cri_resmgr_build_info) == 1))",
        tells_of_a_roll_back: false,
    },
    // Of nri-plugins alone, and of containers that are misplaced.
    Silent { expression: "sum by (node) (cri_resmgr_pin_misses) > 0", tells_of_a_roll_back: false },
    Silent {
        expression: "sum by (proof) (increase(cri_resmgr_proof_failures_total[1h])) > 0",
        tells_of_a_roll_back: true,
    },
    // The nodes had done their steps when Prometheus began to count.
    Silent {
        expression: "sum by (kind, outcome) (increase(cri_resmgr_steps_total[1h])) > 0",
        tells_of_a_roll_back: true,
    },
];

/// Nothing alarms while all is well, and every query is answered; then a daemon dies as often as it is started, and everybody who should know knows in time.
#[test]
fn prometheus_sees_a_healthy_shoot_and_a_node_that_fails() {
    in_environment("monitoring", 3, async |environment, progress| {
        environment.switch_on(None).await?;
        let prometheus = start_prometheus(environment).await?;
        scrapes_every_node(environment, &prometheus).await?;
        evaluates_the_shipped_rules(&prometheus).await?;
        let queries = queries(environment).await?;
        let records = rules_of(&shipped_rules()?, "record");
        wait_for("every query of a healthy shoot to be answered", SEEN, || async {
            for record in &records {
                ensure!(!prometheus.query(record).await?.is_empty(), "{record} has no series");
            }
            for query in &queries {
                let is_silent = SILENT.iter().any(|silent| silent.expression == query);
                let answer = prometheus.query(query).await?;
                ensure!(answer.is_empty() == is_silent, "{query}: {}", json!(answer));
            }
            Ok(Some(()))
        })
        .await?;
        // Neither now nor since it runs.
        let alerts = prometheus.query("last_over_time(ALERTS[1h])").await?;
        ensure!(alerts.is_empty(), "alerts in a healthy shoot: {}", json!(alerts));
        progress.step(&format!(
            "{} targets, {} recorded series, {} queries answered, no alert",
            environment.bed.workers().len(),
            records.len(),
            queries.len()
        ));
        a_node_fails(environment, &prometheus, progress).await
    });
}

async fn start_prometheus(environment: &TestEnvironment) -> anyhow::Result<Prometheus> {
    let resources = environment.gardenlet.managed_resources();
    wait_for("the objects for the shoot's Prometheus", MADE, || async {
        let resource = resources.get(names::MONITORING_MANAGED_RESOURCE).await?;
        let conditions = resource.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let healthy = |one: &Value| one["type"] == "ResourcesHealthy" && one["status"] == "True";
        Ok(conditions.iter().any(healthy).then_some(()))
    })
    .await?;
    environment.bed.start_prometheus(INTERVAL).await
}

/// One target on each node, by the API server's way to pods.
async fn scrapes_every_node(environment: &TestEnvironment, prometheus: &Prometheus) -> anyhow::Result<()> {
    let workers: BTreeSet<&str> = environment.bed.workers().iter().map(Worker::name).collect();
    wait_for("a target that is up on every node", SEEN, || async {
        let targets = prometheus.targets().await?;
        let is_good = |target: &&Value| {
            let (labels, url) = (&target["labels"], target["scrapeUrl"].as_str().unwrap_or_default());
            target["health"] == "up"
                && labels["job"] == names::NODE_AGENT
                && labels["pod"].as_str().is_some_and(|pod| url.contains(pod))
                && url.starts_with(SCRAPED)
        };
        let up: BTreeSet<&str> =
            targets.iter().filter(is_good).filter_map(|target| target["labels"]["node"].as_str()).collect();
        ensure!(up == workers && targets.len() == workers.len(), "{targets:#?}");
        Ok(Some(()))
    })
    .await
}

/// Exactly those, each evaluated without an error.
async fn evaluates_the_shipped_rules(prometheus: &Prometheus) -> anyhow::Result<()> {
    let shipped = shipped_rules()?;
    let names: BTreeSet<String> = rules_of(&shipped, "record").into_iter().chain(rules_of(&shipped, "alert")).collect();
    wait_for("the rules to be evaluated", SEEN, || async {
        let rules = prometheus.rules().await?;
        let evaluated: BTreeSet<String> = rules
            .iter()
            .filter(|rule| rule["health"] == "ok")
            .filter_map(|rule| rule["name"].as_str().map(str::to_owned))
            .collect();
        ensure!(evaluated == names && rules.len() == names.len(), "{rules:#?}");
        Ok(Some(()))
    })
    .await
}

fn shipped_rules() -> anyhow::Result<Value> {
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(crate::root().join(RULES))?)?)
}

/// Names of the rules of a kind, `record` or `alert`.
fn rules_of(rules: &Value, kind: &str) -> Vec<String> {
    let groups = rules["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    rules.filter_map(|rule| rule[kind].as_str().map(str::to_owned)).collect()
}

/// Every query of the dashboard that is in the seed; what we take for silent is among them.
async fn queries(environment: &TestEnvironment) -> anyhow::Result<Vec<String>> {
    let maps: Api<ConfigMap> =
        Api::namespaced(environment.bed.seed().admin().await?, environment.gardenlet.namespace());
    let text = maps.get("cri-resmgr-dashboards").await?.data.and_then(|data| data.into_values().next());
    let dashboard: Value = serde_json::from_str(&text.context("no dashboard")?)?;
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    ensure!(!queries.is_empty(), "the dashboard has no queries");
    for silent in &SILENT {
        ensure!(queries.iter().any(|query| query == silent.expression), "not of the dashboard: {}", silent.expression);
    }
    Ok(queries)
}

fn collect_queries(value: &Value, queries: &mut Vec<String>) {
    if let Some(query) = value["expr"].as_str() {
        queries.push(query.to_owned());
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_queries(item, queries)),
        Value::Object(fields) => fields.values().for_each(|field| collect_queries(field, queries)),
        _ => {}
    }
}

/// The daemon of the second worker is killed as often as it is started.
async fn a_node_fails(
    environment: &TestEnvironment,
    prometheus: &Prometheus,
    progress: &Progress,
) -> anyhow::Result<()> {
    let worker = environment.bed.workers().get(1).context("the bed has not three workers")?;
    let (node, start) = (worker.name(), Instant::now());
    let kill = format!("while sleep 0.2; do systemctl kill --signal=KILL {DAEMON_UNIT}; done");
    worker.run(&["systemd-run", "--quiet", "--unit=killer", "sh", "-c", &kill]).await?;
    let (report, event, metric, status, extension, alert) = tokio::try_join!(
        until(start, "the report", TOLD, async || reported(environment, node).await),
        until(start, "the Event", TOLD, async || published(environment, node).await),
        until(start, "the metric", TOLD, async || exported(prometheus, node).await),
        until(start, "`kubectl resmgr status`", TOLD, async || shown(environment, node).await),
        until(start, "the Extension", ROLLED_UP, async || rolled_up(environment, node).await),
        until(start, "the alert", ROLLED_UP, async || alerted(prometheus, node).await),
    )?;
    progress.step(&format!(
        "{node} was killed; of its roll-back told the report after {report:.1?}, the Event after {event:.1?}, the metric after {metric:.1?}, \
         `kubectl resmgr status` after {status:.1?}, condition and providerStatus after {extension:.1?}; the alert was pending after {alert:.1?}"
    ));
    for silent in SILENT.iter().filter(|silent| silent.tells_of_a_roll_back) {
        wait_for("what was silent to tell of the roll-back", SEEN, || async {
            Ok((!prometheus.query(silent.expression).await?.is_empty()).then_some(()))
        })
        .await
        .context(silent.expression)?;
    }
    Ok(())
}

/// The time from `start` until `check` finds what it looks for.
async fn until(
    start: Instant,
    what: &str,
    limit: Duration,
    check: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    wait_for(&format!("{what} to report the roll-back"), limit, || async { check().await.map(Some) }).await?;
    Ok(start.elapsed())
}

async fn reported(environment: &TestEnvironment, node: &str) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let lease = leases.get(&format!("{}{node}", names::NODE_REPORT_LEASE_PREFIX)).await?;
    let annotations = lease.metadata.annotations.unwrap_or_default();
    let report = annotations.get(names::NODE_REPORT_ANNOTATION).context("no report")?;
    ensure!(serde_json::from_str::<Value>(report)?["stage"] == "RolledBack", "{report}");
    Ok(())
}

async fn published(environment: &TestEnvironment, node: &str) -> anyhow::Result<()> {
    let events: Api<Event> = Api::namespaced(environment.bed.shoot().admin().await?, "default");
    let events = events.list(&ListParams::default()).await?.items;
    let is_it = |event: &&Event| {
        event.reason.as_deref() == Some("CriResmgrRolledBack")
            && event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(node)
    };
    ensure!(events.iter().filter(is_it).count() == 1, "there is no such Event");
    Ok(())
}

async fn exported(prometheus: &Prometheus, node: &str) -> anyhow::Result<()> {
    let query = format!(r#"cri_resmgr_node_stage{{node="{node}",stage="RolledBack"}} == 1"#);
    ensure!(prometheus.query(&query).await?.len() == 1, "{query} has no series");
    Ok(())
}

async fn shown(environment: &TestEnvironment, node: &str) -> anyhow::Result<()> {
    let ended = Plugin::new(environment.bed.shoot().admin_kubeconfig())?.ask(&["status", "-o", "json"]).await?;
    let status: Value = serde_json::from_str(&ended.printed)?;
    let row = status["nodes"].as_array().into_iter().flatten().find(|row| row["node"] == node).context("no row")?;
    ensure!(row["stage"] == "RolledBack" && row["codes"] == json!(["RolledBack"]), "{row}");
    ensure!(ended.code == Some(STUCK), "exit status {:?}", ended.code);
    Ok(())
}

async fn rolled_up(environment: &TestEnvironment, node: &str) -> anyhow::Result<()> {
    let status = environment.gardenlet.extensions().get(names::EXTENSION_TYPE).await?.data["status"].clone();
    let nodes = &status["providerStatus"]["nodes"];
    ensure!(nodes["stages"] == json!({ "Installed": 2, "RolledBack": 1 }), "{nodes}");
    ensure!(nodes["notAsDesired"]["first"][0]["name"] == node, "{nodes}");
    let names_it = |condition: &Value| {
        condition["status"] == "False"
            && condition["message"].as_str().is_some_and(|text| text.contains(&format!("{node} (RolledBack")))
    };
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    ensure!(conditions.any(names_it), "{}", status["conditions"]);
    Ok(())
}

/// That a node is not as desired is pending, as it shall be for half an hour, and nothing is of another node.
async fn alerted(prometheus: &Prometheus, node: &str) -> anyhow::Result<()> {
    let alerts = prometheus.alerts().await?;
    let wanted =
        Alert { name: "CriResmgrNodeNotAsDesired".to_owned(), node: node.to_owned(), state: "pending".to_owned() };
    ensure!(alerts == [wanted], "{alerts:?}");
    Ok(())
}
