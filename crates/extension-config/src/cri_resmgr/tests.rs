use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::document::check_within;
use super::report::Steps;
use super::{canonical, check, check_modules};
use crate::limits;

#[path = "../../hostile/texts.rs"]
#[expect(dead_code, reason = "providerConfigs are for the test of time and memory")]
mod hostile;

/// Marks the keys of a valid configuration that the daemon is not given, all of them, in this order.
const LEFT_OUT: &str = "# left out: ";
/// Marks the warnings that a valid configuration gives, all of them, in this order.
const WARNING: &str = "# warning: ";
/// Marks the findings that a broken configuration must give, all of them, in this order.
const EXPECTED: &str = "# error: ";

fn corpus(kind: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn valid_configurations_are_accepted() {
    let files = corpus("valid");
    assert!(files.len() >= 40, "the corpus shrank to {}", files.len());
    for (path, text) in files {
        let checked = check(&text);
        assert!(checked.is_ok(), "{}: {checked:?}", path.display());
        let checked = checked.unwrap();
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(LEFT_OUT)).collect();
        let left_out: Vec<_> = checked.left_out.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(left_out, expected, "{}", path.display());
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(WARNING)).collect();
        let reported = checked.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message));
        assert_eq!(reported.collect::<Vec<_>>(), expected, "{}", path.display());
        is_canonical(&text);
    }
}

/// What travels is the same however often it is read, in files and in modules, and nothing more is left out of it.
fn is_canonical(text: &str) {
    let Ok(checked) = check(text) else { return };
    let again = check(checked.canonical()).unwrap_or_else(|findings| panic!("{text:?}: {findings:?}"));
    assert_eq!(again.canonical(), checked.canonical(), "{text:?}");
    assert_eq!(canonical(checked.canonical()).as_deref(), Ok(checked.canonical()), "{text:?}");
    assert_eq!(again.left_out, [], "{text:?}");
    assert_eq!((&again.active, again.kept()), (&checked.active, checked.kept()), "{text:?}");
    let modules = checked.by_module();
    assert!(!modules.is_empty() && modules.values().all(|text| !text.is_empty()), "{text:?}");
    let pushed = check_modules(&modules).unwrap_or_else(|findings| panic!("{text:?}: {findings:?}"));
    assert_eq!((pushed.by_module(), pushed.canonical()), (modules, checked.canonical()), "{text:?}");
    // Nothing but blanks and printing characters, on one line.
    let text = checked.canonical();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let odd = ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{7f}'];
    assert!(!text.trim_end().contains(|c: char| c.is_control() || odd.contains(&c)), "{text:?}");
}

/// W5: a text that our reader and the daemon's take for two different things. What travels is what ours has read.
#[test]
fn a_text_that_yaml_readers_read_differently_is_passed_on_as_we_read_it() {
    for (text, expected) in [
        ("policy: {Active: none} # a comment\u{2028}dump: {File: /etc/shadow}", r#"{"policy":{"Active":"none"}}"#),
        ("policy: {Active: none} # a comment\u{2029}dump: {Debug: true}", r#"{"policy":{"Active":"none"}}"#),
        ("policy: {Active: none} # a comment\u{85}dump: {Debug: true}", r#"{"policy":{"Active":"none"}}"#),
        ("cpu: {classes: {yes: {}, 'no': {}, 010: {}}}", r#"{"cpu":{"classes":{"010":{},"no":{},"yes":{}}}}"#),
        (
            "policy: {balloons: {IdleCPUClass: '', BalloonTypes: [{Name: \"1:30\"}]}}",
            r#"{"policy":{"balloons":{"BalloonTypes":[{"Name":"1:30"}],"IdleCPUClass":""}}}"#,
        ),
        (
            "policy: {balloons: {BalloonTypes: [{Name: \"a\u{2028}b\\u0085c\"}]}}",
            r#"{"policy":{"balloons":{"BalloonTypes":[{"Name":"a\u2028b\u0085c"}]}}}"#,
        ),
        ("\u{feff}policy:\n  Active: none\n", r#"{"policy":{"Active":"none"}}"#),
        (
            "policy.balloons: {PinCPU: true}\npolicy: {Active: none}",
            r#"{"policy":{"Active":"none","balloons":{"PinCPU":true}}}"#,
        ),
    ] {
        let found = canonical(text).unwrap_or_else(|findings| panic!("{text:?}: {findings:?}"));
        assert_eq!(found, format!("{expected}\n"), "{text:?}");
        is_canonical(text);
    }
}

/// W2, W12: each of the texts that stopped a controller or an agent, as long as it was then: refused before it is read.
#[test]
fn a_text_beyond_the_limit_is_refused_without_reading() {
    for kind in hostile::CONFIGURATIONS {
        let text = (kind.text)(kind.harmful);
        let mut steps = Steps::default();
        let findings = check_within(&text, &mut steps).unwrap_err();
        assert_eq!(steps.taken(), 0, "{}", kind.name);
        let reported: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(reported, [format!("has {} bytes, allowed: 65536", text.len())], "{}", kind.name);
        let modules = std::collections::BTreeMap::from([("policy".to_owned(), text)]);
        assert!(check_modules(&modules).unwrap_err()[0].message.contains("allowed: 65536"), "{}", kind.name);
    }
}

/// W2: the same as long as they may be: the work is in proportion, and so is what is said.
#[test]
fn work_on_hostile_texts_is_proportional_to_their_bytes() {
    for kind in hostile::CONFIGURATIONS {
        for bytes in [1_000, 8_000, 65_000] {
            let text = (kind.text)(bytes);
            assert!(text.len() <= limits::CONFIGURATION_BYTES, "{}: {}", kind.name, text.len());
            let mut steps = Steps::default();
            let result = check_within(&text, &mut steps);
            let most = 6 * text.len() as u64 + 20 * limits::REPEATED_VALUES as u64;
            assert!(steps.taken() <= most, "{}: {} steps for {} bytes", kind.name, steps.taken(), text.len());
            let findings = result.map_or_else(
                |findings| findings,
                |checked| {
                    assert!(serde_json::to_string(&checked.kept()).unwrap().len() <= 8 * 65_536, "{}", kind.name);
                    checked.warnings
                },
            );
            assert!(findings.len() <= limits::FINDINGS + 1, "{}: {}", kind.name, findings.len());
            for finding in findings {
                assert!(finding.path.chars().count() <= limits::PATH_CHARACTERS + 1, "{}", kind.name);
                assert!(finding.message.chars().count() <= limits::MESSAGE_CHARACTERS + 1, "{}", kind.name);
            }
        }
    }
}

#[test]
fn errors_of_limits_name_the_size_and_what_is_allowed() {
    let name = "a".repeat(254);
    for (text, expected) in [
        (format!("cpu: {{classes: {{{name}: {{}}}}}}"), "the name has 254 bytes, allowed: 253"),
        (format!("policy: {{balloons: {{BalloonTypes: [{{Name: {name}}}]}}}}"), "has 254 bytes, allowed: 253"),
        (format!("{}policy: {{Active: none}}", "#".repeat(65_536) + "\n"), "has 65559 bytes, allowed: 65536"),
        (
            format!(
                "policy: {{balloons: {{BalloonTypes: [{{Name: a, Namespaces: [&n {}, *n]}}]}}}}",
                "x".repeat(40_000)
            ),
            "has more than 65536 bytes when it is written as JSON without anchors, allowed: 65536",
        ),
    ] {
        let findings = check(&text).unwrap_err();
        assert_eq!(findings.last().map(|finding| finding.message.as_str()), Some(expected));
    }
    let many = (0..100).map(|index| format!("k{index}: 1")).collect::<Vec<_>>().join("\n");
    let findings = check(&many).unwrap_err();
    assert_eq!((findings.len(), findings[20].message.as_str()), (21, "and 80 more"));
}

#[test]
fn broken_configurations_give_exactly_these_errors() {
    let files = corpus("broken");
    assert!(files.len() >= 60, "the corpus shrank to {}", files.len());
    for (path, text) in files {
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(EXPECTED)).collect();
        assert!(!expected.is_empty(), "{} does not say what is wrong", path.display());
        let found = check(&text).err().unwrap_or_default();
        let found: Vec<_> = found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// Where the daemon is known to say something else, the documentation says why, and nowhere else.
#[test]
fn differences_from_the_daemon_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let documented: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("| `")).flat_map(named).collect();
    let different = |(path, text): &(PathBuf, String)| {
        let differs = text.lines().any(|line| line == "# daemon: accepts");
        differs.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
    };
    let expected: BTreeSet<String> = corpus("broken").iter().filter_map(different).collect();
    assert!(!expected.is_empty());
    assert_eq!(documented, expected.iter().map(String::as_str).collect(), "{path}");
}

/// The names in the first column of a row.
fn named(row: &str) -> impl Iterator<Item = &str> {
    row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)
}

proptest! {
    /// Whatever comes, there is an answer.
    #[test]
    fn check_of_any_text_ends(text in ".{0,300}") {
        let _ = check(&text);
    }

    /// Configurations with one line taken out, doubled or changed: an answer, and never an accepted one that the split form would
    /// lose something of.
    #[test]
    fn check_of_a_damaged_configuration_ends_and_loses_nothing(file: prop::sample::Index, line: prop::sample::Index, how in 0..3, junk in "[ -~]{0,12}") {
        let files = corpus("valid");
        let (_, text) = file.get(&files);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        match how {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            _ => lines[at].push_str(&junk),
        }
        is_canonical(&lines.join("\n"));
    }

    /// Whatever a text says, in whatever characters.
    #[test]
    fn any_text_survives_canonical_form(name in "\\PC{1,12}|[\u{1}-\u{a0}\u{2028}\u{2029}\u{feff}a]{1,6}|yes|no|on|~|null|0x1f|1e3|010|1_0|=|<<|1:30") {
        let quoted = super::canonical_text(&name, 100).unwrap();
        let text = format!("cpu: {{classes: {{{quoted}: {{}}}}}}\npolicy: {{balloons: {{IdleCPUClass: {quoted}}}}}");
        let checked = check(&text).unwrap_or_else(|findings| panic!("{text:?}: {findings:?}"));
        let read: serde_json::Value = serde_json::from_str(checked.canonical()).unwrap();
        prop_assert_eq!(read.pointer("/policy/balloons/IdleCPUClass").and_then(|class| class.as_str()), Some(name.as_str()));
        is_canonical(&text);
    }
}
