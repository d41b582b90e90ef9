//! Watching many nodes: how many are in which stage, as lines of what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::bail;
use extension_config::names;
use sandbox::{NodeReport, Sandbox};

use crate::terminal::say;

/// Between two checks: the shorter, the more of the processor goes into looking.
const INTERVAL: Duration = Duration::from_millis(500);
/// Between two lines.
const LINE: Duration = Duration::from_secs(2);
/// After so long without any last_change nothing more will come.
const SILENCE: Duration = Duration::from_secs(120);

/// What the agents reported last, by node.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<String, NodeReport>);

impl Reports {
    /// A node's stage; empty before its agent reported anything.
    pub(super) fn stage(&self, node: &str) -> &str {
        self.0.get(node).map_or("", |report| report.stage.as_str())
    }

    /// Whether a node is as this desired state wants it.
    pub(super) fn is_installed(&self, node: &str, desired: &str) -> bool {
        self.0.get(node).is_some_and(|report| report.stage == "Installed" && report.desired == desired)
    }

    fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for report in self.0.values() {
            *counts.entry(report.stage.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Looks at the nodes of a sandbox.
pub(super) struct Watch<'a> {
    sandbox: &'a Sandbox,
    start: Instant,
    most_at_a_time: usize,
    desired: BTreeSet<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn begin(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, start: Instant::now(), most_at_a_time: 0, desired: BTreeSet::new() }
    }

    /// The most holders of a slot that were seen at a time.
    pub(super) fn most_at_a_time(&self) -> usize {
        self.most_at_a_time
    }

    /// Hashes of the desired states that reports were about so far.
    pub(super) fn desired(&self) -> &BTreeSet<String> {
        &self.desired
    }

    /// Prints how many nodes are where until something is so; gives the nodes' stages then. Ends with an error when nothing happens any more.
    pub(super) async fn until(
        &mut self,
        what: &str,
        is_so: impl Fn(&Reports) -> bool,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let mut reported = String::new();
        let (mut at, mut last_change) = (None::<Instant>, Instant::now());
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let reports = self.read_reports();
            let is_done = is_so(&reports);
            let counts = line(&reports);
            if counts != reported && (is_done || at.is_none_or(|at| at.elapsed() >= LINE)) {
                say(&format!("[{:>6.1}s] {counts}", self.start.elapsed().as_secs_f64()));
                reported = counts;
                (at, last_change) = (Some(Instant::now()), Instant::now());
            }
            if is_done {
                return Ok(reports.0.into_iter().map(|(node, report)| (node, report.stage)).collect());
            }
            if last_change.elapsed() > SILENCE {
                bail!("timed out waiting for {what}: {}", line(&reports));
            }
        }
    }

    fn read_reports(&mut self) -> Reports {
        let holders = self.holders();
        self.most_at_a_time = self.most_at_a_time.max(holders);
        let mut reports = Reports::default();
        self.sandbox.each_report(|node, report| {
            if !self.desired.contains(&report.desired) {
                self.desired.insert(report.desired.clone());
            }
            reports.0.insert(node.to_owned(), report);
        });
        reports
    }

    /// How many hold a slot now.
    fn holders(&self) -> usize {
        let store = self.sandbox.shoot.store();
        let lease = store.get("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE, names::SWITCH_LEASE);
        let record =
            lease.as_ref().and_then(|lease| lease["metadata"]["annotations"][names::SWITCHES_ANNOTATION].as_str());
        let record: Option<serde_json::Value> = record.and_then(|text| serde_json::from_str(text).ok());
        record.and_then(|record| record["holders"].as_array().map(Vec::len)).unwrap_or_default()
    }
}

fn line(reports: &Reports) -> String {
    let counts: Vec<String> = reports.counts().iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    if counts.is_empty() { "no agent has reported anything yet".to_owned() } else { counts.join(", ") }
}
