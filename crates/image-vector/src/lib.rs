//! Which image to run: Gardener's image vector (gardener/gardener/docs/deployment/image_vector.md).

mod constraint;
mod select;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use select::Request;

use constraint::Constraint;

/// Environment variable with the path of a file that overrides entries.
pub const OVERWRITE_ENV: &str = "IMAGEVECTOR_OVERWRITE";

const BUILT_IN: &str = include_str!("../../../charts/images.yaml");

/// Entries that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVector(Vec<Entry>);

/// One entry as written. Unknown fields are ignored: newer Gardener versions add some.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    name: String,
    repository: Option<String>,
    tag: Option<String>,
    r#ref: Option<String>,
    runtime_version: Option<String>,
    target_version: Option<String>,
    architectures: Option<Vec<String>>,
}

/// Why there is no usable image vector, or no image. Every one but the last is fatal when the process starts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The override cannot be read.
    #[error("read the image vector override {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No YAML, or of another shape.
    #[error("{origin} is not an image vector")]
    Malformed {
        /// The file.
        origin: String,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// A field that cannot be.
    #[error("{origin}: images[{index}]{field}: {message}")]
    Invalid {
        /// The file.
        origin: String,
        /// Which entry, from 0.
        index: usize,
        /// Which of its fields, with the dot before it.
        field: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// Nothing names the image, in the override or before.
    #[error("{origin}: image {name:?} needs ref or repository")]
    Incomplete {
        /// The file.
        origin: String,
        /// Name of the image.
        name: String,
    },
    /// No entry fits.
    #[error(
        "no image {name} for runtime version {runtime:?}, target version {target:?} and architecture {architecture}"
    )]
    NotFound {
        /// Name of the image.
        name: String,
        /// Kubernetes version of the cluster in which it runs.
        runtime: String,
        /// Kubernetes version of the cluster that it works for.
        target: String,
        /// CPU architecture of the node.
        architecture: String,
    },
}

#[derive(Deserialize)]
struct File {
    images: Option<Vec<Entry>>,
}

impl ImageVector {
    /// Ours, with the overrides of the file that [`OVERWRITE_ENV`] names.
    pub fn load(overwrite: Option<&Path>) -> Result<Self, Error> {
        let ours = parse("the built-in image vector", BUILT_IN).map_err(Errors::into_first)?;
        let Some(path) = overwrite else { return complete("the built-in image vector", ours) };
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::overridden(&path.display().to_string(), &text).map_err(Errors::into_first)
    }

    /// Ours, with overrides; `origin` names them in errors.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn overridden(origin: &str, text: &str) -> Result<Self, Errors> {
        let ours = parse("the built-in image vector", BUILT_IN)?;
        complete(origin, merge(ours, parse(origin, text)?)).map_err(Errors::from)
    }

    /// Names of the images, each once.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|entry| entry.name.as_str()).collect()
    }
}

/// Errors: one, and perhaps more.
#[derive(Debug)]
pub struct Errors {
    first: Error,
    more: Vec<Error>,
}

impl Errors {
    /// All of them, in the order of what they are about.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn into_first(self) -> Error {
        self.first
    }
}

impl From<Error> for Errors {
    fn from(first: Error) -> Self {
        Self { first, more: Vec::new() }
    }
}

/// Reads one file and checks what is written there. Whether something is missing shows after overriding only ([`complete`]): an
/// override may give a tag alone.
///
/// A file that is empty, or has no list of images, overrides nothing, as in Go (field case D11).
fn parse(origin: &str, text: &str) -> Result<Vec<Entry>, Errors> {
    let file: Option<File> = serde_saphyr::from_str(text)
        .map_err(|source| Error::Malformed { origin: origin.to_owned(), source: Box::new(source) })?;
    let entries = file.and_then(|file| file.images).unwrap_or_default();
    let mut errors = entries.iter().enumerate().filter_map(|(index, entry)| {
        let (field, message) = fault(entry)?;
        Some(Error::Invalid { origin: origin.to_owned(), index, field: field.to_owned(), message })
    });
    if let Some(first) = errors.next() {
        return Err(Errors { first, more: errors.collect() });
    }
    drop(errors);
    Ok(entries)
}

/// What is wrong with an entry: a field, and why.
fn fault(entry: &Entry) -> Option<(&'static str, String)> {
    if entry.name.is_empty() {
        return Some((".name", "must not be empty".to_owned()));
    }
    let texts = [(".repository", &entry.repository), (".tag", &entry.tag), (".ref", &entry.r#ref)];
    if let Some((field, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(String::is_empty)) {
        return Some((field, "must not be empty where it is given".to_owned()));
    }
    if entry.r#ref.is_some() && (entry.repository.is_some() || entry.tag.is_some()) {
        return Some((".ref", "excludes repository and tag".to_owned()));
    }
    let versions = [(".runtimeVersion", &entry.runtime_version), (".targetVersion", &entry.target_version)];
    versions.into_iter().find_map(|(field, version)| {
        let text = version.as_ref().filter(|text| Constraint::parse(text).is_none())?;
        Some((field, format!("{text:?} is not a version constraint")))
    })
}

fn complete(origin: &str, entries: Vec<Entry>) -> Result<ImageVector, Error> {
    match entries.iter().find(|entry| entry.r#ref.is_none() && entry.repository.is_none()) {
        Some(entry) => Err(Error::Incomplete { origin: origin.to_owned(), name: entry.name.clone() }),
        None => Ok(ImageVector(entries)),
    }
}

/// An override of the same key replaces field by field, another one is added.
fn merge(mut entries: Vec<Entry>, overrides: Vec<Entry>) -> Vec<Entry> {
    for new in overrides {
        let same = |old: &&mut Entry| {
            (&old.name, &old.runtime_version, &old.target_version, &old.architectures)
                == (&new.name, &new.runtime_version, &new.target_version, &new.architectures)
        };
        match entries.iter_mut().find(same) {
            None => entries.push(new),
            Some(old) if new.r#ref.is_some() => {
                (old.repository, old.tag, old.r#ref) = (None, None, new.r#ref);
            }
            Some(old) => {
                if new.repository.is_some() {
                    old.r#ref = None;
                    old.repository = new.repository;
                }
                old.tag = new.tag.or(old.tag.take());
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests;
