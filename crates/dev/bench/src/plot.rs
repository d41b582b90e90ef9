//! `cargo xtask bench plot`: the ratios of one or more sets of figures as a picture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::figures::Report;

const WIDTH: u32 = 900;
const LEFT: u32 = 330;
const RIGHT: u32 = 70;
const TOP: u32 = 70;
const BAR: u32 = 16;
const GAP: u32 = 14;
/// Of the sets, in their order.
const COLOURS: [&str; 4] = ["#b0b7c3", "#1f6feb", "#2da44e", "#bf8700"];
/// The goal, in floors.
const GOAL: f64 = 1.3;

/// A picture of figures: how many floors each phase takes.
#[derive(Debug, Clone, Args)]
pub struct PlotArgs {
    /// `NAME=FILE` of each set of figures, the oldest first.
    #[arg(required = true, num_args = 1..=4, value_parser = named)]
    figures: Vec<(String, PathBuf)>,
    /// The picture.
    #[arg(long, value_name = "FILE", default_value = "docs/performance/controller.svg")]
    output: PathBuf,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=FILE"))?;
    Ok((name.to_owned(), file.into()))
}

impl PlotArgs {
    /// Draws it.
    ///
    /// # Errors
    /// When a file is missing or holds no figures.
    pub fn run(&self, root: &Path) -> anyhow::Result<()> {
        let mut sets = Vec::new();
        for (name, file) in &self.figures {
            let path = root.join(file);
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let report: Report = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
            sets.push((name.as_str(), report));
        }
        let output = root.join(&self.output);
        std::fs::write(&output, svg(&sets)).with_context(|| format!("cannot write {}", output.display()))
    }
}

/// One bar.
struct Bar<'a> {
    set: usize,
    name: &'a str,
    ratio: f64,
}

/// Bars of one scenario and phase, under their label.
fn groups<'a>(sets: &[(&'a str, Report)]) -> Vec<(String, Vec<Bar<'a>>)> {
    let mut groups: Vec<(String, Vec<Bar<'a>>)> = Vec::new();
    for (set, (name, report)) in sets.iter().enumerate() {
        for run in &report.runs {
            let place = &run.scenario;
            let latency = if place.latency_ms > 0 { format!(", +{} ms", place.latency_ms) } else { String::new() };
            for (phase, ratio) in run.ratios().into_iter().filter(|(phase, _)| !phase.starts_with("CPU")) {
                let (count, kib, workers) = (place.extensions, place.cluster_kib, place.workers);
                let label = format!("{count} {phase}, {kib} KiB, {workers} workers{latency}");
                let bar = Bar { set, name, ratio };
                match groups.iter_mut().find(|(known, _)| *known == label) {
                    Some((_, bars)) => bars.push(bar),
                    None => groups.push((label, vec![bar])),
                }
            }
        }
    }
    groups
}

fn svg(sets: &[(&str, Report)]) -> String {
    let groups = groups(sets);
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.ratio).fold(GOAL, f64::max).ceil();
    let scale = |ratio: f64| f64::from(LEFT) + ratio / most * f64::from(WIDTH - LEFT - RIGHT);
    let height =
        TOP + groups.iter().map(|(_, bars)| u32::try_from(bars.len()).unwrap_or(1) * BAR + GAP).sum::<u32>() + GAP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">Time of all Extensions, in floors (a bare client that issues the same writes in the same run)</text>\n"
    );
    let mut x = 16;
    for (set, (name, _)) in sets.iter().enumerate() {
        line(&mut text, format_args!("<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{}\"/>", colour(set)));
        line(&mut text, format_args!("<text x=\"{}\" y=\"46\">{}</text>", x + 18, escape(name)));
        x += 110;
    }
    for (ratio, label, dash) in [(1.0, "floor", "none"), (GOAL, "goal", "4 3")] {
        let at = scale(ratio);
        let (top, bottom) = (TOP - 6, height - GAP);
        line(
            &mut text,
            format_args!(
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#57606a\" stroke-dasharray=\"{dash}\"/>"
            ),
        );
        let anchor = if ratio > 1.0 { "start" } else { "end" };
        line(
            &mut text,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"#57606a\">{label}</text>",
                top - 4
            ),
        );
    }
    let mut y = TOP;
    for (label, bars) in &groups {
        line(
            &mut text,
            format_args!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 10, y + 12, escape(label)),
        );
        for Bar { set, name, ratio } in bars {
            let width = scale(*ratio) - f64::from(LEFT);
            line(
                &mut text,
                format_args!(
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"><title>{}</title></rect>",
                    BAR - 3,
                    colour(*set),
                    escape(name)
                ),
            );
            line(
                &mut text,
                format_args!("<text x=\"{:.1}\" y=\"{}\">{ratio:.2} ×</text>", scale(*ratio) + 5.0, y + 11),
            );
            y += BAR;
        }
        y += GAP;
    }
    text + "</svg>\n"
}

fn colour(set: usize) -> &'static str {
    COLOURS.get(set).copied().unwrap_or("#000000")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a text cannot fail.
    let _ = writeln!(text, "{arguments}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figures, Machine, Phase, Run, Scenario};

    #[test]
    fn picture_is_xml_with_a_bar_for_each_set_and_phase() -> anyhow::Result<()> {
        let phase = |seconds: f64| Phase { extensions: 2, seconds, ..Phase::default() };
        let figures = |seconds: f64| Figures { new: phase(seconds), again: phase(seconds), ..Figures::default() };
        let scenario = Scenario { extensions: 2, cluster_kib: 50, workers: 5, latency_ms: 5, foreign: 1 };
        let run = Run { scenario, floor: figures(2.0), ours: figures(3.0), start: None, idle: None };
        let machine = Machine { processor: "P".to_owned(), cores: 2, load_before: 0.0, load_after: 0.0 };
        let report = Report { revision: "r".to_owned(), machine, runs: vec![run] };
        let text = svg(&[("<before>", report.clone()), ("after", report)]);
        let document = roxmltree::Document::parse(&text)?;
        let bars = document.descendants().filter(|node| node.has_tag_name("title")).count();
        assert_eq!(bars, 4, "{text}");
        Ok(())
    }

    #[test]
    fn set_of_figures_has_a_name() {
        assert_eq!(named("after=a/b.json"), Ok(("after".to_owned(), PathBuf::from("a/b.json"))));
        assert!(named("a/b.json").is_err_and(|error| error.contains("NAME=FILE")));
    }
}
