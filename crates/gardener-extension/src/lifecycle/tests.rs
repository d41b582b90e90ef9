//! From any Extension, any sequence of requests and any faults the engine ends in a state that the contract allows.

mod log_lines;

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{Act, FINALIZER, Fate, Shared, TYPE, Verdict, finalizers};
use super::*;
use crate::cache::{Cache, ClusterFacts, News};
use crate::config::ControllerConfig;

/// More looks than this, and it does not settle.
const LOOKS: usize = 300;

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
            tracks: Tracks::default(),
        };
        Self { lifecycle, cache, planned: Triggers::default() }
    }

    /// What the watches show by now.
    fn observe(&mut self, shared: &Shared) {
        let (extension, cluster_changed) = {
            let mut world = shared.world();
            (world.extension.clone(), std::mem::take(&mut world.cluster_changed))
        };
        if cluster_changed {
            self.plan(Trigger::Awaited);
        }
        match extension {
            Some(extension) => match self.cache.put_changed_extension(serde_json::from_value(extension).unwrap(), 1) {
                News::New => self.plan(Trigger::Seen),
                News::Changed => self.plan(Trigger::Changed),
                News::None => {}
                News::Old => unreachable!("it is the last"),
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

    /// One look, as a worker does it. Answers whether there was anything to look at.
    async fn look(&mut self, shared: &Shared) -> bool {
        // The periodic look is an hour away.
        let triggers = std::mem::take(&mut self.planned).without(Trigger::Resync);
        if triggers.is_empty() {
            return false;
        }
        {
            let mut world = shared.world();
            world.failed_throughout = world.shoot_failed;
        }
        if let Next::After(_, again) = self.lifecycle.look(&key(), triggers).await {
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
    Act(Act),
    Observe,
    Look,
    Restart,
}

/// What happens in the course of time, and how calls and work end.
#[derive(Clone, Debug)]
struct History {
    steps: Vec<Step>,
    interruptions: Vec<bool>,
    fates: Vec<Fate>,
    results: Vec<Verdict>,
}

fn history() -> impl Strategy<Value = History> {
    let act = prop_oneof![
        6 => prop_oneof![
            4 => Just("reconcile"), 1 => Just("restore"), 1 => Just("migrate"), 1 => Just("wait-for-state"), 1 => Just("unknown"),
        ].prop_map(Act::Ask),
        2 => Just(Act::Delete),
        1 => Just(Act::ChangeSpec),
        1 => any::<bool>().prop_map(Act::ForeignFinalizer),
        1 => any::<bool>().prop_map(Act::ShootFailed),
        1 => any::<bool>().prop_map(Act::ShootMigrating),
        1 => Just(Act::Force),
        1 => any::<bool>().prop_map(Act::Cluster),
    ];
    let step = prop_oneof![4 => act.prop_map(Step::Act), 4 => Just(Step::Observe), 5 => Just(Step::Look), 1 => Just(Step::Restart)];
    let fate = prop_oneof![
        8 => Just(Fate::Served), 1 => Just(Fate::Conflict), 1 => Just(Fate::Failed), 1 => Just(Fate::AnswerLost),
    ];
    let verdict = prop_oneof![
        3 => Just(Verdict::Done), 1 => Just(Verdict::Pending), 1 => Just(Verdict::Transient), 1 => Just(Verdict::Configuration),
    ];
    (
        proptest::collection::vec(step, 1..40),
        proptest::collection::vec(proptest::bool::weighted(0.15), 0..60),
        proptest::collection::vec(fate, 0..80),
        proptest::collection::vec(verdict, 0..12),
    )
        .prop_map(|(steps, interruptions, fates, results)| History { steps, interruptions, fates, results })
}

/// Plays the history, then lets everything get well, and waits until there is nothing to do any more.
async fn play(history: &History) -> Shared {
    let shared = Shared::default();
    {
        let mut world = shared.world();
        world.interruptions = history.interruptions.iter().copied().collect();
        world.fates = history.fates.iter().copied().collect();
        world.results = history.results.iter().copied().collect();
        // What interrupts a call comes out of the same history, from its end.
        world.acts = history
            .steps
            .iter()
            .rev()
            .filter_map(|step| if let Step::Act(act) = step { Some(*act) } else { None })
            .take(3)
            .collect();
    }
    let mut process = Process::start(&shared);
    for step in &history.steps {
        match step {
            Step::Act(act) => shared.world().act(*act),
            Step::Observe => process.observe(&shared),
            Step::Look => drop(process.look(&shared).await),
            Step::Restart => process = Process::start(&shared),
        }
    }
    {
        let mut world = shared.world();
        (world.interruptions, world.fates, world.results) = Default::default();
        for well in
            [Act::Cluster(true), Act::ShootFailed(false), Act::ShootMigrating(false), Act::ForeignFinalizer(false)]
        {
            world.act(well);
        }
    }
    for _ in 0..LOOKS {
        process.observe(&shared);
        if !process.look(&shared).await {
            return shared;
        }
    }
    shared.world().breaches.push(format!("it does not settle within {LOOKS} looks"));
    shared
}

/// What is wrong with the state at the end.
fn verdict(shared: &Shared) -> Vec<String> {
    let world = shared.world();
    let mut breaches = world.breaches.clone();
    let Some(extension) = &world.extension else { return breaches };
    let mut breach = |text: &str| breaches.push(format!("{text}: {extension}"));
    let last = &extension["status"]["lastOperation"];
    let is_last = |type_: &str, state: &str| last["type"] == type_ && last["state"] == state;
    let asked = extension["metadata"]["annotations"]["gardener.cloud/operation"].as_str();
    let ours = finalizers(extension).iter().any(|found| found == FINALIZER);
    if asked == Some("wait-for-state") {
        return breaches;
    }
    if matches!(asked, Some("reconcile" | "restore" | "migrate")) {
        breach("a request is not answered");
    }
    if is_last("Migrate", "Succeeded") {
        if ours {
            breach("it went to another seed with our finalizer");
        }
        return breaches;
    }
    if !extension["metadata"]["deletionTimestamp"].is_null() {
        // Nobody else holds it any more.
        breach("its deletion does not end");
        return breaches;
    }
    if last["state"] != "Succeeded" || last["progress"] != 100 {
        breach("the last operation is not complete");
    }
    if extension["status"].get("lastError").is_some_and(|error| *error != Value::Null) {
        breach("the error stands although it is over");
    }
    if !ours {
        breach("our finalizer is missing");
    }
    if world.provider_status.as_ref().is_some_and(|wanted| extension["status"]["providerStatus"] != *wanted) {
        breach("the providerStatus is not what the actuator wanted last");
    }
    let answered = world.done.is_some_and(|(operation, began)| {
        matches!(operation, Operation::Reconcile | Operation::Restore) && world.asked.is_none_or(|asked| began > asked)
    });
    if !answered {
        breach("the last request led to no work");
    }
    breaches
}

fn run(history: &History) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { verdict(&Box::pin(play(history)).await) })
}

/// What others' objects are like is told once, on the Extension, and holds up nothing.
#[tokio::test(start_paused = true)]
async fn a_shoot_with_an_odd_field_is_served_and_told_of_once() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    for _ in 0..3 {
        shared.world().act(Act::Ask("reconcile"));
        process.observe(&shared);
        let odd =
            serde_json::value::to_raw_value(&serde_json::json!({ "spec": { "hibernation": "hunter2" } })).unwrap();
        process.cache.put_cluster("ns", None, ClusterFacts::of(&Shoot::from_raw(&odd)), None);
        while process.look(&shared).await {
            process.observe(&shared);
        }
    }
    assert!(verdict(&shared).is_empty(), "{:?}", verdict(&shared));
    let told: Vec<_> = shared
        .world()
        .events
        .iter()
        .filter(|(reason, _)| reason == "Undecodable")
        .map(|(_, note)| note.clone())
        .collect();
    assert_eq!(told, ["the Shoot in Cluster ns is not of the shape that is known here: spec.hibernation"]);
}

/// Who asks has written the Cluster before; what begins by itself looks whether there is a newer one.
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
        shared.world().act(Act::Ask("reconcile"));
        process.observe(&shared);
        process.look(&shared).await;
        process.observe(&shared);
        assert_eq!(shared.world().reads, Vec::<String>::new());
    }
    process.plan(Trigger::External);
    process.look(&shared).await;
    // The one that is there has another version.
    let clusters = "/apis/extensions.gardener.cloud/v1alpha1/clusters/ns";
    assert_eq!(shared.world().reads, [clusters, "/api/v1/namespaces/ns", clusters]);
    assert!(verdict(&shared).is_empty(), "{:?}", verdict(&shared));
}

/// A status that the API refuses shows where it is looked for, once, and the work goes on when it is taken again.
#[tokio::test(start_paused = true)]
async fn a_refused_status_shows_as_an_event() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    shared.world().act(Act::Ask("reconcile"));
    shared.world().status_refused = true;
    for _ in 0..5 {
        process.observe(&shared);
        process.look(&shared).await;
    }
    let events = shared.world().events.clone();
    let told = events.iter().filter(|(reason, _)| reason == "StatusRefused").count();
    assert_eq!(told, 1, "{events:?}");
    shared.world().status_refused = false;
    while process.look(&shared).await {
        process.observe(&shared);
    }
    assert!(verdict(&shared).is_empty(), "{:?}", verdict(&shared));
}

/// Begun, and complete with the providerStatus; a later one takes no more.
#[tokio::test(start_paused = true)]
async fn operation_with_a_provider_status_takes_two_status_writes() {
    let shared = Shared::default();
    let mut process = Process::start(&shared);
    for writes in [2, 4, 6] {
        shared.world().act(Act::Ask("reconcile"));
        process.observe(&shared);
        while process.look(&shared).await {
            process.observe(&shared);
        }
        assert_eq!(shared.world().status_writes, writes);
    }
    assert!(verdict(&shared).is_empty(), "{:?}", verdict(&shared));
}

/// Histories that once ended badly.
#[test]
fn histories_that_were_found() {
    use Step::{Look, Observe};
    let ask = |operation| Step::Act(Act::Ask(operation));
    let failed = Step::Act(Act::ShootFailed(true));
    let all = [
        // What was cut off, and asked for again while the Shoot was failed, goes on when it is tried again.
        (
            vec![ask("reconcile"), Observe, ask("unknown"), Look, failed, Look, Observe, Look],
            6,
            Fate::AnswerLost,
            vec![],
        ),
        // What was cut off by the end of the process, while the Shoot was failed, too.
        (vec![ask("reconcile"), Observe, Look, Step::Restart, failed, Observe, Look], 4, Fate::Failed, vec![]),
        // The same while its state was waited for.
        (
            vec![ask("reconcile"), Observe, Look, Step::Restart, Observe, ask("wait-for-state"), Look, ask("unknown")],
            4,
            Fate::Failed,
            vec![],
        ),
        // The last write of a migration fails, and the annotation does not say migrate any more.
        (
            vec![ask("reconcile"), Observe, Look, ask("migrate"), Observe, Look, ask("reconcile")],
            10,
            Fate::Failed,
            vec![],
        ),
        // A request is withdrawn between our reading it and our saying that we have begun.
        (
            vec![ask("migrate"), Observe, Look, Step::Act(Act::ChangeSpec), ask("unknown")],
            99,
            Fate::Served,
            vec![false, true],
        ),
    ];
    for (steps, call, fate, interruptions) in all {
        let mut fates = vec![Fate::Served; call];
        fates.push(fate);
        let history = History { steps, interruptions, fates, results: Vec::new() };
        let breaches = run(&history);
        assert!(breaches.is_empty(), "{history:?}: {}", breaches.join("\n"));
    }
}

// PROPTEST_CASES asks for more.
proptest! {
    #[test]
    fn every_history_ends_as_the_contract_allows(history in history()) {
        let breaches = run(&history);
        prop_assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    }
}
