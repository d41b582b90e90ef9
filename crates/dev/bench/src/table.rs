//! The figures as tables for people, in Markdown. Pure.

use std::fmt::Write as _;

use crate::figures::{Figures, Phase, Report, Run, Scenario};

/// All tables; `committed` are figures to compare with.
pub(crate) fn of(report: &Report, committed: Option<&Report>) -> String {
    let mut text = format!(
        "Revision {}, {} × {}, load {:.1} before and {:.1} after.\n",
        report.revision,
        report.machine.cores,
        report.machine.processor,
        report.machine.load_before,
        report.machine.load_after
    );
    for run in &report.runs {
        text += &of_run(run, committed.and_then(|report| same(report, &run.scenario)));
    }
    text
}

fn same<'a>(report: &'a Report, scenario: &Scenario) -> Option<&'a Run> {
    report.runs.iter().find(|run| run.scenario == *scenario)
}

/// A phase, and where it stands.
type Named = (&'static str, fn(&Figures) -> &Phase);

fn of_run(run: &Run, committed: Option<&Run>) -> String {
    let Scenario { extensions, cluster_kib, workers, latency_ms, foreign } = &run.scenario;
    let mut text = format!(
        "\n**{extensions} Extensions, Clusters of {cluster_kib} KiB, {workers} workers, {latency_ms} ms of latency, {foreign} foreign Extensions each**\n\n\
         | | floor | ours | ratio | p50 / p99 | calls each (floor) | conflicts | begun twice | CPU (floor) |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    let phases: [Named; 4] = [
        ("new", |figures| &figures.new),
        ("again, after the token", |figures| &figures.again_first),
        ("again", |figures| &figures.again),
        ("again, 20 in flight", |figures| &figures.in_flight),
    ];
    for (name, phase) in phases {
        let (floor, ours) = (phase(&run.floor), phase(&run.ours));
        let ratio = if floor.seconds > 0.0 { ours.seconds / floor.seconds } else { 0.0 };
        row(&mut text, name, Some(floor), ours, Some(ratio));
    }
    if let Some(deleted) = &run.ours.deleted {
        row(&mut text, "deleted", None, deleted, None);
    }
    if let (Some(rss), Some(peak)) = (run.ours.rss_kib, run.ours.peak_kib) {
        line(&mut text, format_args!("\nMemory: {} now, {} at its peak.", mib(rss), mib(peak)));
    }
    if let Some(start) = &run.start {
        let (ready, first, peak) = (start.ready_seconds, start.first_done_seconds, mib(start.peak_kib));
        line(
            &mut text,
            format_args!(
                "Start with all of them there: ready after {ready:.2} s, the first done after {first:.2} s, {peak} at its peak."
            ),
        );
    }
    if let Some(idle) = &run.idle {
        let calls: u64 = idle.calls.values().sum();
        let (seconds, cpu, wake_ups) = (idle.seconds, idle.cpu_seconds, idle.wake_ups);
        line(
            &mut text,
            format_args!(
                "Idle for {seconds:.0} s: {cpu:.2} s of CPU, {wake_ups} wake-ups, {calls} calls, {}.",
                mib(idle.rss_kib)
            ),
        );
    }
    for (name, phase) in phases {
        let calls = |phase: &Phase| {
            let each: Vec<String> = phase.calls.iter().map(|(call, count)| format!("{call}: {count}")).collect();
            each.join(", ")
        };
        line(&mut text, format_args!("Calls, {name}: {}.", calls(phase(&run.ours))));
    }
    if let Some(committed) = committed {
        for ((name, now), (_, before)) in run.ratios().into_iter().zip(committed.ratios()) {
            line(&mut text, format_args!("Ratio {name}: {now:.2}, committed {before:.2}."));
        }
    }
    text
}

fn row(text: &mut String, name: &str, floor: Option<&Phase>, ours: &Phase, ratio: Option<f64>) {
    let seconds = |phase: &Phase| format!("{:.2} s", phase.seconds);
    let floor_seconds = floor.map_or_else(|| "–".to_owned(), seconds);
    let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("**{ratio:.2} ×**"));
    let begun = ours.begun_twice().map_or_else(|| "–".to_owned(), |count| count.to_string());
    let of_floor =
        |value: &dyn Fn(&Phase) -> String| floor.map_or_else(String::new, |phase| format!(" ({})", value(phase)));
    line(
        text,
        format_args!(
            "| {name} | {floor_seconds} | {} | {ratio} | {:.0} / {:.0} ms | {:.2}{} | {} | {begun} | {:.2} s{} |",
            seconds(ours),
            ours.p50_ms,
            ours.p99_ms,
            ours.calls_each(),
            of_floor(&|phase| format!("{:.2}", phase.calls_each())),
            ours.conflicts(),
            ours.cpu_seconds,
            of_floor(&|phase| format!("{:.2} s", phase.cpu_seconds)),
        ),
    );
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a text cannot fail.
    let _ = writeln!(text, "{arguments}");
}

#[expect(clippy::cast_precision_loss, reason = "KiB of a process")]
fn mib(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Machine;

    #[test]
    fn table_shows_ratios_and_compares_runs_of_the_same_landscape() {
        let phase = |seconds: f64| Phase { extensions: 2, seconds, begun: Some(3), ..Phase::default() };
        let figures = |seconds: f64| Figures { new: phase(seconds), again: phase(seconds), ..Figures::default() };
        let scenario = Scenario { extensions: 2, cluster_kib: 50, workers: 5, latency_ms: 0, foreign: 1 };
        let run = Run { scenario, floor: figures(2.0), ours: figures(3.0), start: None, idle: None };
        let machine = Machine { processor: "P".to_owned(), cores: 2, load_before: 0.0, load_after: 0.0 };
        let report = Report { revision: "r".to_owned(), machine, runs: vec![run] };
        let text = of(&report, Some(&report));
        assert!(text.contains("| new | 2.00 s | 3.00 s | **1.50 ×** |"), "{text}");
        assert!(text.contains("Ratio new: 1.50, committed 1.50."), "{text}");
        assert!(!of(&report, None).contains("committed"), "{text}");
    }
}
