//! Calls that only some of what ships may make. What Clippy can forbid stands in `clippy.toml`; these are for tests to make freely.

use std::path::Path;

/// A call, the folders whose code may make it, and why nobody else.
struct Rule {
    call: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

const RULES: [Rule; 2] = [
    Rule {
        call: "fs::write(",
        allowed: &["crates/image-builder"],
        reason: "half a file is what is left of it after a crash: on a host `host::Root` writes atomically",
    },
    Rule {
        call: "Command::new(",
        allowed: &["crates/image-builder"],
        reason: "an image of ours has no other program, and a host's are not ours to run: ask systemd",
    },
];

/// Every breach in the file at `path` (relative to the repository), as a line for people.
pub(super) fn check(path: &Path, text: &str) -> Vec<String> {
    let Some(name) = path.to_str().filter(|name| ships(name)) else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in code(text) {
        for rule in RULES.iter().filter(|rule| is_made(line, rule.call)) {
            if !rule.allowed.iter().any(|folder| Path::new(name).starts_with(folder)) {
                findings.push(format!("{name}:{number} calls {}…): {}", rule.call, rule.reason));
            }
        }
    }
    findings
}

/// Whether the file is code of what ships, and no test.
fn ships(name: &str) -> bool {
    let is_test = name.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "golden.rs" | "log_lines.rs"));
    name.starts_with("crates/") && !name.starts_with("crates/dev/") && name.contains("/src/") && !is_test
}

/// Lines of code with their numbers, up to the module of tests, which stands last.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().zip(text.lines().skip(1).chain([""]));
    let lines = lines.take_while(|(line, next)| !(*line == "#[cfg(test)]" && next.starts_with("mod tests")));
    (1..).zip(lines.map(|(line, _)| line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether the call stands in the line, and not as the end of a longer name.
fn is_made(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(Path::new(path), text).len()
    }

    #[test]
    fn a_file_that_ships_may_not_write_past_the_host() {
        let found = check(Path::new("crates/x/src/a.rs"), "fn f() {\n    std::fs::write(a, b);\n}\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/x/src/a.rs:2 calls fs::write("), "{found:?}");
        assert_eq!(findings("crates/x/src/a.rs", "let child = Command::new(\"sh\");"), 1);
    }

    #[test]
    fn tests_tools_and_those_allowed_may() {
        let call = "    fs::write(a, b);\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{call}}}\n");
        assert_eq!(findings("crates/x/src/a.rs", &tests), 0);
        for path in [
            "crates/x/src/a/tests.rs",
            "crates/x/src/tests/a.rs",
            "crates/x/tests/a.rs",
            "crates/dev/x/src/a.rs",
            "xtask/src/a.rs",
            "crates/image-builder/src/a.rs",
        ] {
            assert_eq!(findings(path, call), 0, "{path}");
        }
    }

    #[test]
    fn comments_and_longer_names_are_no_calls() {
        for line in
            ["// fs::write(a, b)", "/// `Command::new(x)`", "MyCommand::new(x)", "root.write(a)", "my_fs::write(a)"]
        {
            assert_eq!(findings("crates/x/src/a.rs", line), 0, "{line}");
        }
    }
}
