//! The files of a configuration, asked for one by one: whoever can read them does, and nothing here waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::document::Document;
use crate::error::ConfigError;
use crate::imports::{Import, clean, join, split};
use crate::limits::{DEPTH, FILES, NAMES, PATH_BYTES, PATTERNS};
use crate::wanted::Wanted;

/// The main file and what it imports, in containerd's order (`LoadConfig`, the same in 1.7.34, 2.2.9 and 2.3.7): the main file, then its
/// imports one after the other, the names of a pattern sorted, then the imports of those. A path is loaded once.
///
/// ```
/// use containerd_config::{Sources, Wanted};
///
/// # fn main() -> Result<(), containerd_config::ConfigError> {
/// let mut sources = Sources::new("/etc/containerd/config.toml", Some("imports = ['conf.d/*.toml']"))?;
/// while let Some(wanted) = sources.wanted()? {
///     match wanted {
///         Wanted::Names(directory) => sources.names(&directory, vec!["a.toml".to_owned()])?,
///         Wanted::File(path) => sources.file(&path, Some("version = 2"))?,
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    main: String,
    files: BTreeMap<String, Document>,
    directories: BTreeMap<String, BTreeSet<String>>,
    /// Paths that each pattern finds, as soon as the names of its directory are known.
    found: BTreeMap<String, Vec<String>>,
}

impl Sources {
    /// A main file, by its absolute path. `None`: it is not there, and containerd goes by its built-in configuration, which imports
    /// nothing (where `--config` is not given; where it is, containerd does not start without the file).
    ///
    /// # Errors
    /// A file that is not read.
    pub fn new(main: &str, text: Option<&str>) -> Result<Self, ConfigError> {
        if !main.starts_with('/') || main.len() > PATH_BYTES {
            return Err(ConfigError::Path { path: main.to_owned() });
        }
        let (files, directories, found) = Default::default();
        let mut sources = Self { main: main.to_owned(), files, directories, found };
        if text.is_some() {
            sources.file(main, text)?;
        }
        Ok(sources)
    }

    /// Path of the main file.
    #[must_use]
    pub fn main(&self) -> &str {
        &self.main
    }

    /// Whether the main file is there.
    #[must_use]
    pub fn has_main(&self) -> bool {
        self.files.contains_key(&self.main)
    }

    /// What has to be handed over next ([`Sources::file`], [`Sources::names`]); `None` when all is there.
    ///
    /// # Errors
    /// Imports that are not followed any more.
    pub fn wanted(&self) -> Result<Option<Wanted>, ConfigError> {
        match self.walk() {
            Ok(_) => Ok(None),
            Err(ConfigError::NotRead(wanted)) => Ok(Some(wanted)),
            Err(error) => Err(error),
        }
    }

    /// Hands over a file.
    ///
    /// # Errors
    /// A file that is not there (`None`), or is not read.
    pub fn file(&mut self, path: &str, text: Option<&str>) -> Result<(), ConfigError> {
        let text = text.ok_or_else(|| ConfigError::Missing { file: path.to_owned() })?;
        self.files.insert(path.to_owned(), Document::read(path, text)?);
        self.match_patterns()
    }

    /// Hands over everything that is in a directory; nothing where the directory is not there, as Go has it.
    ///
    /// # Errors
    /// More names than are checked.
    pub fn names(&mut self, directory: &str, names: Vec<String>) -> Result<(), ConfigError> {
        if names.len() > NAMES {
            return Err(ConfigError::TooManyNames { directory: directory.to_owned(), count: names.len() });
        }
        self.directories.insert(directory.to_owned(), names.into_iter().collect());
        self.match_patterns()
    }

    /// The same with one more file, or another text of it; `None` if no import would load it.
    ///
    /// # Errors
    /// A text that is not read, or something that was not handed over.
    pub fn with(&self, path: &str, text: &str) -> Result<Option<Self>, ConfigError> {
        let path = clean(path);
        let mut with = self.clone();
        with.change_names(&path, BTreeSet::insert);
        with.file(&path, Some(text))?;
        let is_loaded = with.walk()?.iter().any(|(loaded, _)| *loaded == path);
        Ok(is_loaded.then_some(with))
    }

    /// The same without a file that a pattern found.
    ///
    /// # Errors
    /// A file that is imported by its name, without which containerd would not start.
    pub fn without(&self, path: &str) -> Result<Self, ConfigError> {
        let path = clean(path);
        let mut without = self.clone();
        without.files.remove(&path);
        without.change_names(&path, |names, name| names.remove(&name));
        without.match_patterns()?;
        match without.wanted()? {
            Some(Wanted::File(missing)) if missing == path => Err(ConfigError::Missing { file: path }),
            _ => Ok(without),
        }
    }

    /// Changes the names of a path's directory, where they matter.
    fn change_names(&mut self, path: &str, change: impl Fn(&mut BTreeSet<String>, String) -> bool) {
        let (directory, name) = split(path);
        if let Some(names) = self.directories.get_mut(directory) {
            change(names, name.to_owned());
            self.found.retain(|pattern, _| split(pattern).0 != directory);
        }
    }

    /// Looks up the patterns that were not looked up yet.
    fn match_patterns(&mut self) -> Result<(), ConfigError> {
        for (file, document) in &self.files {
            for import in &document.imports {
                let Import::Pattern(pattern) = import else { continue };
                let Some(names) = self.directories.get(pattern.directory()) else { continue };
                if self.found.contains_key(pattern.text()) {
                    continue;
                }
                if self.found.len() == PATTERNS {
                    return Err(ConfigError::TooManyPatterns { file: file.clone() });
                }
                let fitting = names.iter().filter(|name| pattern.matches(name));
                let paths = fitting.map(|name| join(pattern.directory(), name)).collect();
                self.found.insert(pattern.text().to_owned(), paths);
            }
        }
        Ok(())
    }

    /// The files in containerd's order.
    pub(crate) fn walk(&self) -> Result<Vec<(&str, &Document)>, ConfigError> {
        let mut loaded: Vec<(&str, &Document)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut pending: VecDeque<(&str, usize)> = VecDeque::new();
        if self.has_main() {
            pending.push_back((&self.main, 0));
        }
        while let Some((path, depth)) = pending.pop_front() {
            if !seen.insert(path) {
                continue;
            }
            if loaded.len() == FILES {
                return Err(ConfigError::TooManyFiles { file: path.to_owned() });
            }
            if depth > DEPTH {
                return Err(ConfigError::TooDeep { file: path.to_owned() });
            }
            let Some(document) = self.files.get(path) else {
                return Err(ConfigError::NotRead(Wanted::File(path.to_owned())));
            };
            loaded.push((path, document));
            for import in &document.imports {
                match import {
                    Import::File(path) => pending.push_back((path, depth + 1)),
                    Import::Pattern(pattern) => {
                        let Some(paths) = self.found.get(pattern.text()) else {
                            return Err(ConfigError::NotRead(Wanted::Names(pattern.directory().to_owned())));
                        };
                        pending.extend(paths.iter().map(|path| (path.as_str(), depth + 1)));
                    }
                }
            }
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Sources;
    use crate::error::ConfigError;
    use crate::imports::split;
    use crate::limits::{DEPTH, FILES};
    use crate::wanted::Wanted;

    /// Reads all files of a tree, the first of which is the main one.
    fn read(tree: &[(&str, &str)]) -> Result<Sources, ConfigError> {
        let files: BTreeMap<&str, &str> = tree.iter().copied().collect();
        let mut sources = Sources::new(tree[0].0, Some(tree[0].1))?;
        while let Some(wanted) = sources.wanted()? {
            match wanted {
                Wanted::File(path) => sources.file(&path, files.get(path.as_str()).copied())?,
                Wanted::Names(directory) => {
                    let names = files.keys().map(|path| split(path)).filter(|(above, _)| *above == directory);
                    sources.names(&directory, names.map(|(_, name)| name.to_owned()).collect())?;
                }
            }
        }
        Ok(sources)
    }

    fn order(sources: &Sources) -> Vec<String> {
        sources.walk().unwrap().iter().map(|(path, _)| (*path).to_owned()).collect()
    }

    #[test]
    fn files_are_loaded_in_breadth_and_once() {
        let sources = read(&[
            ("/c/main", "imports = ['z', 'd/*.toml', 'z', 'main']"),
            ("/c/z", "imports = ['deep']"),
            ("/c/d/b.toml", "imports = ['../z']"),
            ("/c/d/a.toml", ""),
            ("/c/d/.toml", ""),
            ("/c/d/other", ""),
            ("/c/deep", ""),
        ])
        .unwrap();
        assert_eq!(order(&sources), ["/c/main", "/c/z", "/c/d/.toml", "/c/d/a.toml", "/c/d/b.toml", "/c/deep"]);
    }

    #[test]
    fn a_file_can_be_added_where_a_pattern_finds_it_and_taken_away_again() {
        let sources = read(&[("/c/main", "imports = ['d/*.toml']"), ("/c/d/a.toml", "")]).unwrap();
        let with = sources.with("/c/d/../d/zz.toml", "version = 2").unwrap().unwrap();
        assert_eq!(order(&with), ["/c/main", "/c/d/a.toml", "/c/d/zz.toml"]);
        assert_eq!(order(&with.without("/c/d/zz.toml").unwrap()), order(&sources));
        assert_eq!(sources.with("/c/d/zz.conf", ""), Ok(None));
        assert_eq!(sources.with("/c/zz.toml", ""), Ok(None));
        assert_eq!(Sources::new("/c/main", None).unwrap().with("/c/d/zz.toml", ""), Ok(None));
        assert!(sources.with("/c/d/zz.toml", "=").is_err());
    }

    #[test]
    fn missing_files_and_endless_imports_are_errors() {
        assert_eq!(read(&[("/main", "imports = ['/gone']")]), Err(ConfigError::Missing { file: "/gone".to_owned() }));
        assert!(read(&[("/main", "imports = ['/gone/*']")]).is_ok());
        assert!(read(&[("/main", "imports = ['main']")]).is_ok());
        assert!(Sources::new("main", None).is_err());

        let chain = |length: usize| -> Vec<(String, String)> {
            (0..=length)
                .map(|at| (format!("/{at:04}"), format!("imports = ['/{:04}']", (at + 1).min(length))))
                .collect()
        };
        let read_chain = |length| {
            let chain = chain(length);
            let tree: Vec<_> = chain.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            read(&tree)
        };
        assert!(read_chain(DEPTH).is_ok());
        assert!(matches!(read_chain(DEPTH + 1), Err(ConfigError::TooDeep { .. })));

        let wide = |count: usize| {
            let names: Vec<String> = (1..count).map(|at| format!("/d/{at}")).collect();
            let mut tree = vec![("/main", "imports = ['/d/*']")];
            tree.extend(names.iter().map(|name| (name.as_str(), "")));
            read(&tree)
        };
        assert!(wide(FILES).is_ok());
        assert!(matches!(wide(FILES + 1), Err(ConfigError::TooManyFiles { .. })));
        let patterns = |count: usize| {
            let patterns: Vec<String> = (0..count).map(|at| format!("'/{at}/*'")).collect();
            read(&[("/main", &format!("imports = [{}]", patterns.join(",")))])
        };
        assert!(patterns(16).is_ok());
        assert!(matches!(patterns(17), Err(ConfigError::TooManyPatterns { .. })));
        assert!(matches!(wide(1100), Err(ConfigError::TooManyNames { count: 1099, .. })));
    }
}
