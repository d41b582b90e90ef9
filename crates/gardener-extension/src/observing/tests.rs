use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kube::client::Body;
use serde_json::json;

use super::*;
use crate::cache::ClusterFacts;

const SLOW: Duration = Duration::from_secs(19);

/// A shoot that answers after a while, if at all.
#[derive(Default)]
struct Shoot {
    fails: Mutex<bool>,
    settled: Mutex<bool>,
    begun: AtomicUsize,
    now: AtomicUsize,
    forgotten: AtomicUsize,
}

impl Shoot {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Observer for Shoot {
    async fn observe(&self, subject: &Subject) -> Result<Observation, String> {
        struct Count<'a>(&'a AtomicUsize);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        self.now.fetch_add(1, Ordering::Relaxed);
        let _count = Count(&self.now);
        tokio::time::sleep(SLOW).await;
        if *self.fails.lock().unwrap() {
            return Err("away".to_owned());
        }
        assert_eq!((subject.namespace.as_str(), subject.before.is_some()), ("ns", number > 0));
        let is_settled = *self.settled.lock().unwrap();
        Ok(Observation { status: json!({ "settled": is_settled }), is_settled })
    }

    fn unseen(&self, before: Option<&Value>, _: Timestamp, why: &Unseen) -> Value {
        let mut status = before.cloned().unwrap_or_else(|| json!({}));
        status["why"] = json!(format!("{why:?}"));
        status
    }

    fn detail(&self, _: &Value) -> Option<String> {
        None
    }

    fn notices(&self, _: Option<&Value>, _: &Value) -> Vec<Notice> {
        Vec::new()
    }

    fn forget(&self, namespace: &str) {
        assert_eq!(namespace, "ns");
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
}

fn key() -> Key {
    Key { namespace: "ns".to_owned(), name: "e".to_owned() }
}

fn client() -> Client {
    let nobody = tower::service_fn(|_: http::Request<Body>| async {
        Err::<http::Response<Body>, _>(std::io::Error::other("nobody"))
    });
    Client::new(nobody, "ns")
}

/// An Extension that is done, with a Cluster and a ManagedResource that is well.
fn fixture() -> (Arc<Observing>, Arc<Shoot>) {
    let mut config = ControllerConfig::new("x", "t");
    config.health.managed_resources = vec!["mr".to_owned()];
    let (cache, shoot) = (Arc::new(Cache::new([], &config.observation.key)), Arc::new(Shoot::default()));
    let observing = Observing {
        observer: Arc::clone(&shoot) as Arc<dyn Observer>,
        client: client(),
        recorder: Recorder::new(client(), "x".into()),
        config: Arc::new(config),
        cache,
        queue: Queue::new(),
        health: Arc::new(Queue::new()),
        records: Records::default(),
        metrics: crate::Metrics::register(&mut prometheus_client::registry::Registry::default()),
    };
    extension(&observing, &json!({}));
    cluster(&observing, false);
    resource(&observing, "True");
    (Arc::new(observing), shoot)
}

fn extension(observing: &Observing, metadata: &Value) {
    let mut object = json!({
        "metadata": { "name": "e", "namespace": "ns" }, "spec": { "type": "t" },
        "status": { "lastOperation": { "type": "Create", "state": "Succeeded", "progress": 100, "description": "" } },
    });
    json_patch::merge(&mut object["metadata"], metadata);
    observing.cache.put_extension(serde_json::from_value(object).unwrap(), 1);
}

fn cluster(observing: &Observing, asleep: bool) {
    let object = json!({
        "metadata": { "name": "ns", "resourceVersion": "1" },
        "spec": { "shoot": { "spec": { "hibernation": { "enabled": asleep } } } },
    });
    let cluster: Cluster = serde_json::from_value(object).unwrap();
    let shoot = cluster.shoot();
    let lean = crate::cache::LeanCluster::of(&cluster, &shoot, "t");
    observing.cache.put_cluster("ns", Some("1".to_owned()), ClusterFacts::of(&shoot), lean);
}

fn resource(observing: &Observing, healthy: &str) {
    let is = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "R", "message": "m" });
    let object = json!({
        "metadata": { "name": "mr", "namespace": "ns", "generation": 1 }, "spec": { "secretRefs": [] },
        "status": { "observedGeneration": 1, "conditions": [
            is("ResourcesApplied", "True"), is("ResourcesHealthy", healthy), is("ResourcesProgressing", "False"),
        ] },
    });
    let key = Key { namespace: "ns".to_owned(), name: "mr".to_owned() };
    observing.cache.put_managed_resource(key, Ok(Arc::new(serde_json::from_value(object).unwrap())));
}

/// Looks as the workers do, so many at a time, for ever.
fn work(observing: &Arc<Observing>) {
    for _ in 0..observing.config.observation.at_a_time.get() {
        let observing = Arc::clone(observing);
        tokio::spawn(async move {
            while let Some((key, _)) = observing.queue.next().await {
                let next = observing.observe(&key).await;
                observing.queue.done(key, next);
            }
        });
    }
}

async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn is_reported(observing: &Observing) -> bool {
    tokio::time::timeout(Duration::from_secs(1), observing.health.next()).await.is_ok_and(|found| {
        found.is_some_and(|(key, _)| {
            observing.health.done(key, Requeue::Nothing);
            true
        })
    })
}

/// When the observation of this number began, to the second.
async fn begin(shoot: &Shoot, number: usize) -> Instant {
    for _ in 0..7200 {
        if shoot.begun() >= number {
            return Instant::now();
        }
        after(Duration::from_secs(1)).await;
    }
    panic!("observation {number} has not begun in two hours, but {}", shoot.begun());
}

/// Whether an observation began when it was due: so long after the one before had ended, less up to a fifth by chance.
fn is_due(before: Instant, began: Instant, wait: Duration) -> bool {
    let (elapsed, second) = (began - before, Duration::from_secs(1));
    elapsed + second >= SLOW + wait.mul_f64(1.0 - JITTER) && elapsed <= SLOW + wait + second
}

#[tokio::test(start_paused = true)]
async fn observations_follow_the_managed_resources_and_otherwise_a_clock() {
    let (observing, shoot) = fixture();
    let times = observing.config.observation.clone();
    work(&observing);
    let start = Instant::now();
    observing.notice(&key());
    let first = begin(&shoot, 1).await;
    assert!(first - start <= times.first + Duration::from_secs(1), "spread over the first half a minute");
    after(SLOW).await;
    assert!(is_reported(&observing).await);
    let second = begin(&shoot, 2).await;
    assert!(is_due(first, second, times.progressing_interval), "{:?}", second - first);
    after(SLOW).await;
    assert!(!is_reported(&observing).await, "the same is no change");
    *shoot.settled.lock().unwrap() = true;
    let third = begin(&shoot, 3).await;
    assert!(is_due(second, third, times.progressing_interval), "{:?}", third - second);
    after(SLOW).await;
    assert!(is_reported(&observing).await);
    // Nobody asks for more, however often something about the Extension is written.
    for _ in 0..100 {
        observing.notice(&key());
    }
    after(times.steady_interval.mul_f64(0.7)).await;
    assert_eq!(shoot.begun(), 3);
    resource(&observing, "False");
    observing.notice(&key());
    let fourth = Instant::now();
    after(times.spacing).await;
    assert_eq!((shoot.begun(), shoot.now()), (4, 1));
    // Not well is not settled, whatever the nodes say.
    let fifth = begin(&shoot, 5).await;
    assert!(
        fifth - fourth <= times.spacing + SLOW + times.progressing_interval + Duration::from_secs(1),
        "{:?}",
        fifth - fourth
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_on_for_an_extension_that_goes() {
    for gone in [
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }),
        json!({ "annotations": { "gardener.cloud/operation": "migrate" } }),
        json!(null),
    ] {
        let (observing, shoot) = fixture();
        work(&observing);
        observing.notice(&key());
        while shoot.now() == 0 {
            after(Duration::from_secs(1)).await;
        }
        if gone.is_null() {
            observing.cache.remove_extension(&key());
        } else {
            extension(&observing, &gone);
        }
        observing.notice(&key());
        after(Duration::from_millis(1)).await;
        assert_eq!((shoot.now(), shoot.forgotten.load(Ordering::Relaxed)), (0, 1), "{gone}");
        after(Duration::from_secs(3600)).await;
        assert_eq!((shoot.begun(), observing.records.lock().len()), (1, 0), "{gone}");
        assert!(!is_reported(&observing).await, "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_shoot_costs_little_and_is_reported_after_a_while() {
    let (observing, shoot) = fixture();
    let times = observing.config.observation.clone();
    *shoot.fails.lock().unwrap() = true;
    work(&observing);
    observing.notice(&key());
    // One in the making is not reported at once.
    after(times.first + times.first_grace.mul_f64(0.8)).await;
    assert!(observing.latest(&key()).is_none() && shoot.begun() > 1);
    after(times.steady_interval).await;
    let unseen = observing.latest(&key()).unwrap();
    assert_eq!(unseen.status["why"], r#"Failed("away")"#);
    let begun = shoot.begun();
    after(Duration::from_secs(3600)).await;
    assert!((5..=8).contains(&(shoot.begun() - begun)), "{} observations in an hour", shoot.begun() - begun);
    assert_eq!(observing.latest(&key()).unwrap(), unseen, "nothing new to write");
    *shoot.fails.lock().unwrap() = false;
    after(times.steady_interval + SLOW).await;
    assert_eq!(observing.latest(&key()).unwrap().status, json!({ "settled": false }));
}

#[tokio::test(start_paused = true)]
async fn a_shoot_that_sleeps_is_not_asked() {
    let (observing, shoot) = fixture();
    cluster(&observing, true);
    work(&observing);
    observing.notice(&key());
    after(observing.config.observation.first).await;
    assert_eq!(observing.latest(&key()).unwrap().status, json!({ "why": "Hibernated" }));
    after(Duration::from_secs(3600)).await;
    assert_eq!(shoot.begun(), 0);
    cluster(&observing, false);
    observing.notice(&key());
    after(observing.config.observation.spacing).await;
    assert_eq!(shoot.begun(), 1);
}
