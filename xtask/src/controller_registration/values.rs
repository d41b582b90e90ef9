//! Values of the operator's own for the chart: read, merged as Helm merges several files, and judged by the chart's schema, so that a
//! registration that gardenlet could not install is never written.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

/// Largest file, in bytes: an object of the garden cluster holds no more than 1.5 MiB, the chart included.
const FILE_BYTES: u64 = 512 * 1024;
/// As many findings of the schema are shown.
const FINDINGS: usize = 10;

/// The values of all files, later ones over earlier ones; `None` without a file.
pub(super) fn read(root: &Path, files: &[PathBuf], chart: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let mut merged: Option<Map<String, Value>> = None;
    for path in files {
        merge(merged.get_or_insert_default(), read_one(&root.join(path))?);
    }
    if let Some(values) = &merged {
        let schema = chart.join("values.schema.json");
        let text = std::fs::read_to_string(&schema).with_context(|| format!("cannot read {}", schema.display()))?;
        // Over the chart's own, as they are judged when it is installed.
        let mut all = read_one(&chart.join("values.yaml"))?;
        merge(&mut all, values.clone());
        judge(all, &serde_json::from_str(&text)?)?;
    }
    Ok(merged)
}

fn read_one(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= FILE_BYTES, "{} has {size} bytes, allowed: {FILE_BYTES}", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let values: Option<Map<String, Value>> = serde_saphyr::from_str(&text)
        // Without the lines around it: values may hold what is nobody's business.
        .map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))
        .with_context(|| format!("{} is no map of values", path.display()))?;
    Ok(values.unwrap_or_default())
}

/// As Helm does (`chartutil.CoalesceTables`): maps are merged, everything else replaces.
pub(super) fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn judge(values: Map<String, Value>, schema: &Value) -> anyhow::Result<()> {
    let validator = jsonschema::validator_for(schema).context("the chart's schema is none")?;
    let values = Value::Object(values);
    let mut errors = validator.iter_errors(&values);
    let found: Vec<String> = errors
        .by_ref()
        .take(FINDINGS)
        // The value itself is masked: it may be a configuration.
        .map(|error| format!("{}: {}", place(&error.instance_path().to_string()), error.masked()))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let more = errors.count();
    let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
    bail!("the chart does not take these values:\n  {}{more}", found.join("\n  "))
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { "the whole".to_owned() } else { pointer[1..].replace('/', ".") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(texts: &[&str]) -> anyhow::Result<Option<Map<String, Value>>> {
        let folder = tempfile::tempdir()?;
        let mut files = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            files.push(folder.path().join(index.to_string()));
            std::fs::write(&files[index], text)?;
        }
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(super::super::CHART);
        read(folder.path(), &files, &chart)
    }

    #[test]
    fn later_values_files_win_and_maps_are_merged() {
        assert_eq!(read_all(&[]).unwrap(), None);
        let first = "logLevel: debug\nnodeAgent: {nodeCritical: true, imagePullSecrets: [a]}\n";
        let second = "nodeAgent: {imagePullSecrets: [b]}\n";
        let merged = Value::Object(read_all(&[first, second, "# nothing\n"]).unwrap().unwrap());
        assert_eq!(
            merged,
            json!({"logLevel": "debug", "nodeAgent": {"nodeCritical": true, "imagePullSecrets": ["b"]}})
        );
    }

    #[test]
    fn values_that_the_chart_refuses_are_refused_without_being_shown() {
        for (text, reported) in [
            ("replicaCount: many\n", "replicaCount: "),
            ("nodeAgent: {nodeCriticl: true}\n", "nodeAgent: "),
            ("- a\n", "no map of values"),
            ("a: [", "no map of values"),
        ] {
            let error = format!("{:#}", read_all(&[text]).unwrap_err());
            assert!(error.contains(reported), "{text}: {error}");
            assert!(!error.contains("many"), "{error}");
        }
        let long = format!("# {}\n", "x".repeat(usize::try_from(FILE_BYTES).unwrap()));
        assert!(format!("{:#}", read_all(&[&long]).unwrap_err()).contains("allowed: 524288"));
    }
}
