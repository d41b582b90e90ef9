//! Running the rows, many at a time: they mostly wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::stream::{self, StreamExt as _};
use sandbox::Binaries;
use testbed::wait_for;
use tokio::sync::Mutex;

use crate::operation::Operation;
use crate::row::{FaultKind, Row, Scenario, rows};
use crate::tracer::{Seen, Watch};
use crate::worker_node::{Goal, WorkerNode};

/// How long an agent may take to come to the place where something is to go wrong, and to complain of it.
const UNTIL_INJECTED: Duration = Duration::from_secs(180);

/// How the matrix is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The programs.
    pub binaries: Binaries,
    /// Run only every n-th row.
    pub stride: usize,
    /// No row is begun after this.
    pub time: Duration,
    /// So many rows at a time.
    pub worker_nodes: usize,
    /// Places of rows that held in an earlier run, and their [`Outcome::more_restarts`]: they count and are not run again.
    pub held: BTreeMap<String, i64>,
}

/// How a row ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Scenario, fault and place: the row's name, the same in each run.
    pub place: String,
    /// The operation that the fault was injected at; empty for a row of an earlier run.
    pub injected_at: String,
    /// Restarts of kubelet beyond those of an undisturbed run.
    pub more_restarts: i64,
    /// Why the row does not hold.
    pub failure: Option<String>,
    scenario: Scenario,
    fault_kind: FaultKind,
}

/// All rows.
#[derive(Debug, Clone)]
pub struct Report {
    /// How each ended.
    pub outcomes: Vec<Outcome>,
    /// Rows that there was no time for.
    pub left_out: usize,
    recorded: BTreeMap<Scenario, Recorded>,
    /// How long it took.
    pub took: Duration,
}

/// An undisturbed run.
#[derive(Debug, Clone, Default)]
struct Recorded {
    operations: Vec<Operation>,
    restarts: i64,
}

impl Outcome {
    fn of(row: &Row) -> Self {
        let (scenario, fault_kind) = (row.scenario, row.fault_kind);
        Self {
            place: row.to_string(),
            injected_at: String::new(),
            more_restarts: 0,
            failure: None,
            scenario,
            fault_kind,
        }
    }
}

impl Report {
    /// Rows that do not hold.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// The matrix as a table of Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let fault_kinds: String = FaultKind::ALL.map(|fault_kind| format!(" {fault_kind} |")).concat();
        let lines = self.recorded.iter().map(|(scenario, recorded)| {
            let calls = recorded.operations.iter().filter(|operation| operation.kind.is_on_the_bus()).count();
            let held = FaultKind::ALL.map(|fault_kind| self.held(*scenario, fault_kind)).concat();
            format!("\n| {scenario:?} | {} | {calls} |{held}", recorded.operations.len() - calls)
        });
        let head = format!("| scenario | operations on files | calls of systemd |{fault_kinds}\n|---|---|---|");
        let rule = "---|".repeat(FaultKind::ALL.len());
        [head, rule].into_iter().chain(lines).collect()
    }

    /// One cell.
    fn held(&self, scenario: Scenario, fault_kind: FaultKind) -> String {
        let of = |outcome: &&Outcome| outcome.scenario == scenario && outcome.fault_kind == fault_kind;
        let all = self.outcomes.iter().filter(of).count();
        let held = self.outcomes.iter().filter(of).filter(|outcome| outcome.failure.is_none()).count();
        format!(" {held} of {all} |")
    }
}

/// Runs the matrix. `progress` is called with each row that has ended.
///
/// # Errors
/// When an undisturbed run fails, or no worker node can be made. A row that does not hold is no error: see [`Report::failures`].
pub async fn run(options: &Options, progress: impl Fn(&Outcome)) -> anyhow::Result<Report> {
    let start = Instant::now();
    let recordings = Scenario::ALL.map(|scenario| record(&options.binaries, scenario));
    let recorded: BTreeMap<Scenario, Recorded> =
        Scenario::ALL.into_iter().zip(futures::future::try_join_all(recordings).await?).collect();
    let mut all: Vec<Row> = Vec::new();
    for (scenario, recorded) in &recorded {
        all.extend(rows(*scenario, &recorded.operations, options.stride));
    }
    // Should the time be too short, then some of each kind were run: the order looks like a random one, but is the same each time.
    let count = all.len();
    let (mut outcomes, mut all) = former(options, all);
    all.sort_by_cached_key(|row| spread(row.at, row.scenario as usize, row.fault_kind as usize));
    // A worker node is used again by the next row, unless a row has damaged it.
    let idle: Arc<Mutex<Vec<WorkerNode>>> = Arc::default();
    let progress = &progress;
    let ended: Vec<Outcome> = stream::iter(all)
        .take_while(|_| std::future::ready(start.elapsed() < options.time))
        .map(|row| {
            let (idle, restarts) = (Arc::clone(&idle), recorded[&row.scenario].restarts);
            async move {
                let outcome = on_a_worker_node(options, &idle, &row, restarts).await;
                progress(&outcome);
                outcome
            }
        })
        .buffer_unordered(options.worker_nodes.max(1))
        .collect()
        .await;
    for worker_node in idle.lock().await.drain(..) {
        worker_node.down().await;
    }
    outcomes.extend(ended);
    Ok(Report { left_out: count - outcomes.len(), outcomes, recorded, took: start.elapsed() })
}

/// Outcomes that are known, and rows that are to be run.
fn former(options: &Options, all: Vec<Row>) -> (Vec<Outcome>, Vec<Row>) {
    let (mut known, mut left) = (Vec::new(), Vec::new());
    for row in all {
        match options.held.get(&row.to_string()) {
            Some(more_restarts) => known.push(Outcome { more_restarts: *more_restarts, ..Outcome::of(&row) }),
            None => left.push(row),
        }
    }
    (known, left)
}

/// Multiplicative hashing by the golden ratio.
fn spread(at: usize, scenario: usize, fault_kind: usize) -> u32 {
    let number =
        u32::try_from((at * Scenario::ALL.len() + scenario) * FaultKind::ALL.len() + fault_kind).unwrap_or(u32::MAX);
    number.wrapping_mul(0x9E37_79B1)
}

/// What the agent does when nothing goes wrong.
async fn record(binaries: &Binaries, scenario: Scenario) -> anyhow::Result<Recorded> {
    let worker_node = WorkerNode::up(binaries).await?;
    scenario.prepare(&worker_node).await?;
    let [starts, ..] = worker_node.starts();
    let agent = worker_node.start(scenario.goal(), Watch::See, None)?;
    worker_node
        .until_reached(&agent, scenario.goal())
        .await
        .with_context(|| format!("undisturbed {scenario:?}\n{}", worker_node.explain()))?;
    agent.tracee.stop().await;
    let operations = agent.tracee.seen().borrow().operations.clone();
    if !scenario.leaves_a_clean_node() {
        worker_node.reach(Goal::REMOVED).await?;
    }
    let recorded = Recorded { operations, restarts: since(&worker_node, starts)? };
    worker_node.down().await;
    Ok(recorded)
}

fn since(worker_node: &WorkerNode, starts: u64) -> anyhow::Result<i64> {
    let [now, ..] = worker_node.starts();
    Ok(i64::try_from(now)? - i64::try_from(starts)?)
}

async fn on_a_worker_node(options: &Options, idle: &Mutex<Vec<WorkerNode>>, row: &Row, restarts: i64) -> Outcome {
    let mut outcome = Outcome::of(row);
    let found = idle.lock().await.pop();
    let worker_node = match found {
        Some(worker_node) => worker_node,
        None => match WorkerNode::up(&options.binaries).await {
            Ok(worker_node) => worker_node,
            Err(error) => return Outcome { failure: Some(format!("no node: {error:#}")), ..outcome },
        },
    };
    match carry_out(&worker_node, row).await {
        Ok((injected_at, counted)) => {
            outcome.injected_at = injected_at;
            outcome.more_restarts = counted - restarts;
            idle.lock().await.push(worker_node);
        }
        Err(error) => {
            outcome.failure = Some(format!("{error:#}\n{}", worker_node.explain()));
            worker_node.down().await;
        }
    }
    outcome
}

/// Carries out a row on a clean node, which is clean again afterwards. Gives the operation that the fault was injected at, and restarts of kubelet.
async fn carry_out(worker_node: &WorkerNode, row: &Row) -> anyhow::Result<(String, i64)> {
    let goal = row.scenario.goal();
    row.scenario.prepare(worker_node).await.context("before the row")?;
    let [starts, ..] = worker_node.starts();
    let agent = worker_node.start(goal, Watch::Inject(row.fault_kind.fault(row.at)), None)?;
    let mut seen = agent.tracee.seen();
    // A run with fewer calls of systemd than the recorded one may be over before.
    let injected_at = |seen: &Seen| !seen.injected_at.is_empty() || seen.ended;
    let reached = tokio::select! {
        _ = seen.wait_for(injected_at) => false,
        reached = worker_node.until_reached(&agent, goal) => reached.map(|()| true).context("before anything went wrong")?,
    };
    if row.fault_kind == FaultKind::Killed && !reached {
        drop(seen.wait_for(|seen| seen.ended).await);
        worker_node.until_runtime().await.context("after the agent was killed")?;
        worker_node.reach(goal).await.context("by the next agent")?;
    } else {
        if row.fault_kind.lasts() && !reached {
            wait_for("the agent to complain", UNTIL_INJECTED, || async { Ok(agent.says().await.err()) }).await?;
            worker_node.until_runtime().await.context("while the fault lasts")?;
            agent.tracee.lift();
        }
        worker_node.until_reached(&agent, goal).await.context("by the same agent")?;
        agent.tracee.stop().await;
    }
    ensure!(reached || !seen.borrow().injected_at.is_empty(), "nothing went wrong");
    let injected_at =
        seen.borrow().injected_at.first().map_or_else(|| "not reached in this run".to_owned(), Operation::to_string);
    if !row.scenario.leaves_a_clean_node() {
        worker_node.reach(Goal::REMOVED).await.context("afterwards, to be removed")?;
    }
    Ok((injected_at, since(worker_node, starts)?))
}
