//! What it took: time, memory and calls of the APIs.

use std::time::Duration;

use sandbox::Sandbox;

use crate::terminal::say;

const MEBIBYTE: u64 = 1 << 20;

/// Steps and how long each took.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<(&'static str, Duration)>);

impl Figures {
    pub(super) fn step(&mut self, what: &'static str, took: Duration) {
        self.0.push((what, took));
    }

    /// Prints everything.
    pub(super) fn show(&self, sandbox: &Sandbox, took: Duration, nodes: usize) -> anyhow::Result<()> {
        say("\nwhat it took");
        for (what, time) in self.0.iter().chain([&("all", took)]) {
            say(&format!("  {what:<26} {:>7.1} s", time.as_secs_f64()));
        }
        let (controller, own) = sandbox.peak_memory()?;
        say(&format!("  {:<26} {:>7} MiB at most", "controller", controller.div_ceil(MEBIBYTE)));
        let what = "agents, nodes and stand-ins";
        say(&format!("  {what:<26} {:>6} MiB at most", own.div_ceil(MEBIBYTE)));
        for (what, api) in [("seed", &sandbox.seed), ("shoot", &sandbox.shoot)] {
            let verbs: Vec<String> = api.requests_by_verb().map(|(verb, count)| format!("{verb} {count}")).collect();
            say(&format!("  calls of the {what}'s API {:>11}: {}", api.requests(), verbs.join(", ")));
        }
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let each = sandbox.shoot.requests() as f64 / nodes as f64;
        say(&format!("  of the shoot's API for each node {each:>4.1}"));
        Ok(())
    }
}
