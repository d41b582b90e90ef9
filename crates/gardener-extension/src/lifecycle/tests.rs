//! From any Extension, any sequence of requests and any faults the engine ends in a state that the contract allows.

mod log_lines;

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{ActuatorOutcome, ApiOutcome, ExternalEvent, FINALIZER, Shared, TYPE, finalizers};
use super::*;
use crate::cache::{Cache, ClusterFacts, ExtensionUpdate};
use crate::config::ControllerConfig;

/// More reconciliations than this, and it does not come to rest.
const RECONCILIATIONS: usize = 300;

/// A process: what it remembers is lost with it.
struct Process {
    lifecycle: Lifecycle,
    cache: Arc<Cache>,
    /// What the queue holds.
    planned: Triggers,
}

impl Process {
    fn start(shared: &Shared) -> Self {
        let config = ControllerConfig { finalizer: FINALIZER.to_owned(), ..ControllerConfig::new("model", TYPE) };
        let cache = Arc::new(Cache::new([], "nodes"));
        let (config, writers) = (Arc::new(config), Arc::new(Writers::default()));
        let health = HealthKeeper {
            client: shared.client(),
            config: Arc::clone(&config),
            cache: Arc::clone(&cache),
            writers: Arc::clone(&writers),
            observing: None,
        };
        let lifecycle = Lifecycle {
            client: shared.client(),
            config,
            actuator: Arc::new(shared.clone()),
            recorder: Recorder::new(shared.client(), "model".into()),
            metrics: Metrics::register(&mut Registry::default()),
            cache: Arc::clone(&cache),
            writers,
            health: Arc::new(health),
            object_states: PerObjectState::default(),
        };
        Self { lifecycle, cache, planned: Triggers::default() }
    }

    /// What the watches show by now.
    fn observe(&mut self, shared: &Shared) {
        let (extension, cluster_changed) = {
            let mut seed = shared.seed();
            (seed.extension.clone(), std::mem::take(&mut seed.cluster_changed))
        };
        if cluster_changed {
            self.plan(Trigger::DependencyChanged);
        }
        match extension {
            Some(extension) => match self.cache.put_changed_extension(serde_json::from_value(extension).unwrap(), 1) {
                ExtensionUpdate::New => self.plan(Trigger::FirstSeen),
                ExtensionUpdate::Changed => self.plan(Trigger::Changed),
                ExtensionUpdate::None => {}
                ExtensionUpdate::Old => unreachable!("it is the last"),
            },
            None if self.cache.knows(&key()) => {
                self.cache.remove_extension(&key());
                self.plan(Trigger::Changed);
            }
            None => {}
        }
    }

    fn plan(&mut self, trigger: Trigger) {
        self.planned = self.planned.union(trigger.into());
    }

    /// One reconciliation, as a worker does it. Returns whether there was anything to reconcile.
    async fn reconcile(&mut self, shared: &Shared) -> bool {
        // The periodic resync is an hour away.
        let triggers = std::mem::take(&mut self.planned).without(Trigger::Resync);
        if triggers.is_empty() {
            return false;
        }
        {
            let mut seed = shared.seed();
            seed.failed_throughout = seed.shoot_failed;
        }
        if let Requeue::After(_, again) = self.lifecycle.reconcile(&key(), triggers).await {
            self.planned = self.planned.union(again);
        }
        true
    }
}

fn key() -> Key {
    Key { namespace: "ns".to_owned(), name: "e".to_owned() }
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    ExternalEvent(ExternalEvent),
    Observe,
    Reconcile,
    Restart,
}

/// What happens in the course of time, and how calls and work end.
#[derive(Clone, Debug)]
struct History {
    steps: Vec<Step>,
    interruptions: Vec<bool>,
    api_outcomes: Vec<ApiOutcome>,
    results: Vec<ActuatorOutcome>,
}

fn history() -> impl Strategy<Value = History> {
    let event = prop_oneof![
        6 => prop_oneof![
            4 => Just("reconcile"), 1 => Just("restore"), 1 => Just("migrate"), 1 => Just("wait-for-state"), 1 => Just("unknown"),
        ].prop_map(ExternalEvent::Annotate),
        2 => Just(ExternalEvent::Delete),
        1 => Just(ExternalEvent::ChangeSpec),
        1 => any::<bool>().prop_map(ExternalEvent::ForeignFinalizer),
        1 => any::<bool>().prop_map(ExternalEvent::ShootFailed),
        1 => any::<bool>().prop_map(ExternalEvent::ShootMigrating),
        1 => Just(ExternalEvent::Force),
        1 => any::<bool>().prop_map(ExternalEvent::Cluster),
    ];
    let step = prop_oneof![4 => event.prop_map(Step::ExternalEvent), 4 => Just(Step::Observe), 5 => Just(Step::Reconcile), 1 => Just(Step::Restart)];
    let fate = prop_oneof![
        8 => Just(ApiOutcome::Served), 1 => Just(ApiOutcome::Conflict), 1 => Just(ApiOutcome::Failed), 1 => Just(ApiOutcome::AnswerLost),
    ];
    let result = prop_oneof![
        3 => Just(ActuatorOutcome::Done), 1 => Just(ActuatorOutcome::Pending), 1 => Just(ActuatorOutcome::Transient), 1 => Just(ActuatorOutcome::Configuration),
    ];
    (
        proptest::collection::vec(step, 1..40),
        proptest::collection::vec(proptest::bool::weighted(0.15), 0..60),
        proptest::collection::vec(fate, 0..80),
        proptest::collection::vec(result, 0..12),
    )
        .prop_map(|(steps, interruptions, api_outcomes, results)| History {
            steps,
            interruptions,
            api_outcomes,
            results,
        })
}

/// Plays the history, then lets everything get well, and waits until there is nothing to do any more.
async fn play(history: &History) -> Shared {
    let shared = Shared::default();
    {
        let mut seed = shared.seed();
        seed.interruptions = history.interruptions.iter().copied().collect();
        seed.api_outcomes = history.api_outcomes.iter().copied().collect();
        seed.results = history.results.iter().copied().collect();
        // What interrupts a call comes out of the same history, from its end.
        seed.external_events = history
            .steps
            .iter()
            .rev()
            .filter_map(|step| if let Step::ExternalEvent(event) = step { Some(*event) } else { None })
            .take(3)
            .collect();
    }
    let mut process = Process::start(&shared);
    for step in &history.steps {
        match step {
            Step::ExternalEvent(event) => shared.seed().apply(*event),
            Step::Observe => process.observe(&shared),
            Step::Reconcile => drop(process.reconcile(&shared).await),
            Step::Restart => process = Process::start(&shared),
        }
    }
    {
        let mut seed = shared.seed();
        (seed.interruptions, seed.api_outcomes, seed.results) = Default::default();
        for well in [
            ExternalEvent::Cluster(true),
            ExternalEvent::ShootFailed(false),
            ExternalEvent::ShootMigrating(false),
            ExternalEvent::ForeignFinalizer(false),
        ] {
            seed.apply(well);
        }
    }
    for _ in 0..RECONCILIATIONS {
        process.observe(&shared);
        if !process.reconcile(&shared).await {
            return shared;
        }
    }
    shared.seed().violations.push(format!("it does not come to rest within {RECONCILIATIONS} reconciliations"));
    shared
}

/// What is wrong with the state at the end.
fn violations(shared: &Shared) -> Vec<String> {
    let seed = shared.seed();
    let mut violations = seed.violations.clone();
    let Some(extension) = &seed.extension else { return violations };
    let mut violation = |text: &str| violations.push(format!("{text}: {extension}"));
    let last = &extension["status"]["lastOperation"];
    let is_last = |type_: &str, state: &str| last["type"] == type_ && last["state"] == state;
    let asked = extension["metadata"]["annotations"]["gardener.cloud/operation"].as_str();
    let ours = finalizers(extension).iter().any(|found| found == FINALIZER);
    if asked == Some("wait-for-state") {
        return violations;
    }
    if matches!(asked, Some("reconcile" | "restore" | "migrate")) {
        violation("a request is not answered");
    }
    if is_last("Migrate", "Succeeded") {
        if ours {
            violation("it went to another seed with our finalizer");
        }
        return violations;
    }
    if !extension["metadata"]["deletionTimestamp"].is_null() {
        // Nobody else holds it any more.
        violation("its deletion does not end");
        return violations;
    }
    if last["state"] != "Succeeded" || last["progress"] != 100 {
        violation("the last operation is not complete");
    }
    if extension["status"].get("lastError").is_some_and(|error| *error != Value::Null) {
        violation("the error stands although it is over");
    }
    if !ours {
        violation("our finalizer is missing");
    }
    if seed.provider_status.as_ref().is_some_and(|wanted| extension["status"]["providerStatus"] != *wanted) {
        violation("the providerStatus is not what the actuator wanted last");
    }
    let answered = seed.done.is_some_and(|(operation, began)| {
        matches!(operation, Operation::Reconcile | Operation::Restore)
            && seed.requested_at.is_none_or(|asked| began > asked)
    });
    if !answered {
        violation("the last request led to no work");
    }
    violations
}

fn run(history: &History) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { violations(&Box::pin(play(history)).await) })
}

/// What others' objects are like is reported once, on the Extension, and holds up nothing.
#[tokio::test(start_paused = true)]
async fn a_shoot_with_an_unknown_field_is_served_and_reported_once() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    for _ in 0..3 {
        shared.seed().apply(ExternalEvent::Annotate("reconcile"));
        process.observe(&shared);
        let odd =
            serde_json::value::to_raw_value(&serde_json::json!({ "spec": { "hibernation": "hunter2" } })).unwrap();
        process.cache.put_cluster("ns", None, ClusterFacts::of(&Shoot::from_raw(&odd)), None);
        while process.reconcile(&shared).await {
            process.observe(&shared);
        }
    }
    assert!(violations(&shared).is_empty(), "{:?}", violations(&shared));
    let reported: Vec<_> = shared
        .seed()
        .events
        .iter()
        .filter(|(reason, _)| reason == "Undecodable")
        .map(|(_, note)| note.clone())
        .collect();
    assert_eq!(reported, ["the Shoot in Cluster ns is not of the shape that is known here: spec.hibernation"]);
}

/// Who asks has written the Cluster before; what begins by itself checks whether there is a newer one.
#[tokio::test(start_paused = true)]
async fn request_is_served_without_a_read_where_the_cluster_is_known() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    let object =
        json!({ "metadata": { "name": "ns", "resourceVersion": "1" }, "spec": { "shoot": { "metadata": {} } } });
    let cluster: Cluster = serde_json::from_value(object).unwrap();
    let lean = LeanCluster::of(&cluster, &cluster.shoot(), TYPE);
    process.cache.put_cluster("ns", Some("1".to_owned()), ClusterFacts::of(&cluster.shoot()), lean);
    for _ in 0..2 {
        shared.seed().apply(ExternalEvent::Annotate("reconcile"));
        process.observe(&shared);
        process.reconcile(&shared).await;
        process.observe(&shared);
        assert_eq!(shared.seed().reads, Vec::<String>::new());
    }
    process.plan(Trigger::External);
    process.reconcile(&shared).await;
    // The one that is there has another version.
    let clusters = "/apis/extensions.gardener.cloud/v1alpha1/clusters/ns";
    assert_eq!(shared.seed().reads, [clusters, "/api/v1/namespaces/ns", clusters]);
    assert!(violations(&shared).is_empty(), "{:?}", violations(&shared));
}

/// A status that the API refuses shows where people look for it, once, and the work goes on when it is taken again.
#[tokio::test(start_paused = true)]
async fn a_refused_status_shows_as_an_event() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    shared.seed().apply(ExternalEvent::Annotate("reconcile"));
    shared.seed().status_refused = true;
    for _ in 0..5 {
        process.observe(&shared);
        process.reconcile(&shared).await;
    }
    let events = shared.seed().events.clone();
    let reported = events.iter().filter(|(reason, _)| reason == "StatusRefused").count();
    assert_eq!(reported, 1, "{events:?}");
    shared.seed().status_refused = false;
    while process.reconcile(&shared).await {
        process.observe(&shared);
    }
    assert!(violations(&shared).is_empty(), "{:?}", violations(&shared));
}

/// Begun, and complete with the providerStatus; a later one takes no more.
#[tokio::test(start_paused = true)]
async fn operation_with_a_provider_status_takes_two_status_writes() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    for writes in [2, 4, 6] {
        shared.seed().apply(ExternalEvent::Annotate("reconcile"));
        process.observe(&shared);
        while process.reconcile(&shared).await {
            process.observe(&shared);
        }
        assert_eq!(shared.seed().status_writes, writes);
    }
    assert!(violations(&shared).is_empty(), "{:?}", violations(&shared));
}

/// Histories that once ended badly.
#[test]
fn histories_that_were_found() {
    use Step::{Observe, Reconcile};
    let annotate = |operation| Step::ExternalEvent(ExternalEvent::Annotate(operation));
    let failed = Step::ExternalEvent(ExternalEvent::ShootFailed(true));
    let all = [
        // What was cut off, and asked for again while the Shoot was failed, goes on when it is tried again.
        (
            vec![annotate("reconcile"), Observe, annotate("unknown"), Reconcile, failed, Reconcile, Observe, Reconcile],
            6,
            ApiOutcome::AnswerLost,
            vec![],
        ),
        // What was cut off by the end of the process, while the Shoot was failed, too.
        (
            vec![annotate("reconcile"), Observe, Reconcile, Step::Restart, failed, Observe, Reconcile],
            4,
            ApiOutcome::Failed,
            vec![],
        ),
        // The same while its state was waited for.
        (
            vec![
                annotate("reconcile"),
                Observe,
                Reconcile,
                Step::Restart,
                Observe,
                annotate("wait-for-state"),
                Reconcile,
                annotate("unknown"),
            ],
            4,
            ApiOutcome::Failed,
            vec![],
        ),
        // The last write of a migration fails, and the annotation does not say migrate any more.
        (
            vec![
                annotate("reconcile"),
                Observe,
                Reconcile,
                annotate("migrate"),
                Observe,
                Reconcile,
                annotate("reconcile"),
            ],
            10,
            ApiOutcome::Failed,
            vec![],
        ),
        // A request is withdrawn between our reading it and our saying that we have begun.
        (
            vec![
                annotate("migrate"),
                Observe,
                Reconcile,
                Step::ExternalEvent(ExternalEvent::ChangeSpec),
                annotate("unknown"),
            ],
            99,
            ApiOutcome::Served,
            vec![false, true],
        ),
    ];
    for (steps, call, fate, interruptions) in all {
        let mut api_outcomes = vec![ApiOutcome::Served; call];
        api_outcomes.push(fate);
        let history = History { steps, interruptions, api_outcomes, results: Vec::new() };
        let violations = run(&history);
        assert!(violations.is_empty(), "{history:?}: {}", violations.join("\n"));
    }
}

// PROPTEST_CASES asks for more.
proptest! {
    #[test]
    fn every_history_ends_as_the_contract_allows(history in history()) {
        let violations = run(&history);
        prop_assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}
