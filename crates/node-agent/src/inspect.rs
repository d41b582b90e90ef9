//! `status` and `plan`: look, and do nothing.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use extension_config::desired_state::{self, DesiredState};
use extension_config::node_status::{HoldStatus, NodeStatus, RestartStatus, TakenStep, UnitStatus};
use host::HostRoot;
use node_plan::{Backend, BackendSpec, Desired, NodePolicy, Observed, Plan, Target, Unit};
use observability::ErrorChain;
use tokio::sync::watch;

use crate::cli::{NodeOptions, OutputFormat, StatusOptions};
use crate::desired_file::DesiredFile;
use crate::dynamic::policy_watches;
use crate::effects::EffectError;
use crate::observe::observe;
use crate::payload::PayloadBinaries;
use crate::policies::{FoundPolicy, policies};
use crate::real::{Placed, RealNode};
use crate::shoot::ShootApi;
use crate::{recent, report};

/// Longest wait for the API server's word about the node's policy.
const POLICY: Duration = Duration::from_secs(5);
/// Longest time for a look at all containers.
const PLACED: Duration = Duration::from_secs(20);

struct Observation {
    node: String,
    hash: String,
    phase: &'static str,
    observed: Observed,
    plan: Plan,
    desired: Desired,
    placed: Result<Placed, EffectError>,
}

async fn observe_once(options: &NodeOptions) -> anyhow::Result<Observation> {
    let mounted = DesiredFile::of(options).read()?;
    let binaries = PayloadBinaries::load(&options.payload, &options.gate)?;
    let root = HostRoot::open(&options.host_root)?;
    let shoot = Rc::new(ShootApi::connect(options.node_name.clone(), options.kubeconfig.as_deref()).await);
    let (_stop, stopping) = watch::channel(false);
    let mut node = RealNode::new(root, binaries.clone(), Rc::clone(&shoot), stopping, None);
    let labels = shoot.labels().await;
    let mut observed = observe(&mut node).await.context("look at the node")?;
    // Steps that take a slot are shown, too.
    observed.slot = node_plan::Slot::Held;
    let policy = policy(&options.node_name, &shoot, &mounted.state).await;
    let programs = &binaries.programs;
    let desired = Desired::decide(&mounted.state, labels.as_ref(), observed.journal.as_ref(), programs, &policy);
    let plan = node_plan::plan(&observed, &desired);
    let placed = match tokio::time::timeout(PLACED, node.placed()).await {
        Ok(placed) => placed,
        Err(_elapsed) => Err(EffectError::Slow),
    };
    Ok(Observation {
        placed,
        node: options.node_name.clone(),
        phase: mounted.state.phase.as_str(),
        hash: mounted.hash,
        observed,
        plan,
        desired,
    })
}

/// The node's policy, if it is known within [`POLICY`].
async fn policy(node: &str, shoot: &ShootApi, state: &DesiredState) -> NodePolicy {
    let (source, following) = policies(node);
    let found = source.policy(state);
    let (desired_state::Backend::NriPlugins(_), Some(client)) = (&state.backend, shoot.client()) else { return found };
    let mut changes = source.changes();
    let known = async { drop(changes.wait_for(|found| *found != FoundPolicy::Awaited).await) };
    tokio::select! {
        () = following.run(|| policy_watches(client, node)) => {}
        () = known => {}
        () = tokio::time::sleep(POLICY) => {}
    }
    source.policy(state)
}

/// Prints what is observed and what is desired.
pub(crate) async fn status(options: &StatusOptions) -> anyhow::Result<()> {
    let observation = observe_once(&options.node).await?;
    let mut out = std::io::stdout().lock();
    if options.output == OutputFormat::Json {
        let taken = recent::read(&options.node.recent_steps);
        serde_json::to_writer(&mut out, &node_status(&observation, taken)).context("write the status")?;
        return Ok(writeln!(out)?);
    }
    let desired = desired_words(&observation.desired);
    writeln!(out, "desired    {desired} (desired state {})", observation.hash)?;
    writeln!(out, "stage      {}", report::stage(&observation.plan).as_str())?;
    for hold in &observation.plan.holds {
        writeln!(out, "held       {hold}")?;
    }
    let observed = &observation.observed;
    for (name, unit) in units(observed) {
        writeln!(out, "{name:<10} {} {}/{}", unit.load_state, unit.active_state, unit.sub_state)?;
    }
    let endpoint = observed.kubelet.endpoint().map_or_else(|| "nothing".to_owned(), |endpoint| endpoint.to_string());
    writeln!(out, "endpoint   kubelet runs on {endpoint}; our override is {}loaded", not(observed.override_loaded()))?;
    writeln!(out, "proxy      {}", if observed.proxy_answers { "answers" } else { "does not answer" })?;
    writeln!(out, "containerd {}", if observed.containerd_answers { "answers" } else { "does not answer" })?;
    let journal = observed.journal.as_ref();
    writeln!(out, "journal    {}, {} recent restarts", report::phase_word(journal), report::restarts(journal))?;
    for (path, entry) in &observed.entries {
        if !entry.is_absent() {
            writeln!(out, "there      {path}")?;
        }
    }
    Ok(())
}

fn desired_words(desired: &Desired) -> String {
    match desired {
        Desired::Installed(installation) => match &installation.backend {
            BackendSpec::Proxy(_) => "kubelet runs through cri-resmgr".to_owned(),
            BackendSpec::Plugin(plugin) => format!("a policy of nri-plugins places the containers: {}", plugin.kind),
        },
        Desired::Clean { because } => format!("clean: {because}"),
        Desired::Undecided { because } => format!("undecided: {because}"),
    }
}

fn units(observed: &Observed) -> [(&'static str, &Unit); 5] {
    [
        ("kubelet", &observed.kubelet.unit),
        ("cri-resmgr", &observed.daemon),
        ("guard", &observed.guard),
        ("timer", &observed.timer),
        ("policy", &observed.plugin.unit),
    ]
}

/// The same for programs, with the steps.
fn node_status(observation: &Observation, taken: Vec<TakenStep>) -> NodeStatus {
    let Observation { node, hash, phase, observed, plan, desired, placed } = observation;
    let journal = observed.journal.as_ref();
    let hold = |hold: &node_plan::Hold| HoldStatus { code: hold.code().as_str().to_owned(), message: hold.to_string() };
    let unit = |(name, unit): (&str, &Unit)| UnitStatus {
        name: name.to_owned(),
        load: unit.load_state.clone(),
        active: unit.active_state.clone(),
        sub: unit.sub_state.clone(),
        restarts: unit.n_restarts,
    };
    let restarts = journal.map(|journal| journal.restarts.as_slice()).unwrap_or_default();
    NodeStatus {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.clone(),
        stage: report::stage(plan),
        desired: desired_words(desired),
        desired_state: hash.clone(),
        phase: (*phase).to_owned(),
        holds: plan.holds.iter().map(hold).collect(),
        steps: plan.steps.iter().map(recent::reported).collect(),
        units: units(observed).map(unit).to_vec(),
        kubelet_endpoint: observed.kubelet.endpoint().map(|endpoint| endpoint.to_string()),
        override_loaded: observed.override_loaded(),
        proxy_answers: observed.proxy_answers,
        containerd_answers: observed.containerd_answers,
        runtime: observed.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version)),
        journal: report::phase_word(journal).to_owned(),
        restarts: restarts
            .iter()
            .map(|restart| RestartStatus { at: restart.at, cause: restart.cause.as_str().to_owned() })
            .collect(),
        files: observed.entries.iter().filter(|(_, entry)| !entry.is_absent()).map(|(path, _)| path.clone()).collect(),
        taken,
        containers: placed.as_ref().map_or_else(|_| Vec::new(), |placed| placed.containers.clone()),
        containers_left_out: placed.as_ref().map_or(0, |placed| placed.left_out),
        unknown: placed.as_ref().err().map(|error| format!("containers: {}", ErrorChain(error))).into_iter().collect(),
    }
}

fn not(yes: bool) -> &'static str {
    if yes { "" } else { "not " }
}

/// Prints the steps.
pub(crate) async fn plan(options: &NodeOptions) -> anyhow::Result<()> {
    let observation = observe_once(options).await?;
    let mut out = std::io::stdout().lock();
    for hold in &observation.plan.holds {
        writeln!(out, "held: {hold}")?;
    }
    if observation.plan.steps.is_empty() {
        writeln!(out, "nothing to do")?;
    }
    for (number, step) in observation.plan.steps.iter().enumerate() {
        let restarts = match step.action.restarts() {
            node_plan::Restarts::Nothing => "",
            node_plan::Restarts::Daemon => " [cri-resmgr]",
            node_plan::Restarts::Kubelet => " [kubelet]",
        };
        writeln!(out, "{:>3}. {}{restarts}\n     because {}", number + 1, step.action, step.evidence)?;
    }
    if let Some(then) = afterwards(&observation) {
        writeln!(out, "{then}")?;
    }
    Ok(())
}

/// What follows a plan that begins a change of backend: each of its parts is planned when the one before has proven itself.
fn afterwards(observation: &Observation) -> Option<String> {
    let Desired::Installed(installation) = &observation.desired else { return None };
    let handover = installation.handover.as_ref().filter(|_| observation.plan.target == Target::Installed)?;
    let has_former = observation.observed.journal.as_ref().is_some_and(|journal| journal.has(handover.from));
    has_former.then(|| {
        let kubelet = match handover.from {
            Backend::Proxy => "kubelet is restarted onto containerd, and ",
            Backend::Plugin => "",
        };
        format!(
            "then: {kubelet}{} is taken away, if all of that has proven itself\nnot looked at here: ConfigMaps and Adjustments that somebody made by hand, which hold the node",
            handover.from.name()
        )
    })
}
