//! The short cut of `cargo xtask soak --only crash-matrix` and `--only agent-restarts`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crash_matrix::{Options, Outcome, restarts, run};
use sandbox::Binaries;

/// Every n-th row of each scenario.
const STRIDE: usize = 47;
const WORKER_NODES: usize = 24;
/// Never too short for the few rows.
const LONGEST: Duration = Duration::from_secs(1200);
const AGENTS: usize = 10;

fn binaries() -> Binaries {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    Binaries::build(&root).unwrap()
}

fn report_outcome(outcome: &Outcome) {
    let verdict = outcome.failure.as_deref().map_or_else(|| "ok".to_owned(), |why| format!("FAILED: {why}"));
    println!("{}: {}: {verdict}", outcome.place, outcome.injected_at);
}

#[tokio::test]
#[ignore = "minutes: run by `cargo xtask test --real`"]
async fn an_agent_killed_or_failed_at_sampled_operations_converges() {
    let options = Options {
        binaries: binaries(),
        stride: STRIDE,
        time: LONGEST,
        worker_nodes: WORKER_NODES,
        held: BTreeMap::new(),
    };
    let report = run(&options, report_outcome).await.unwrap();
    println!("{}\n{:.0?}", report.table(), report.took);
    assert!(report.outcomes.len() > 20, "{} rows", report.outcomes.len());
    assert_eq!(report.left_out, 0);
    assert_eq!(report.failures().count(), 0);
}

#[tokio::test]
#[ignore = "minutes: run by `cargo xtask test --real`"]
async fn agents_that_are_replaced_again_and_again_restart_nothing() {
    println!("{}", restarts(&binaries(), AGENTS).await.unwrap());
}
