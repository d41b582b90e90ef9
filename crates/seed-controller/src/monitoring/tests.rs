use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::objects::{DASHBOARD, RULES, SAMPLE_LIMIT};
use super::*;

const NAMESPACE: &str = "shoot--project--name";
/// What the agents export: a golden file of theirs, so that neither side has the other.
const METRICS: &str = include_str!("../../../node-agent/src/snapshots/node_agent__golden__metrics.snap");
/// What Prometheus itself makes of each target.
const OF_PROMETHEUS: [&str; 1] = ["up"];
/// Labels that the ScrapeConfig gives each series.
const OF_TARGETS: [&str; 4] = ["job", "type", "pod", "node"];
const OF_ALL: [&str; 3] = ["service", "severity", "visibility"];

fn objects() -> Objects {
    Objects::new().unwrap()
}

/// By kind.
fn rendered() -> BTreeMap<String, Value> {
    let bundle = objects().bundle(NAMESPACE).unwrap();
    bundle.objects.iter().map(|object| (object.id().kind.clone(), Value::Object(object.body().clone()))).collect()
}

#[test]
fn objects_are_as_they_were() {
    let bundle = objects().bundle(NAMESPACE).unwrap();
    let (secret, resource) = bundle.build().unwrap();
    assert_eq!(secret.metadata.name.as_deref(), Some(SECRET));
    insta::assert_snapshot!("managed-resource", serde_json::to_string_pretty(&resource).unwrap());
    let but_dashboards: Vec<_> =
        bundle.objects.iter().filter(|object| object.id().kind != "ConfigMap").cloned().collect();
    insta::assert_snapshot!("objects", managed_resource::objects::write(&but_dashboards).unwrap());
    let again = objects().bundle(NAMESPACE).unwrap();
    assert_eq!(again.build().unwrap(), bundle.build().unwrap(), "equal bytes, or each reconcile would write");
}

#[test]
fn dashboard_is_one_that_plutono_finds_and_reads() {
    let map = &rendered()["ConfigMap"];
    assert_eq!(map["metadata"]["labels"], json!({ "dashboard.monitoring.gardener.cloud/shoot": "true" }));
    let text = map["data"]["cri-resmgr.dashboard.json"].as_str().unwrap();
    assert_eq!(text, DASHBOARD);
    assert!(text.len() < 1 << 20);
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let ids: BTreeSet<u64> = panels(&dashboard).map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels(&dashboard).count());
    for panel in panels(&dashboard) {
        assert_eq!(panel["datasource"], "prometheus", "{}", panel["title"]);
        assert!(!queries(panel).is_empty(), "{}", panel["title"]);
    }
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter()
}

fn queries(panel: &Value) -> Vec<String> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(RULES).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Names of series, as Prometheus has them, each with its labels and their values.
fn exported() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for line in METRICS.lines().filter(|line| line.starts_with("cri_resmgr_")) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known = all.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            known.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    all
}

/// Selectors of a query: names of series, and what is asked of their labels.
fn selectors(query: &str) -> Vec<(String, Vec<(String, String)>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_word) {
        let word: String = rest[start..].chars().take_while(|c| is_word(*c)).collect();
        rest = &rest[start + word.len()..];
        if !word.starts_with("cri_resmgr_") && !word.starts_with("shoot:") && word != "up" {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            rest = after;
            for matcher in inside.split(',') {
                let (label, values) = matcher.split_once(['=', '!']).unwrap();
                let values = values.trim_start_matches(['=', '~', '!']).trim_matches('"').to_owned();
                matchers.push((label.to_owned(), values));
            }
        }
        found.push((word, matchers));
    }
    found
}

/// Labels that a query groups or joins by.
fn grouped(query: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for word in ["by (", "on (", "group_left ("] {
        for part in query.split(word).skip(1) {
            all.extend(part.split(')').next().unwrap().split(',').map(|label| label.trim().to_owned()));
        }
    }
    all
}

#[test]
fn every_query_asks_for_what_the_agents_export() {
    let exported = exported();
    assert!(exported.len() > 10);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let of_rules = rules().into_iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let all: Vec<String> = of_rules.chain(panels(&dashboard).flat_map(queries)).collect();
    let mut used = BTreeSet::new();
    for query in &all {
        let selectors = selectors(query);
        assert!(!selectors.is_empty(), "{query}");
        let mut labels: BTreeSet<&str> = OF_TARGETS.into_iter().collect();
        for (name, matchers) in &selectors {
            let Some(known) = exported.get(name) else {
                assert!(OF_PROMETHEUS.contains(&name.as_str()), "nobody exports {name}: {query}");
                continue;
            };
            used.insert(name.clone());
            labels.extend(known.keys().map(String::as_str));
            for (label, values) in matchers {
                let has = known.get(label).unwrap_or_else(|| panic!("{name} has no label {label}: {query}"));
                for value in values.split('|') {
                    assert!(has.contains(value), "{name} is never {label}={value}: {query}");
                }
            }
        }
        for label in grouped(query) {
            assert!(labels.contains(label.as_str()), "no series has the label {label}: {query}");
        }
    }
    let unused: Vec<&String> = exported.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "neither rules nor dashboard show {unused:?}");
}

#[test]
fn series_of_an_agent_are_within_the_limit_of_a_scrape() {
    let series = METRICS.lines().filter(|line| line.starts_with("cri_resmgr_")).count();
    assert!(series * 2 < usize::try_from(SAMPLE_LIMIT).unwrap(), "{series}");
}

/// Gardener routes alerts by these labels, and takes series of this form on to the garden.
#[test]
fn rules_have_the_form_that_gardener_asks_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = BTreeSet::new();
    for rule in rules() {
        if let Some(name) = rule["record"].as_str() {
            assert_eq!(name.split(':').count(), 3, "{name}");
            assert!(name.starts_with("shoot:cri_resmgr_"), "{name}");
            assert!(grouped(rule["expr"].as_str().unwrap()).iter().all(|label| label != "pod"), "{name}");
            continue;
        }
        let name = rule["alert"].as_str().unwrap();
        let labels = rule["labels"].as_object().unwrap();
        let expected: BTreeSet<&str> = OF_ALL.into_iter().chain(["type"]).collect();
        assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
        assert_eq!((&labels["service"], &labels["type"]), (&json!("cri-resmgr"), &json!("shoot")), "{name}");
        assert!(["info", "warning"].contains(&labels["severity"].as_str().unwrap()), "{name}");
        assert!(["owner", "operator"].contains(&labels["visibility"].as_str().unwrap()), "{name}");
        let page = format!("docs/runbooks/{name}.md");
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("{}/blob/main/{page}", env!("CARGO_PKG_REPOSITORY")), "{name}");
        let text = std::fs::read_to_string(root.join(&page)).unwrap_or_else(|_| panic!("there is no {page}"));
        for part in ["## What it means", "## What to look at", "## What to do"] {
            assert!(text.contains(part), "{page} does not say: {part}");
        }
        pages.insert(format!("{name}.md"));
    }
    let found = std::fs::read_dir(root.join("docs/runbooks")).unwrap();
    let found: BTreeSet<String> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, pages, "a page for each alert, and no other");
}

/// The pods that are scraped are those of the DaemonSet that the shoot gets, and may be reached.
#[test]
fn scrape_finds_the_agents_of_the_installation() {
    let daemon_set = include_str!("../../../../charts/cri-resmgr-installation/templates/daemonset.yaml");
    assert!(daemon_set.contains("        networking.gardener.cloud/from-seed: allowed\n"));
    assert!(daemon_set.contains("        - name: metrics\n          containerPort: {{ agent.port }}\n"));
    let scrape = &rendered()["ScrapeConfig"]["spec"];
    let relabelings = scrape["relabelings"].as_array().unwrap();
    let keep = |regex: &str| relabelings.iter().any(|one| one["action"] == "keep" && one["regex"] == regex);
    assert!(keep("cri-resmgr-node-agent-.*") && keep("node-agent;metrics"));
    assert_eq!(scrape["sampleLimit"], json!(SAMPLE_LIMIT));
}

#[tokio::test]
async fn discovery_asks_once_for_all_and_a_failure_changes_nothing() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let calls = Arc::new(AtomicUsize::new(0));
    let answer = Arc::new(std::sync::Mutex::new((
        200,
        r#"[{"name":"scrapeconfigs","singularName":"","namespaced":true,"kind":"ScrapeConfig","verbs":[]}]"#,
    )));
    let service = {
        let (calls, answer) = (Arc::clone(&calls), Arc::clone(&answer));
        tower::service_fn(move |request: http::Request<kube::client::Body>| {
            calls.fetch_add(1, Ordering::Relaxed);
            let (code, resources) = *answer.lock().unwrap();
            assert_eq!(request.uri().path(), "/apis/monitoring.coreos.com/v1alpha1");
            let body = if code == 200 {
                format!(
                    r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"monitoring.coreos.com/v1alpha1","resources":{resources}}}"#
                )
            } else {
                format!(
                    r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"","reason":"","code":{code}}}"#
                )
            };
            let response = http::Response::builder().status(code).body(kube::client::Body::from(body.into_bytes()));
            async move { Ok::<_, std::io::Error>(response.unwrap()) }
        })
    };
    let client = Client::new(service, "default");
    tokio::time::pause();
    let discovery = Discovery::default();
    let minutes = |count: u64| tokio::time::advance(std::time::Duration::from_secs(60 * count));
    let (one, other) = tokio::join!(discovery.is_served(&client), discovery.is_served(&client));
    assert_eq!((one, other, calls.load(Ordering::Relaxed)), (Some(true), Some(true), 1));
    *answer.lock().unwrap() = (503, "[]");
    minutes(9).await;
    assert_eq!((discovery.is_served(&client).await, calls.load(Ordering::Relaxed)), (Some(true), 1));
    minutes(2).await;
    assert_eq!(
        (discovery.is_served(&client).await, calls.load(Ordering::Relaxed)),
        (Some(true), 2),
        "what was known stands"
    );
    assert_eq!(
        (discovery.is_served(&client).await, calls.load(Ordering::Relaxed)),
        (Some(true), 2),
        "no call for each shoot"
    );
    *answer.lock().unwrap() = (404, "[]");
    minutes(1).await;
    assert_eq!((discovery.is_served(&client).await, calls.load(Ordering::Relaxed)), (Some(false), 3));
    *answer.lock().unwrap() = (200, "[]");
    minutes(11).await;
    assert_eq!((discovery.is_served(&client).await, calls.load(Ordering::Relaxed)), (Some(false), 4));
    let fresh = Discovery::default();
    *answer.lock().unwrap() = (503, "[]");
    assert_eq!(fresh.is_served(&client).await, None);
}
