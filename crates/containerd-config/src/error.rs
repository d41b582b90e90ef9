//! A configuration that is not read.

use crate::limits::{DEPTH, FILE_BYTES, FILES, IMPORTS, NAMES, PATH_BYTES, PATTERN_BYTES, PATTERNS, cut};
use crate::wanted::Wanted;

/// A configuration with which containerd would not start, or that is beyond what is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No TOML. Nothing of the text is shown: it may have credentials of registries.
    #[error("{file}, line {line}: {message}")]
    NotToml {
        /// The file.
        file: String,
        /// Where, from 1.
        line: usize,
        /// What the reader says.
        message: String,
    },
    /// A key with a value of another type.
    #[error("{key} in {file} is {found}, {allowed} is allowed")]
    WrongType {
        /// The file.
        file: String,
        /// Its key, with the tables above it.
        key: String,
        /// The type that was found.
        found: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A key in capitals: some versions of containerd take it, some do not.
    #[error("{key:?} in {file} has to be written {expected:?}: not every containerd takes it in capitals")]
    Spelling {
        /// The file.
        file: String,
        /// The key as found.
        key: String,
        /// The key as it has to be.
        expected: &'static str,
    },
    /// A text that is no duration.
    #[error("{key} in {file} is {}, which is no duration such as \"2s\"", cut(value))]
    NotADuration {
        /// The file.
        file: String,
        /// Its key.
        key: String,
        /// The value.
        value: String,
    },
    /// A `version` that this containerd does not read.
    #[error("version in {file} is {found}, this containerd reads 0 to {newest}")]
    ConfigVersion {
        /// The file.
        file: String,
        /// The value.
        found: i64,
        /// The newest that is read.
        newest: i64,
    },
    /// A plugin named in a way that stops containerd.
    #[error("{list} in {file} names {}, names such as io.containerd.nri.v1.nri are allowed", cut(name))]
    PluginName {
        /// The file.
        file: String,
        /// The key: `plugins`, `disabled_plugins` or `required_plugins`.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// An imported file that is not there; of the imports only a pattern may find nothing.
    #[error("{file} is imported and not there")]
    Missing {
        /// The file.
        file: String,
    },
    /// A pattern that Go refuses.
    #[error("imports in {file} has {}, which is no pattern", cut(pattern))]
    Pattern {
        /// The file.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// A pattern for directories: containerd takes it, it is not read here.
    #[error("imports in {file} has {}, a pattern is read here for the file's name only", cut(pattern))]
    PatternForDirectories {
        /// The file.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// A pattern that is too long.
    #[error("imports in {file} has {}, whose last part is longer than {PATTERN_BYTES} bytes", cut(pattern))]
    PatternTooLong {
        /// The file.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// Too many patterns.
    #[error("{file} has one pattern too many in imports, {PATTERNS} are followed in all files")]
    TooManyPatterns {
        /// The file.
        file: String,
    },
    /// A path that cannot be used.
    #[error("{} is no absolute path of at most {PATH_BYTES} bytes", cut(path))]
    Path {
        /// The path.
        path: String,
    },
    /// A file that is too large.
    #[error("{file} has {size} bytes, {FILE_BYTES} are read")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        size: usize,
    },
    /// Too many files.
    #[error("{file} is one file too many, {FILES} are read")]
    TooManyFiles {
        /// The file that is not read any more.
        file: String,
    },
    /// Too many imports in one file.
    #[error("imports in {file} has {count} entries, {IMPORTS} are read")]
    TooManyImports {
        /// The file.
        file: String,
        /// How many it has.
        count: usize,
    },
    /// Imports of imports of imports.
    #[error("{file} is imported over more than {DEPTH} files")]
    TooDeep {
        /// The file.
        file: String,
    },
    /// Too many names where a pattern looks.
    #[error("{directory} has {count} names, {NAMES} are looked at")]
    TooManyNames {
        /// The directory.
        directory: String,
        /// How many it has.
        count: usize,
    },
    /// Something is imported and was not handed over ([`crate::Sources::wanted`]).
    #[error("{0} was not read")]
    NotRead(Wanted),
}
