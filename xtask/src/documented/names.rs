//! Every name that the pages for owners and operators put before their readers is one that there is: Events, reason codes, stages, alerts, metrics, values of
//! charts, fields of the providerConfig. The tables that these are compared with are themselves made of the code, or compared with it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::root;

/// Pages for people who change the code: their names are those of types, and links to source files are checked elsewhere. And pages that are made: of the
/// registries, and of the schema.
const OTHERS: [&str; 10] = [
    "docs/configuration.md",
    "docs/development.md",
    "docs/differences.md",
    "docs/finding-your-way.md",
    "docs/metrics.md",
    "docs/migration-to-nri.md",
    "docs/node-trials.md",
    "docs/performance.md",
    "docs/provider-config.md",
    "docs/security.md",
];
/// Names in back-ticks or italics that others have given.
const FOREIGN: [&str; 14] = [
    "Auths",
    "ContainerCreating",
    "Fail",
    "Failed",
    "HTTPEndpoint",
    "ImagePullBackOff",
    "InPlaceOrRecreate",
    "None",
    "ObservabilityComponentsHealthy",
    "Recreate",
    "Remove",
    "ServiceAccountTokenPodNodeInfo",
    "Static",
    "SystemComponentsHealthy",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Pages for owners and operators, with their text.
pub(super) fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/runbooks"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                names.push(format!("{folder}/{}", path.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    names.retain(|name| !OTHERS.contains(&name.as_str()));
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// First cells of tables, without their marks.
fn first_cells(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split([' ', ',']).next()).map(|cell| cell.trim_matches(['`', '*']).to_owned()).collect()
}

/// What stands between two of a mark in a line outside of blocks of code, with the line.
fn marked(text: &str, mark: char) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..)
        .zip(text.lines())
        .filter_map(move |(number, line)| {
            let fence = line.trim_start().starts_with("```");
            is_code ^= fence;
            (!fence && !is_code).then_some((number, line))
        })
        .flat_map(move |(number, line)| line.split(mark).skip(1).step_by(2).map(move |word| (number, word)))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphabetic())
        && word.contains(|c: char| c.is_ascii_lowercase())
}

/// Marked names that are not known, each with its place, and how many were checked.
fn unknown(mark: char, is_one: impl Fn(&str) -> bool, known: &BTreeSet<String>) -> (Vec<String>, usize) {
    let (mut found, mut seen) = (Vec::new(), 0);
    for (page, text) in pages() {
        for (line, word) in marked(&text, mark).filter(|(_, word)| is_one(word)) {
            seen += 1;
            if !known.contains(word) {
                found.push(format!("{page}:{line}: {word}"));
            }
        }
    }
    (found, seen)
}

fn alerts() -> BTreeSet<String> {
    let rules = read("charts/cri-resmgr-monitoring/rules.yaml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn every_event_reason_code_stage_and_alert_is_one() {
    let mut known = first_cells(&read("docs/events.md"));
    known.extend(first_cells(&read("docs/troubleshooting.md")));
    let alerts = alerts();
    assert!(alerts.len() > 5, "{alerts:?}");
    known.extend(alerts);
    known.extend(FOREIGN.map(str::to_owned));
    for (mark, least) in [('`', 100), ('*', 10)] {
        // `**bold**` leaves empty words between its marks.
        let (unknown, seen) = unknown(mark, is_name, &known);
        assert!(unknown.is_empty(), "there is no such Event, reason code, stage or alert: {unknown:#?}");
        assert!(seen > least, "only {seen} names between {mark}");
    }
}

#[test]
fn every_metric_is_exported_or_recorded() {
    let mut known = first_cells(&read("docs/metrics.md"));
    let rules = read("charts/cri-resmgr-monitoring/rules.yaml");
    known.extend(rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned));
    let is_metric = |word: &str| {
        ["cri_resmgr_", "extension_", "admission_", "shoot:", "base_config_"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
            && word.len() > 12
            && !word.contains('…')
    };
    let (mut unknown, mut seen) = (Vec::new(), 0);
    for (page, text) in pages() {
        for (line, word) in marked(&text, '`').filter(|(_, word)| is_metric(word)) {
            // Labels and comparisons may follow.
            let name = word.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).next().unwrap_or_default();
            let is_series = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| name.strip_suffix(suffix).is_some_and(|family| known.contains(family)));
            seen += 1;
            if !known.contains(name) && !is_series {
                unknown.push(format!("{page}:{line}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "nothing exports these: {unknown:#?}");
    assert!(seen > 10, "only {seen} metrics were found");
}

/// Words with dots whose first part is one of `first`.
fn path_of(first: &[&str]) -> impl Fn(&str) -> bool {
    move |word: &str| {
        word.split_once('.').is_some_and(|(begin, rest)| {
            first.contains(&begin) && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        })
    }
}

#[test]
fn every_chart_value_is_one() {
    let mut known = BTreeSet::new();
    for chart in [
        "gardener-extension-cri-resmgr",
        "gardener-extension-cri-resmgr-admission/runtime",
        "gardener-extension-cri-resmgr-admission/application",
    ] {
        known.extend(first_cells(&read(&format!("charts/{chart}/README.md"))));
    }
    // What gardenlet puts in below the map `gardener`.
    known.insert("gardener.version".to_owned());
    let is_value = path_of(&[
        "nodeAgent",
        "monitoring",
        "vpa",
        "metrics",
        "health",
        "podDisruptionBudget",
        "image",
        "gardener",
        "service",
    ]);
    let (unknown, seen) = unknown('`', is_value, &known);
    assert!(unknown.is_empty(), "no chart has such a value: {unknown:#?}");
    assert!(seen > 5, "only {seen} values were found");
}

#[test]
fn every_field_of_the_provider_config_is_one() {
    let page = first_cells(&read("docs/provider-config.md"));
    // Maps stand there with the name that somebody chooses; what is above a field is one, too.
    let known: BTreeSet<String> = page
        .iter()
        .flat_map(|path| {
            let path = path.trim_end_matches(".NAME");
            path.match_indices('.').map(|(at, _)| path[..at].to_owned()).chain([path.to_owned()])
        })
        .collect();
    let (unknown, seen) = unknown('`', path_of(&["configs", "nri", "migration", "selection"]), &known);
    assert!(unknown.is_empty(), "the providerConfig has no such field: {unknown:#?}");
    assert!(seen > 8, "only {seen} fields were found");
}

/// The README says it in short, docs/support.md in full.
#[test]
fn readme_and_page_say_the_same_of_what_is_supported() {
    let rows = |text: &str| -> Vec<String> {
        let table = text.lines().skip_while(|line| !line.starts_with("| | tried | expected |"));
        table.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
    };
    let (readme, page) = (rows(&read("README.md")), rows(&read("docs/support.md")));
    assert!(
        readme.len() > 5 && page.len() >= readme.len(),
        "{} rows in the README, {} in the page",
        readme.len(),
        page.len()
    );
    for row in readme {
        assert!(page.contains(&row), "docs/support.md has no row {row}");
    }
}

#[test]
fn names_are_found_outside_of_code() {
    let text = "An `Aa` and *Bb*, **Cc**.\n```sh\n`Dd`\n```\n`e.f` `Gg`";
    assert_eq!(marked(text, '`').collect::<Vec<_>>(), [(1, "Aa"), (5, "e.f"), (5, "Gg")]);
    assert!(marked(text, '*').any(|found| found == (1, "Bb")));
    assert!(is_name("RolledBack") && !is_name("CPU") && !is_name("a") && !is_name("A b"));
}

/// Paths that a template of ours takes: words of what stands in its braces, but for words of the language and texts.
fn template_values(text: &str) -> BTreeSet<String> {
    const LANGUAGE: [&str; 13] =
        ["if", "elif", "else", "endif", "for", "in", "endfor", "and", "or", "not", "set", "yaml", "include"];
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{']) {
        rest = &rest[at + 1..];
        let end = match rest.chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => {
                rest = rest.split_once("#}").map_or("", |(_, after)| after);
                continue;
            }
            _ => continue,
        };
        let Some((inside, after)) = rest[1..].split_once(end) else { break };
        rest = after;
        // Every second part is a text.
        let code: String = inside.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let words = code.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'));
        let words = words.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()) && !LANGUAGE.contains(word));
        found.extend(words.map(str::to_owned));
    }
    found
}

#[test]
fn every_value_of_the_installation_s_templates_stands_in_their_readme() {
    let readme = read("charts/cri-resmgr-installation/README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let (mut known, mut seen) = (BTreeSet::new(), 0);
    for row in rows {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let mut of = String::new();
        for name in cell.split('`').skip(1).step_by(2) {
            if let Some(field) = name.strip_prefix('.') {
                known.insert(format!("{of}.{field}"));
            } else {
                of = name.split_once('.').map_or(name, |(of, _)| of).trim_end_matches("[]").to_owned();
                known.extend([name.to_owned(), of.clone()]);
            }
        }
    }
    for entry in std::fs::read_dir(root().join("charts/cri-resmgr-installation/templates")).unwrap() {
        let path = entry.unwrap().path();
        for value in template_values(&std::fs::read_to_string(&path).unwrap()) {
            // A loop's own name for one of them.
            let value = value.replacen("config.", "dynamicConfigs.", 1);
            if value != "config" {
                assert!(known.contains(&value), "{}: {value} is not in the README", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} values were found");
}

#[test]
fn values_of_templates_are_found_between_braces() {
    let text = "{#- a.b -#}\n{%- if c.d and not e == \"f\" %}x: {{ g | yaml }}{%- endif %} {h: i}";
    assert_eq!(template_values(text), ["c.d", "e", "g"].map(str::to_owned).into());
}
