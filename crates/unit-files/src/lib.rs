//! Texts of systemd's units: files, command lines and environment files (systemd.syntax(7), systemd.service(5), systemd.exec(5)).
//!
//! As much as the units around kubelet need. Not read: specifiers other than `%%`, octal and other named escapes (`\x20`), several commands
//! in one `ExecStart` (`;`), patterns in `EnvironmentFile=`, `PassEnvironment=` and `UnsetEnvironment=`.

use std::collections::BTreeMap;

/// Where units are searched for, the strongest first.
pub const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Settings in the order in which they stand, drop-ins after the unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String, String)>);

impl Settings {
    /// Adds the settings of one file.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut pending = String::new();
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && pending.is_empty()) {
                continue;
            }
            if let Some(begun) = trimmed.strip_suffix('\\') {
                pending.push_str(begun);
                pending.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut pending) + trimmed;
            if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, value)) = whole.split_once('=') {
                self.0.push((section.clone(), name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// All values of a list setting; an empty one takes back those before it.
    #[must_use]
    pub fn all(&self, section: &str, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, _, value) in self.0.iter().filter(|(found, key, _)| found == section && key == name) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    /// The last value of a setting.
    #[must_use]
    pub fn last(&self, section: &str, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(found, key, _)| found == section && key == name).map(|(_, _, value)| value.as_str())
    }

    /// Environment files in their order, true where one may be missing.
    #[must_use]
    pub fn environment_files(&self) -> Vec<(&str, bool)> {
        let files = self.all("Service", "EnvironmentFile").into_iter();
        files.map(|path| path.strip_prefix('-').map_or((path, false), |path| (path, true))).collect()
    }

    /// Words of a setting that may be repeated.
    #[must_use]
    pub fn words(&self, section: &str, name: &str) -> Vec<&str> {
        self.all(section, name).into_iter().flat_map(str::split_whitespace).collect()
    }

    /// A time in seconds, `90`, `1s`, `2min` or `500ms`.
    #[must_use]
    pub fn seconds(&self, section: &str, name: &str) -> Option<f64> {
        let value = self.last(section, name)?;
        let digits = value.trim_end_matches(|character: char| character.is_alphabetic());
        let factor = match &value[digits.len()..] {
            "" | "s" | "sec" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            _ => return None,
        };
        digits.trim().parse::<f64>().ok().map(|number| number * factor)
    }
}

/// A command of a unit, variables unresolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub path: String,
    /// All words, the program's first.
    pub arguments: Vec<String>,
    /// A failure counts as success (`-`).
    pub ignore_failure: bool,
}

/// Reads a command line. `None` when it is empty or its quotes are open.
#[must_use]
pub fn command(line: &str) -> Option<Command> {
    let rest = line.trim_start_matches(['-', '@', ':', '+', '!']);
    let prefixes = &line[..line.len() - rest.len()];
    let (words, is_open) = words(rest);
    if is_open {
        return None;
    }
    let arguments: Vec<String> = words.into_iter().map(|word| word.replace("%%", "%")).collect();
    let path = arguments.first()?.clone();
    Some(Command { path, arguments, ignore_failure: prefixes.contains('-') })
}

/// Splits at white space outside of quotes, and takes the quotes away; and whether a quote or a backslash is still open at the end.
fn words(text: &str) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    let mut is_cut = false;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => match characters.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => is_cut = true,
            },
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => found.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    found.extend(word);
    (found, is_cut || quote.is_some())
}

/// Puts variables in place: `$NAME` as a word of its own becomes as many words as it has, `${NAME}` stays one. One that is not set is empty; in
/// a value a quote may stay open.
#[must_use]
pub fn expand(arguments: &[String], environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut expanded = Vec::new();
    for argument in arguments {
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match argument.strip_prefix('$').filter(|name| is_name(name)) {
            Some(name) => {
                let value = environment.get(name).map(String::as_str).unwrap_or_default();
                expanded.extend(words(value).0);
            }
            None => expanded.push(braces(argument, environment)),
        }
    }
    expanded
}

fn braces(argument: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = argument;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        result.push_str(before);
        result.push_str(environment.get(name).map(String::as_str).unwrap_or_default());
        rest = behind;
    }
    result + rest
}

/// Assignments of an environment file.
#[must_use]
pub fn environment(text: &str) -> Vec<(String, String)> {
    let mut assignments = Vec::new();
    let mut rest = text;
    while let Some(position) = rest.find(|character: char| !character.is_whitespace()) {
        rest = &rest[position..];
        if rest.starts_with(['#', ';']) {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let line = rest.split('\n').next().unwrap_or_default();
        let Some((name, _)) = line.split_once('=') else {
            // systemd passes over a line without an assignment.
            rest = &rest[line.len()..];
            continue;
        };
        let (value, behind) = value(&rest[name.len() + 1..]);
        assignments.push((name.trim().to_owned(), value));
        rest = behind;
    }
    assignments
}

/// A value up to its line's end, and what follows.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match (quote, character) {
            (None, '\n') => return (value.trim_end().to_owned(), &text[position + 1..]),
            (Some(open), _) if character == open => quote = None,
            (Some('"'), '\\') => match characters.next() {
                Some((_, escaped @ ('"' | '\\' | '`' | '$'))) => value.push(escaped),
                Some((_, '\n')) | None => {}
                Some((_, other)) => value.extend(['\\', other]),
            },
            (None, '\\') => value.extend(characters.next().map(|(_, escaped)| escaped)),
            (None, '"' | '\'') => quote = Some(character),
            (None, _) if value.is_empty() && character.is_whitespace() => {}
            _ => value.push(character),
        }
    }
    (value.trim_end().to_owned(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_files_are_read_with_continued_lines_and_comments() {
        let mut settings = Settings::default();
        settings.read("# note\n[Unit]\nAfter=a.service b.service\n[Service]\nExecStart=/x \\\n    --a \\\n    --b\nExecStartPre=/y\n");
        settings.read("[Service]\nExecStartPre=\nExecStartPre=-/z\nRestartSec=500ms\n[Unit]\nAfter=c.service\n");
        assert_eq!(settings.words("Unit", "After"), ["a.service", "b.service", "c.service"]);
        assert_eq!(settings.all("Service", "ExecStartPre"), ["-/z"]);
        assert_eq!(settings.last("Service", "ExecStart").map(|line| line.split_whitespace().count()), Some(3));
        assert_eq!(settings.seconds("Service", "RestartSec"), Some(0.5));
        assert_eq!(settings.seconds("Service", "TimeoutStopSec"), None);
    }

    #[test]
    fn command_lines_are_split_and_expanded_as_systemd_does() {
        let read = command("-/bin/x \"a b\" 'c\\d' $V ${V} 5%%").unwrap();
        assert_eq!(read.arguments, ["/bin/x", "a b", "c\\d", "$V", "${V}", "5%"]);
        assert!(read.ignore_failure && read.path == "/bin/x");
        let variables = BTreeMap::from([("V".to_owned(), "1 '2 3'".to_owned())]);
        assert_eq!(expand(&read.arguments, &variables), ["/bin/x", "a b", "c\\d", "1", "2 3", "1 '2 3'", "5%"]);
        assert_eq!(expand(&["$NONE".to_owned()], &variables), Vec::<String>::new());
        assert_eq!(command("/bin/x \"open"), None);
    }

    #[test]
    fn environment_files_are_read_as_systemd_does() {
        let found = environment("# c\nA=1\nB=\"x \\\"y\\\" \\$z\"\n\nC='a'b \nD=\n");
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("A", "1"), ("B", "x \"y\" $z"), ("C", "ab"), ("D", "")]);
        let found = environment("no assignment\n A =\"1\n2\"\nneither");
        assert_eq!(found, [("A".to_owned(), "1\n2".to_owned())]);
    }
}
