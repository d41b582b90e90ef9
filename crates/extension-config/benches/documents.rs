//! How long a configuration takes to be checked, beside the YAML library alone, which is the floor: `cargo xtask bench core`.

#![expect(clippy::print_stdout, clippy::panic, reason = "a program for people")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use extension_config::{cri_resmgr, limits};

/// Runs of each; the quickest counts, because what disturbs a run only makes it longer.
const RUNS: usize = 50;

fn main() {
    println!("| document | KiB | YAML alone (floor) | check | ratio | MB/s |\n|---|---|---|---|---|---|");
    for (name, text) in [("small", small()), ("balloon types", balloons()), ("the same as JSON", as_json(&balloons()))]
    {
        let floor = quickest(|| drop(black_box(serde_saphyr::from_str::<serde_json::Value>(&text))));
        let ours = quickest(|| {
            if let Err(findings) = black_box(cri_resmgr::check(&text)) {
                panic!("{name}: {findings:?}");
            }
        });
        println!(
            "| {name} | {:.1} | {floor:.2?} | {ours:.2?} | {:.2} × | {:.1} |",
            kib(&text),
            ours.as_secs_f64() / floor.as_secs_f64(),
            megabytes(&text) / ours.as_secs_f64(),
        );
    }
}

fn quickest(mut run: impl FnMut()) -> Duration {
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn small() -> String {
    "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {PinCPU: true}}\n".to_owned()
}

/// As many types as may stand in one document.
fn balloons() -> String {
    let mut text =
        "policy:\n  Active: balloons\n  ReservedResources: {CPU: 1}\n  balloons:\n    BalloonTypes:\n".to_owned();
    let mut line = String::new();
    for index in 0.. {
        line.clear();
        let written =
            writeln!(line, "    - {{Name: type-{index}, MinCPUs: 0, MaxCPUs: 1, Namespaces: [namespace-{index}]}}");
        if written.is_err() || text.len() + line.len() > limits::CONFIGURATION_BYTES - 1024 {
            break;
        }
        text += &line;
    }
    text
}

fn as_json(text: &str) -> String {
    match cri_resmgr::canonical(text) {
        Ok(text) => text,
        Err(findings) => panic!("{findings:?}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a text of some KiB")]
fn megabytes(text: &str) -> f64 {
    text.len() as f64 / 1e6
}

fn kib(text: &str) -> f64 {
    megabytes(text) * 1e6 / 1024.0
}
