//! What a file imports (`resolveImports` in containerd's `server/config/config.go`, the same in 1.7.34, 2.2.9 and 2.3.7).

use crate::error::ConfigError;
use crate::limits::{IMPORTS, PATH_BYTES, PATTERN_BYTES};
use crate::pattern::{NamePattern, has_meta};

/// One entry of `imports`, as an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    /// One file; containerd does not start without it.
    File(String),
    /// Files of one directory; there may be none.
    Pattern(ImportPattern),
}

/// Files of one directory whose names fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPattern {
    text: String,
    names: NamePattern,
}

impl ImportPattern {
    /// The whole of it, as an absolute path.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The directory, without a `/` at its end.
    #[must_use]
    pub fn directory(&self) -> &str {
        split(&self.text).0
    }

    /// Whether a name in the directory fits. A name that begins with a dot fits as any other.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.names.matches(name)
    }
}

/// The entries as paths and patterns.
pub(crate) fn resolve(file: &str, entries: &[String]) -> Result<Vec<Import>, ConfigError> {
    if entries.len() > IMPORTS {
        return Err(ConfigError::TooManyImports { file: file.to_owned(), count: entries.len() });
    }
    let above = split(file).0;
    let resolve = |entry: &String| {
        let path = if entry.starts_with('/') { clean(entry) } else { clean(&format!("{above}/{entry}")) };
        if path.len() > PATH_BYTES || path.contains('\0') {
            return Err(ConfigError::Path { path });
        }
        if !path.contains('*') {
            return Ok(Import::File(path));
        }
        let (directory, name) = split(&path);
        if has_meta(directory) {
            return Err(ConfigError::PatternForDirectories { file: file.to_owned(), pattern: path });
        }
        if name.len() > PATTERN_BYTES {
            return Err(ConfigError::PatternTooLong { file: file.to_owned(), pattern: path });
        }
        match NamePattern::parse(name) {
            Some(names) => Ok(Import::Pattern(ImportPattern { text: path, names })),
            None => Err(ConfigError::Pattern { file: file.to_owned(), pattern: path }),
        }
    };
    entries.iter().map(resolve).collect()
}

/// An absolute path without `.`, `..` and doubled `/`, as Go's `filepath.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Directory and name of an absolute path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => ("/", path),
    }
}

/// The path of a name in a directory.
pub(crate) fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::Import;
    use crate::document::imports;
    use crate::error::ConfigError;

    const MAIN: &str = "/etc/containerd/config.toml";

    #[test]
    fn paths_are_seen_from_the_directory_of_the_file() {
        for (entry, path) in [
            ("/a/b.toml", "/a/b.toml"),
            ("b.toml", "/etc/containerd/b.toml"),
            ("../b.toml", "/etc/b.toml"),
            ("/a//b/../c.toml", "/a/c.toml"),
            ("/../../a", "/a"),
            ("", "/etc/containerd"),
            // Only a `*` makes a pattern.
            ("conf.d/?.toml", "/etc/containerd/conf.d/?.toml"),
            ("conf.d/[a].toml", "/etc/containerd/conf.d/[a].toml"),
        ] {
            assert_eq!(
                imports(MAIN, &format!("imports = ['{entry}']")),
                Ok(vec![Import::File(path.to_owned())]),
                "{entry}"
            );
        }
        assert_eq!(imports(MAIN, "version = 2"), Ok(vec![]));
    }

    #[test]
    fn a_star_makes_a_pattern_for_names() {
        for (entry, directory) in [
            ("/etc/containerd/conf.d/*.toml", "/etc/containerd/conf.d"),
            ("*.toml", "/etc/containerd"),
            ("/*.toml", "/"),
        ] {
            let found = imports(MAIN, &format!("imports = ['{entry}']")).unwrap();
            let [Import::Pattern(pattern)] = &found[..] else { panic!("{found:?}") };
            assert_eq!(pattern.directory(), directory);
            assert!(pattern.matches("10-a.toml") && !pattern.matches("10-a.conf"));
        }
        for (entry, is_allowed) in
            [("/a/[*.toml", false), ("/etc/*/a.toml", false), ("/etc/[ab]/*.toml", false), ("/a/*", true)]
        {
            assert_eq!(imports(MAIN, &format!("imports = ['{entry}']")).is_ok(), is_allowed, "{entry}");
        }
    }

    #[test]
    fn imports_are_counted_and_typed() {
        let many = format!("imports = [{}]", "'a',".repeat(65));
        assert_eq!(imports(MAIN, &many), Err(ConfigError::TooManyImports { file: MAIN.to_owned(), count: 65 }));
        for text in ["imports = 'a'", "imports = [1]", "Imports = ['a']"] {
            assert!(imports(MAIN, text).is_err(), "{text}");
        }
        assert!(imports(MAIN, &format!("imports = ['{}']", "a".repeat(5000))).is_err());
    }
}
