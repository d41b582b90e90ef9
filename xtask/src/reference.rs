//! `cargo xtask reference`: the pages about settings, out of the schemas and values that they are settings by.

mod chart_values;
mod provider_config;

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::terminal::say;

/// Writes the pages about settings anew: docs/provider-config.md with its schema, and the READMEs of the charts.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Change nothing, and fail where a page is not what it should be.
    #[arg(long)]
    check: bool,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &ReferenceArgs, root: &Path) -> anyhow::Result<()> {
    let schema = extension_config::provider_config::json_schema().context("the schema of the providerConfig")?;
    let mut pages = vec![(provider_config::PAGE.to_owned(), provider_config::page(&schema)?)];
    pages.push((provider_config::SCHEMA.to_owned(), schema));
    for chart in &chart_values::CHARTS {
        pages.push((format!("{}/README.md", chart.folder), chart.page(root)?));
    }
    for (name, page) in pages {
        let path = root.join(&name);
        if args.check {
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            ensure!(found == page, "{name} is not current: `cargo xtask reference` writes it");
        } else {
            std::fs::write(&path, page).with_context(|| format!("cannot write {name}"))?;
            say(&format!("wrote {name}"));
        }
    }
    Ok(())
}

/// A line of a table; what stands in a cell must not end it.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_about_settings_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        run(&ReferenceArgs { check: true }, root).unwrap();
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        assert_eq!(row(&["a|b", "c"]), "| a\\|b | c |\n");
    }
}
