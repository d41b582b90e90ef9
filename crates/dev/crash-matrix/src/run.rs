//! Running the rows, many at a time: they mostly wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::stream::{self, StreamExt as _};
use sandbox::Binaries;
use testbed::wait_for;
use tokio::sync::Mutex;

use crate::lane::{Goal, Lane};
use crate::operation::Operation;
use crate::row::{Mishap, Row, Scenario, rows};
use crate::tracer::{Seen, Watch};

/// How long an agent may take to come to the place where something is to go wrong, and to complain of it.
const UNTIL_STRUCK: Duration = Duration::from_secs(180);

/// How the matrix is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The programs.
    pub binaries: Binaries,
    /// Every so-manieth row only.
    pub stride: usize,
    /// No row is begun after this.
    pub time: Duration,
    /// So many rows at a time.
    pub lanes: usize,
    /// Places of rows that held in an earlier run, and their [`Outcome::more_restarts`]: they count and are not run again.
    pub held: BTreeMap<String, i64>,
}

/// How a row ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Scenario, mishap and place: the row's name, the same in each run.
    pub place: String,
    /// What the mishap struck; empty for a row of an earlier run.
    pub struck: String,
    /// Restarts of kubelet beyond those of an undisturbed run.
    pub more_restarts: i64,
    /// Why the row does not hold.
    pub failure: Option<String>,
    scenario: Scenario,
    mishap: Mishap,
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
        let (scenario, mishap) = (row.scenario, row.mishap);
        Self { place: row.to_string(), struck: String::new(), more_restarts: 0, failure: None, scenario, mishap }
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
        let mishaps: String = Mishap::ALL.map(|mishap| format!(" {mishap} |")).concat();
        let lines = self.recorded.iter().map(|(scenario, recorded)| {
            let calls = recorded.operations.iter().filter(|operation| operation.kind.is_on_the_bus()).count();
            let held = Mishap::ALL.map(|mishap| self.held(*scenario, mishap)).concat();
            format!("\n| {scenario:?} | {} | {calls} |{held}", recorded.operations.len() - calls)
        });
        let head = format!("| scenario | operations on files | calls of systemd |{mishaps}\n|---|---|---|");
        let rule = "---|".repeat(Mishap::ALL.len());
        [head, rule].into_iter().chain(lines).collect()
    }

    /// One cell.
    fn held(&self, scenario: Scenario, mishap: Mishap) -> String {
        let of = |outcome: &&Outcome| outcome.scenario == scenario && outcome.mishap == mishap;
        let all = self.outcomes.iter().filter(of).count();
        let held = self.outcomes.iter().filter(of).filter(|outcome| outcome.failure.is_none()).count();
        format!(" {held} of {all} |")
    }
}

/// Runs the matrix. `progress` is called with each row that has ended.
///
/// # Errors
/// When an undisturbed run fails, or no lane can be made. A row that does not hold is no error: see [`Report::failures`].
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
    all.sort_by_cached_key(|row| spread(row.at, row.scenario as usize, row.mishap as usize));
    // A lane is used again by the next row, unless a row has spoiled it.
    let idle: Arc<Mutex<Vec<Lane>>> = Arc::default();
    let progress = &progress;
    let ended: Vec<Outcome> = stream::iter(all)
        .take_while(|_| std::future::ready(start.elapsed() < options.time))
        .map(|row| {
            let (idle, restarts) = (Arc::clone(&idle), recorded[&row.scenario].restarts);
            async move {
                let outcome = on_a_lane(options, &idle, &row, restarts).await;
                progress(&outcome);
                outcome
            }
        })
        .buffer_unordered(options.lanes.max(1))
        .collect()
        .await;
    for lane in idle.lock().await.drain(..) {
        lane.down().await;
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
fn spread(at: usize, scenario: usize, mishap: usize) -> u32 {
    let number = u32::try_from((at * Scenario::ALL.len() + scenario) * Mishap::ALL.len() + mishap).unwrap_or(u32::MAX);
    number.wrapping_mul(0x9E37_79B1)
}

/// What the agent does when nothing goes wrong.
async fn record(binaries: &Binaries, scenario: Scenario) -> anyhow::Result<Recorded> {
    let lane = Lane::up(binaries).await?;
    scenario.prepare(&lane).await?;
    let [starts, ..] = lane.starts();
    let agent = lane.start(scenario.goal(), Watch::See, None)?;
    lane.until_reached(&agent, scenario.goal())
        .await
        .with_context(|| format!("undisturbed {scenario:?}\n{}", lane.explain()))?;
    agent.tracee.stop().await;
    let operations = agent.tracee.seen().borrow().operations.clone();
    if !scenario.leaves_a_clean_node() {
        lane.reach(Goal::REMOVED).await?;
    }
    let recorded = Recorded { operations, restarts: since(&lane, starts)? };
    lane.down().await;
    Ok(recorded)
}

fn since(lane: &Lane, starts: u64) -> anyhow::Result<i64> {
    let [now, ..] = lane.starts();
    Ok(i64::try_from(now)? - i64::try_from(starts)?)
}

async fn on_a_lane(options: &Options, idle: &Mutex<Vec<Lane>>, row: &Row, restarts: i64) -> Outcome {
    let mut outcome = Outcome::of(row);
    let found = idle.lock().await.pop();
    let lane = match found {
        Some(lane) => lane,
        None => match Lane::up(&options.binaries).await {
            Ok(lane) => lane,
            Err(error) => return Outcome { failure: Some(format!("no node: {error:#}")), ..outcome },
        },
    };
    match carry_out(&lane, row).await {
        Ok((struck, counted)) => {
            outcome.struck = struck;
            outcome.more_restarts = counted - restarts;
            idle.lock().await.push(lane);
        }
        Err(error) => {
            outcome.failure = Some(format!("{error:#}\n{}", lane.explain()));
            lane.down().await;
        }
    }
    outcome
}

/// Carries out a row on a clean node, which is clean again afterwards. Gives what was struck, and restarts of kubelet.
async fn carry_out(lane: &Lane, row: &Row) -> anyhow::Result<(String, i64)> {
    let goal = row.scenario.goal();
    row.scenario.prepare(lane).await.context("before the row")?;
    let [starts, ..] = lane.starts();
    let agent = lane.start(goal, Watch::Spoil(row.mishap.fault(row.at)), None)?;
    let mut seen = agent.tracee.seen();
    // A run with fewer calls of systemd than the recorded one may be over before.
    let struck = |seen: &Seen| !seen.struck.is_empty() || seen.ended;
    let reached = tokio::select! {
        _ = seen.wait_for(struck) => false,
        reached = lane.until_reached(&agent, goal) => reached.map(|()| true).context("before anything went wrong")?,
    };
    if row.mishap == Mishap::Killed && !reached {
        drop(seen.wait_for(|seen| seen.ended).await);
        lane.until_runtime().await.context("after the agent was killed")?;
        lane.reach(goal).await.context("by the next agent")?;
    } else {
        if row.mishap.lasts() && !reached {
            wait_for("the agent to complain", UNTIL_STRUCK, || async { Ok(agent.says().await.err()) }).await?;
            lane.until_runtime().await.context("while the fault lasts")?;
            agent.tracee.lift();
        }
        lane.until_reached(&agent, goal).await.context("by the same agent")?;
        agent.tracee.stop().await;
    }
    ensure!(reached || !seen.borrow().struck.is_empty(), "nothing went wrong");
    let struck =
        seen.borrow().struck.first().map_or_else(|| "not reached in this run".to_owned(), Operation::to_string);
    if !row.scenario.leaves_a_clean_node() {
        lane.reach(Goal::REMOVED).await.context("afterwards, to be removed")?;
    }
    Ok((struck, since(lane, starts)?))
}
