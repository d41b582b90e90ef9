//! The controller: watches, queues and workers together.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gardener_api::{ManagedResource, Shoot};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::health::HealthKeeper;
use crate::key::Key;
use crate::lifecycle::Lifecycle;
use crate::observer::Observer;
use crate::observing::{Observing, Records};
use crate::operation::Trigger;
use crate::queue::Queue;
use crate::watch::{Watches, names, synced};
use crate::writers::Writers;
use crate::{Actuator, ControllerConfig, Metrics, backoff};

/// Workers for the health conditions: the work is a comparison in memory and now and then one write.
const HEALTH_WORKERS: usize = 2;
/// Time for operations under way to end after the signal to stop; less than Kubernetes' 30 s before it kills.
const GRACE: Duration = Duration::from_secs(20);

/// Serves the Extensions of one type.
pub struct Controller {
    lifecycle: Arc<Lifecycle>,
    health: Arc<HealthKeeper>,
    observing: Option<Arc<Observing>>,
    watches: Arc<Watches>,
    handle: ControllerHandle,
}

impl fmt::Debug for Controller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.lifecycle.config;
        formatter.debug_struct("Controller").field("extension_type", &config.extension_type).finish_non_exhaustive()
    }
}

/// Reaches into a running controller; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    cache: Arc<Cache>,
    work: Arc<Queue<Key>>,
    missing: watch::Receiver<BTreeSet<String>>,
}

impl ControllerHandle {
    /// Something changed that concerns every Extension, such as the base configuration: each is reconciled once more, through the
    /// same queue and spread over time (the first hundred at once, then ten a second). Answers how many there are.
    #[must_use = "the number says whether anybody was concerned"]
    pub fn trigger_all(&self) -> usize {
        let keys = self.cache.extensions();
        let count = keys.len();
        for (index, key) in keys.into_iter().enumerate() {
            self.work.add_after(key, Trigger::External, backoff::spread(index));
        }
        count
    }

    /// What this Extension awaits may have changed, and no watch shows it: the actuator is called again. Nothing happens to one that
    /// awaits nothing.
    pub fn awaited(&self, namespace: String, name: String) {
        self.work.add(Key { namespace, name }, Trigger::DependencyChanged);
    }

    /// This Extension has to be reconciled once more, for a reason that only its actuator knows.
    pub fn trigger(&self, namespace: String, name: String) {
        self.work.add(Key { namespace, name }, Trigger::External);
    }

    /// One of the ManagedResources of [`ControllerConfig::managed_resources`], as its watch has shown it, or that there is none; `None` where that is
    /// not known.
    #[must_use]
    pub fn managed_resource(&self, namespace: &str, name: &str) -> Option<Option<Arc<ManagedResource>>> {
        let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
        self.cache.synced_managed_resource(&key)?.ok()
    }

    /// The Shoot of a namespace, as far as an operation needs it; `None` where it is not kept.
    #[must_use]
    pub fn shoot(&self, namespace: &str) -> Option<Arc<Shoot>> {
        self.cache.lean_cluster(namespace)?.shoot
    }

    /// Whether every watch has delivered its first list; for readiness.
    ///
    /// # Errors
    /// Names the watches that have not.
    pub fn check_synced(&self) -> Result<(), String> {
        let missing = self.missing.borrow();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        Err(format!("not yet listed: {}", names.join(", ")))
    }
}

impl Controller {
    /// Puts a controller together; nothing happens before [`Self::run`]. `client` should refuse to write when leadership is lost. Without an
    /// `observer` nothing behind the Extensions is observed.
    #[must_use]
    pub fn new(
        client: Client,
        config: ControllerConfig,
        actuator: Arc<dyn Actuator>,
        observer: Option<Arc<dyn Observer>>,
        metrics: Metrics,
    ) -> Self {
        let config = Arc::new(config);
        let cache = Arc::new(Cache::new(names(&config), &config.observation.key));
        let work = Arc::new(Queue::new());
        let recorder = Recorder::new(client.clone(), Reporter::from(config.name.as_str()));
        let watches = Watches {
            client: client.clone(),
            config: Arc::clone(&config),
            metrics: metrics.clone(),
            cache: Arc::clone(&cache),
            work: Arc::clone(&work),
            health: Arc::new(Queue::new()),
        };
        let writers = Arc::new(Writers::default());
        let observing = observer.map(|observer| {
            Arc::new(Observing {
                observer,
                client: client.clone(),
                recorder: recorder.clone(),
                config: Arc::clone(&config),
                cache: Arc::clone(&cache),
                queue: Queue::new(),
                health: Arc::clone(&watches.health),
                records: Records::default(),
                metrics: metrics.clone(),
            })
        });
        let health = Arc::new(HealthKeeper {
            client: client.clone(),
            config: Arc::clone(&config),
            cache: Arc::clone(&cache),
            writers: Arc::clone(&writers),
            observing: observing.clone(),
        });
        let handle = ControllerHandle { missing: cache.missing(), cache: Arc::clone(&cache), work };
        let object_states = crate::lifecycle::PerObjectState::default();
        let keeper = Arc::clone(&health);
        let lifecycle =
            Lifecycle { client, config, actuator, recorder, metrics, cache, writers, health: keeper, object_states };
        Self { lifecycle: Arc::new(lifecycle), health, observing, watches: Arc::new(watches), handle }
    }

    /// For readiness and triggers.
    #[must_use]
    pub fn handle(&self) -> ControllerHandle {
        self.handle.clone()
    }

    fn observers(&self) -> usize {
        self.lifecycle.config.observation.at_a_time.get()
    }

    /// Works until `shutdown` resolves; then lets operations under way end, for 20 s at most. What is cut off then is taken up
    /// by the next process: its status does not say Succeeded. Dropping the future stops everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut watching = JoinSet::new();
        watching.spawn(Arc::clone(&self.watches).extensions());
        watching.spawn(Arc::clone(&self.watches).clusters());
        for name in &self.lifecycle.config.managed_resources {
            watching.spawn(Arc::clone(&self.watches).managed_resources(name.clone()));
        }
        let mut workers = JoinSet::new();
        for _ in 0..self.lifecycle.config.max_concurrent_reconciles.get() {
            workers.spawn(work(Arc::clone(&self.watches), Arc::clone(&self.lifecycle)));
        }
        // These need no grace: each does one write at a time, and the next process reconciles again anyway.
        for _ in 0..HEALTH_WORKERS {
            watching.spawn(keep_health(Arc::clone(&self.watches), Arc::clone(&self.health)));
        }
        for observing in self.observing.iter().flat_map(|one| std::iter::repeat_n(one, self.observers())) {
            watching.spawn(observe(Arc::clone(&self.watches), Arc::clone(observing)));
        }
        tokio::select! {
            () = shutdown => {}
            // Watches and workers end only by a panic.
            ended = watching.join_next() => tracing::error!(?ended, "a watch ended"),
            ended = workers.join_next() => tracing::error!(?ended, "a worker ended"),
        }
        self.watches.work.close();
        self.watches.health.close();
        if let Some(observing) = &self.observing {
            observing.queue.close();
        }
        let ended = tokio::time::timeout(GRACE, async { while workers.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(left = workers.len(), "cutting off operations that did not end in time");
        }
    }
}

async fn work(watches: Arc<Watches>, lifecycle: Arc<Lifecycle>) {
    let queue = &watches.work;
    while let Some((key, triggers)) = queue.next().await {
        watches.metrics.queue(queue.sizes());
        let next = lifecycle.reconcile(&key, triggers).await;
        queue.done(key, next);
        watches.metrics.queue(queue.sizes());
    }
}

async fn keep_health(watches: Arc<Watches>, health: Arc<HealthKeeper>) {
    // Before everything is listed, what is not there yet would seem to be missing.
    synced(&watches.cache).await;
    while let Some((key, triggers)) = watches.health.next().await {
        let next = health.reconcile(&key, triggers).await;
        watches.health.done(key, next);
    }
}

async fn observe(watches: Arc<Watches>, observing: Arc<Observing>) {
    synced(&watches.cache).await;
    while let Some((key, _)) = observing.queue.next().await {
        let next = observing.observe(&key).await;
        observing.queue.done(key, next);
    }
}
