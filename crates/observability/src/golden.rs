//! What log lines look like, for those who parse them: the keys of a line, and the fields that the programs give. They have no registry at run
//! time, so the sources of what ships are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The arguments of a macro whose opening parenthesis was just passed, split at its commas.
fn arguments(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for character in text.chars() {
        if in_text {
            in_text = escaped || character != '"';
            escaped = character == '\\' && !escaped;
        } else {
            match character {
                '"' => in_text = true,
                '(' | '[' | '{' => depth += 1,
                ')' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    all.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        if let Some(last) = all.last_mut() {
            last.push(character);
        }
    }
    all.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// Name and fields of a span.
fn span(arguments: &[String]) -> String {
    let (name, given) =
        arguments.split_first().map_or(("", &[][..]), |(name, fields)| (name.trim_matches('"'), fields));
    std::iter::once(name.to_owned()).chain(fields(given)).collect::<Vec<_>>().join(" ")
}

/// Names of the fields; the text, which comes last, and its arguments are none.
fn fields(arguments: &[String]) -> impl Iterator<Item = String> {
    let fields = arguments.iter().take_while(|argument| !argument.starts_with('"'));
    fields.filter(|argument| !argument.starts_with("target:")).map(|argument| {
        let name = argument.split('=').next().unwrap_or_default().trim();
        name.trim_start_matches(['%', '?']).replace("r#", "")
    })
}

/// Adds what `read` makes of the calls of these macros of `tracing`, in the sources that ship.
fn collect(directory: &Path, macros: &[&str], read: fn(&[String]) -> Vec<String>, found: &mut BTreeSet<String>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let is_tests = path.file_stem().is_some_and(|name| name == "tests" || name == "golden");
        if is_tests {
            continue;
        }
        if path.is_dir() {
            collect(&path, macros, read, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for name in macros {
                for call in code.split(&format!("tracing::{name}!(")).skip(1) {
                    found.extend(read(&arguments(call)));
                }
            }
        }
    }
}

#[test]
fn metrics_of_every_program() {
    let mut registry = prometheus_client::registry::Registry::default();
    crate::BuildInfo { name: "NAME", version: "VERSION", revision: "REVISION" }.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    insta::assert_snapshot!(text);
}

/// What [`collect`] finds in each crate, one crate a line.
fn by_crate(macros: &[&str], read: fn(&[String]) -> Vec<String>, separator: &str) -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What never ships is below `crates/dev`, which has no sources of its own.
        if path.join("src").is_dir() {
            collect(&path.join("src"), macros, read, all.entry(name).or_default());
        }
    }
    all.retain(|_, found| !found.is_empty());
    all.iter()
        .map(|(name, found)| format!("{name}: {}", found.iter().cloned().collect::<Vec<_>>().join(separator)))
        .collect()
}

#[test]
fn fields_of_log_lines() {
    let lines = by_crate(&["error", "warn", "info", "debug", "trace"], |call| fields(call).collect(), " ");
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn fields_of_spans() {
    let lines = by_crate(&["error_span", "warn_span", "info_span"], |call| vec![span(call)], ", ");
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn fields_of_log_lines_are_found_in_every_form() {
    let call = r#"
        object.r#ref = %key, operation = run.operation.as_str(), reason, %error, ?took,
        "text, with (signs) and {} \" quotes", other = 1
    ); more(x)"#;
    let found: Vec<String> = fields(&arguments(call)).collect();
    assert_eq!(found, ["object.ref", "operation", "reason", "error", "took"]);
    assert_eq!(
        span(&arguments(r#""round", node = f(a), desired, object.r#ref = %key)"#)),
        "round node desired object.ref"
    );
    assert_eq!(fields(&arguments("target: \"x\", a = f(b, c), \"t\")")).collect::<Vec<_>>(), ["a"]);
}
