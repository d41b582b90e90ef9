//! All files of a configuration as the containerd of a version puts them together.

use crate::document::{Document, NRI, NRI_ID};
use crate::error::ConfigError;
use crate::sources::Sources;
use crate::table::{NriTable, Tree, merge, tree};
use crate::version::{ContainerdVersion, Rules};

/// The configuration of one containerd, as far as it matters to NRI.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    containerd: ContainerdVersion,
    sources: Sources,
    version: i64,
    /// The `version` that another file may carry without changing how the others are read; none is always right from 2.0 on.
    neutral_version: Option<i64>,
    nri: NriTable,
    tree: Tree,
    disabled_in: Option<String>,
}

impl Config {
    /// What this containerd makes of the files. (A main file that is not there: its built-in configuration.)
    ///
    /// # Errors
    /// Something with which containerd does not start, or that is not read here.
    pub fn read(containerd: ContainerdVersion, sources: &Sources) -> Result<Self, ConfigError> {
        let rules = containerd.rules();
        let files = sources.walk()?;
        let (version, neutral_version) = version(rules, &files)?;
        let by_id = rules == Rules::Replace && version == 1;
        let mut tree_of_nri = Tree::new();
        let mut disabled_in = None;
        for (path, document) in &files {
            names(rules, version, path, document)?;
            let (name, table) = if by_id { (NRI_ID, &document.nri_by_id) } else { (NRI, &document.nri) };
            if disabled_in.is_none() && document.disabled_plugins.iter().any(|disabled| disabled == name) {
                disabled_in = Some((*path).to_owned());
            }
            match table {
                None => {}
                Some(table) if rules == Rules::Replace => tree_of_nri = tree(path, table),
                Some(table) => merge(&mut tree_of_nri, tree(path, table)),
            }
        }
        Ok(Self {
            containerd,
            sources: sources.clone(),
            version,
            neutral_version,
            nri: NriTable::read(containerd, &tree_of_nri)?,
            tree: tree_of_nri,
            disabled_in,
        })
    }

    /// The containerd that it was read for.
    #[must_use]
    pub fn containerd(&self) -> ContainerdVersion {
        self.containerd
    }

    /// The files.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The version by which containerd reads plugins' tables: before 2.3 the last one that a file has, from 2.3 on the newest.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What the files say about NRI.
    #[must_use]
    pub fn nri(&self) -> &NriTable {
        &self.nri
    }

    /// The first file whose `disabled_plugins` has NRI. The lists of all files count together.
    #[must_use]
    pub fn disabled_in(&self) -> Option<&str> {
        self.disabled_in.as_deref()
    }

    pub(crate) fn neutral_version(&self) -> Option<i64> {
        self.neutral_version
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// The version that counts in the end, and the one for another file.
fn version(rules: Rules, files: &[(&str, &Document)]) -> Result<(i64, Option<i64>), ConfigError> {
    let error = |(file, document): &(&str, &Document)| ConfigError::ConfigVersion {
        file: (*file).to_owned(),
        found: document.version,
        newest: rules.newest(),
    };
    let is_too_new = |(_, document): &&(&str, &Document)| document.version > rules.newest();
    if let Some(file) = files.iter().find(|(_, document)| document.version < 0) {
        return Err(error(file));
    }
    // The first that is said; 1 is migrated by 2.0 and later to the version that counts then, and so says nothing.
    let first_said = if rules == Rules::Replace { 1 } else { 2 };
    let last = files.iter().rev().find(|(_, document)| document.version >= first_said);
    match rules {
        Rules::Replace | Rules::Merge => match last {
            Some(file) if is_too_new(&file) => Err(error(file)),
            Some((_, document)) => Ok((document.version, Some(document.version))),
            None => Ok((if rules == Rules::Replace { 1 } else { rules.newest() }, None)),
        },
        Rules::MergeMigrated => match files.iter().find(is_too_new) {
            Some(file) => Err(error(file)),
            None => Ok((rules.newest(), files.first().map(|(_, main)| main.version).filter(|version| *version != 0))),
        },
    }
}

/// Refuses names with which containerd does not start.
fn names(rules: Rules, version: i64, file: &str, document: &Document) -> Result<(), ConfigError> {
    let is_allowed = |name: &String| match rules {
        Rules::Replace => version == 1 || (name.starts_with("io.containerd.") && name.split('.').count() >= 4),
        // Names of version 1 are made into new ones.
        Rules::Merge | Rules::MergeMigrated => document.version < 2 || name.contains('.'),
    };
    let none = Vec::new();
    let plugins = if rules == Rules::Replace { &document.plugins } else { &none };
    let lists = [
        ("disabled_plugins", &document.disabled_plugins),
        ("required_plugins", &document.required_plugins),
        ("plugins", plugins),
    ];
    for (list, names) in lists {
        if let Some(name) = names.iter().find(|name| !is_allowed(name)) {
            return Err(ConfigError::PluginName { file: file.to_owned(), list, name: name.clone() });
        }
    }
    Ok(())
}
