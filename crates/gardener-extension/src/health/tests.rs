use std::sync::Mutex;

use async_trait::async_trait;
use gardener_api::Cluster;
use http::{Request, Response};
use kube::client::Body;

use super::*;
use crate::cache::{ClusterFacts, LeanCluster};
use crate::observing::Records;
use crate::queue::Queue;
use crate::{Notice, Observation, Observer, Subject as Observed, Unseen};

/// What the nodes say now.
struct Says(Arc<Mutex<Value>>);

#[async_trait]
impl Observer for Says {
    async fn observe(&self, _: &Observed) -> Result<Observation, String> {
        let status = self.0.lock().unwrap().clone();
        Ok(Observation { status, is_settled: false })
    }

    fn unseen(&self, _: Option<&Value>, _: Timestamp, _: &Unseen) -> Value {
        Value::Null
    }

    fn detail(&self, status: &Value) -> Option<String> {
        status["bad"].as_str().map(|name| format!("not as desired: {name}"))
    }

    fn notices(&self, _: Option<&Value>, _: &Value) -> Vec<Notice> {
        Vec::new()
    }

    fn forget(&self, _: &str) {}
}

/// A seed with one Extension in it.
fn seed(extension: &Arc<Mutex<Value>>, patches: &Arc<Mutex<Vec<Value>>>) -> Client {
    let (extension, patches) = (Arc::clone(extension), Arc::clone(patches));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (extension, patches) = (Arc::clone(&extension), Arc::clone(&patches));
        async move {
            let body = request.into_body().collect_bytes().await?;
            let patch: Value = serde_json::from_slice(&body).unwrap();
            let mut extension = extension.lock().unwrap();
            assert_eq!(patch["metadata"]["resourceVersion"], extension["metadata"]["resourceVersion"]);
            json_patch::merge(&mut extension, &patch);
            let mut patches = patches.lock().unwrap();
            extension["metadata"]["resourceVersion"] = json!((100 + patches.len()).to_string());
            patches.push(patch);
            Ok::<_, kube::Error>(Response::new(Body::from(extension.to_string().into_bytes())))
        }
    });
    Client::new(service, "ns")
}

#[tokio::test]
async fn condition_and_nodes_are_one_write_and_the_same_is_none() {
    let last = json!({ "type": "Reconcile", "state": "Succeeded", "progress": 100, "description": "" });
    let object = Arc::new(Mutex::new(json!({
        "metadata": { "name": "e", "namespace": "ns", "resourceVersion": "1" }, "spec": { "type": "t" },
        "status": { "lastOperation": last, "providerStatus": { "warnings": [], "nodes": { "gone": 1 } } },
    })));
    let (patches, says) = (Arc::default(), Arc::new(Mutex::new(json!({ "bad": "n1" }))));
    let client = seed(&object, &patches);
    let mut config = ControllerConfig::new("x", "t");
    config.health.managed_resources = vec!["mr".to_owned()];
    let config = Arc::new(config);
    let cache = Arc::new(Cache::new([], &config.observation.key));
    cache.put_extension(serde_json::from_value(object.lock().unwrap().clone()).unwrap(), 1);
    let cluster: Cluster = serde_json::from_value(
        json!({ "metadata": { "name": "ns", "resourceVersion": "1" }, "spec": { "shoot": {} } }),
    )
    .unwrap();
    let shoot = cluster.shoot();
    cache.put_cluster("ns", None, ClusterFacts::of(&shoot), LeanCluster::of(&cluster, &shoot, "t"));
    let key = Key { namespace: "ns".to_owned(), name: "e".to_owned() };
    let resource = Key { namespace: "ns".to_owned(), name: "mr".to_owned() };
    let unhealthy = json!({
        "metadata": { "name": "mr", "namespace": "ns", "generation": 1 }, "spec": { "secretRefs": [] },
        "status": { "observedGeneration": 1, "conditions": [
            { "type": "ResourcesApplied", "status": "True", "reason": "R", "message": "m" },
            { "type": "ResourcesHealthy", "status": "False", "reason": "R", "message": "too few" },
        ] },
    });
    cache.put_managed_resource(resource, Ok(Arc::new(serde_json::from_value(unhealthy).unwrap())));
    let observing = Arc::new(Observing {
        observer: Arc::new(Says(Arc::clone(&says))),
        client: client.clone(),
        recorder: kube::runtime::events::Recorder::new(client.clone(), "x".into()),
        config: Arc::clone(&config),
        cache: Arc::clone(&cache),
        queue: Queue::new(),
        health: Arc::new(Queue::new()),
        records: Records::default(),
        metrics: crate::Metrics::register(&mut prometheus_client::registry::Registry::default()),
    });
    let keeper =
        HealthKeeper { client, config, cache, writers: Arc::default(), observing: Some(Arc::clone(&observing)) };
    let reconcile = async || {
        observing.observe(&key).await;
        for _ in 0..3 {
            keeper.reconcile(&key, Trigger::Changed.into()).await;
        }
        std::mem::take(&mut *patches.lock().unwrap())
    };
    let written = reconcile().await;
    let [both] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!(both["status"]["providerStatus"], json!({ "nodes": { "bad": "n1", "gone": null } }));
    let message = both["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("too few") && message.ends_with("not as desired: n1."), "{message}");
    assert_eq!(reconcile().await, Vec::<Value>::new(), "the same is no write");
    // A new process, before its first observation.
    observing.forget(&key);
    keeper.reconcile(&key, Trigger::FirstSeen.into()).await;
    assert!(observing.latest(&key).is_none() && patches.lock().unwrap().is_empty(), "it says what stands there");
    *says.lock().unwrap() = json!({ "count": 3 });
    let written = reconcile().await;
    let [both] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!(both["status"]["providerStatus"], json!({ "nodes": { "bad": null, "count": 3 } }));
    assert!(!both["status"]["conditions"][0]["message"].as_str().unwrap().contains("n1"));
    assert_eq!(object.lock().unwrap()["status"]["providerStatus"], json!({ "warnings": [], "nodes": { "count": 3 } }));
    assert_eq!(reconcile().await, Vec::<Value>::new());
}
