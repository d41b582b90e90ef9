//! `cargo xtask metrics`: the page about metrics, out of the golden files that hold what each program's registry exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::terminal::say;

const PAGE: &str = "docs/metrics.md";

/// A part of a registry, as its crate's golden test holds it.
struct Source {
    /// Who exports it, as a heading.
    exporter: &'static str,
    /// Where it is to be had, and what is special about it.
    about: &'static str,
    /// The golden file.
    golden: &'static str,
    /// Labels with more values than the golden file has, and what they are.
    open: &'static [(&'static str, &'static str)],
}

const REASONS: &str = "`Done`, `Pending`, or the fixed word of an error, as in Events";
const KINDS: &str = "`Extension`, `Cluster`, `ManagedResource`";

const SOURCES: [Source; 5] = [
    Source {
        exporter: "Node agent",
        about: "Port 8891 of each pod of DaemonSet `cri-resmgr-node-agent`, path `/metrics`. A node has exactly the series that stand here, from the first \
                scrape on; the shoot's Prometheus takes them ([monitoring.md](monitoring.md)).",
        golden: "crates/node-agent/src/snapshots/node_agent__golden__metrics.snap",
        open: &[("version", "the agent's version, one at a time")],
    },
    Source {
        exporter: "Seed controller: the engine",
        about: "Port 8080 of the controller's pods (chart value `metrics.port`), path `/metrics`. The seed's Prometheus takes them by the pods' annotations, as job \
                `cri-resmgr-extension`, the Helm release. A series appears with its first event.",
        golden: "crates/gardener-extension/src/snapshots/gardener_extension__golden__metrics.snap",
        open: &[
            ("result", REASONS),
            (
                "operation",
                "`Create`, `Reconcile`, `Delete`, `ForceDelete`, `Migrate`, `Restore`; `Engine` outside of them",
            ),
            ("kind", KINDS),
        ],
    },
    Source {
        exporter: "Seed controller: the extension",
        about: "The same port.",
        golden: "crates/seed-controller/src/snapshots/gardener_extension_cri_resmgr__golden__metrics.snap",
        open: &[],
    },
    Source {
        exporter: "Admission webhook",
        about: "Port 8080 of the webhook's pods in the garden's runtime cluster, path `/metrics`. A series appears with its first event.",
        golden: "crates/admission/src/snapshots/admission__metrics__tests__metrics.snap",
        open: &[],
    },
    Source {
        exporter: "Every program",
        about: "At the places above.",
        golden: "crates/observability/src/snapshots/observability__golden__metrics_of_every_program.snap",
        open: &[("name", "the program"), ("version", "its version"), ("revision", "its commit, where it is known")],
    },
];

/// Writes docs/metrics.md anew.
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Change nothing, and fail where the page is not what it should be.
    #[arg(long)]
    check: bool,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &MetricsArgs, root: &Path) -> anyhow::Result<()> {
    let (path, page) = (root.join(PAGE), page(root)?);
    if args.check {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        ensure!(found == page, "{PAGE} is not current: `cargo xtask metrics` writes it");
    } else {
        std::fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))?;
        say(&format!("wrote {PAGE}"));
    }
    Ok(())
}

/// A metric with everything that is exported of it.
#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    help: String,
    /// Of each label its values, in their order.
    labels: BTreeMap<String, BTreeSet<String>>,
    series: usize,
}

fn page(root: &Path) -> anyhow::Result<String> {
    let mut page = "# Metrics\n\nEverything that the programs export. This page is made by `cargo xtask metrics` out of the golden files of their registries; \
                    `cargo xtask test` fails where it is not current. Names, labels and values do not change once they are here.\n\n\
                    Names are as Prometheus stores them. Of a histogram NAME there are `NAME_bucket`, `NAME_sum` and `NAME_count`.\n"
        .to_owned();
    for source in &SOURCES {
        let text = std::fs::read_to_string(root.join(source.golden)).with_context(|| source.golden)?;
        let families = families(&text).with_context(|| source.golden)?;
        write!(page, "\n## {}\n\n{}\n", source.exporter, source.about)?;
        if source.open.is_empty() || source.golden.contains("node_agent") {
            let series: usize = families.values().map(|family| family.series).sum();
            writeln!(page, "Series in all: {series}.")?;
        }
        writeln!(page, "\n| name | type | labels and their values | what it says |\n|---|---|---|---|")?;
        for (name, family) in &families {
            let labels: Vec<String> =
                family.labels.iter().map(|(label, values)| describe(label, values, source.open)).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("; ") };
            writeln!(page, "| `{name}` | {} | {labels} | {} |", family.kind, family.help)?;
        }
    }
    Ok(page)
}

fn describe(label: &str, values: &BTreeSet<String>, open: &[(&str, &str)]) -> String {
    if let Some((_, what)) = open.iter().find(|(name, _)| *name == label) {
        return format!("`{label}`: {what}");
    }
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    format!("`{label}`: {}", values.join(", "))
}

/// What a golden file says in the text format of `OpenMetrics`, whatever the order of its lines.
fn families(golden: &str) -> anyhow::Result<BTreeMap<String, Family>> {
    let text = golden.splitn(3, "---\n").nth(2).context("a golden file begins with what made it")?;
    let (mut kinds, mut helps, mut samples) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && *line != "# EOF" && !line.starts_with("# UNIT ")) {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
        } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help);
        } else {
            ensure!(!line.starts_with('#'), "an unknown line: {line}");
            samples.push(line);
        }
    }
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (base, kind) in kinds {
        let name = match kind {
            "counter" => format!("{base}_total"),
            "info" => format!("{base}_info"),
            _ => base.to_owned(),
        };
        let help = helps.get(base).with_context(|| format!("{base} has no help"))?;
        let help = (*help).trim_end_matches('.').to_owned();
        all.insert(name.clone(), Family { kind: kind.to_owned(), help, ..Family::default() });
        for suffix in if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] } {
            names.insert(format!("{name}{suffix}"), name.clone());
        }
    }
    for line in samples {
        let (series, _) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
        let (sample, labels) =
            series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
        let name = names.get(sample).with_context(|| format!("{sample} has no type"))?;
        let family = all.get_mut(name).with_context(|| format!("{name} has no type"))?;
        family.series += 1;
        // No value of ours has a comma or a quote in it.
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').with_context(|| format!("no label: {label}"))?;
            if label != "le" {
                family.labels.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn the_page_about_metrics_is_current() {
        run(&MetricsArgs { check: true }, root()).unwrap();
    }

    #[test]
    fn golden_files_are_read_in_any_order() {
        let golden = "---\nsource: x\n---\n# EOF\n# HELP a What a is.\n# TYPE a counter\na_total{x=\"1\",y=\"b\"} 0\na_total{x=\"2\",y=\"b\"} 3\n\
                      # HELP d_seconds Time.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_sum 0\nd_seconds_bucket{le=\"+Inf\"} 0\n";
        let found = families(golden).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a_total", "d_seconds"]);
        let counter = &found["a_total"];
        assert_eq!((counter.kind.as_str(), counter.help.as_str(), counter.series), ("counter", "What a is", 2));
        assert_eq!(describe("x", &counter.labels["x"], &[]), "`x`: `1`, `2`");
        assert_eq!(describe("y", &counter.labels["y"], &[("y", "any")]), "`y`: any");
        assert!(found["d_seconds"].labels.is_empty());
        for broken in ["no head", "---\n---\nb_total 1\n", "---\n---\n# TYPE c gauge\nc 1\n", "---\n---\n# WHAT c d\n"]
        {
            assert!(families(broken).is_err(), "{broken}");
        }
    }
}
