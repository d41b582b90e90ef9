//! Which image to run: Gardener's image vector (`docs/deployment/image_vector.md`).

mod constraint;
mod select;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(crate) use select::Request;

use constraint::Constraint;

/// Environment variable with the path of a file that overrides entries.
pub(crate) const OVERWRITE_ENV: &str = "IMAGEVECTOR_OVERWRITE";

const BUILT_IN: &str = include_str!("../../../charts/images.yaml");

/// Entries that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageVector(Vec<Entry>);

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
pub(crate) enum Error {
    #[error("read the image vector override {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not an image vector")]
    Malformed { origin: String, source: Box<serde_saphyr::Error> },
    #[error("{origin}: images[{index}]{field}: {message}")]
    Invalid { origin: String, index: usize, field: String, message: String },
    #[error("{origin}: image {name:?} needs ref or repository")]
    Incomplete { origin: String, name: String },
    #[error(
        "no image {name} for runtime version {runtime:?}, target version {target:?} and architecture {architecture}"
    )]
    NotFound { name: String, runtime: String, target: String, architecture: String },
}

#[derive(Deserialize)]
struct File {
    images: Vec<Entry>,
}

impl ImageVector {
    /// Ours, with the overrides of the file that [`OVERWRITE_ENV`] names.
    pub(crate) fn load(overwrite: Option<&Path>) -> Result<Self, Error> {
        let ours = parse("the built-in image vector", BUILT_IN)?;
        let Some(path) = overwrite else { return complete("the built-in image vector", ours) };
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let origin = path.display().to_string();
        complete(&origin, merge(ours, parse(&origin, &text)?))
    }
}

/// Reads one file and checks what is written there. Whether something is missing shows after overriding only ([`complete`]): an
/// override may give a tag alone.
fn parse(origin: &str, text: &str) -> Result<Vec<Entry>, Error> {
    let file: File = serde_saphyr::from_str(text)
        .map_err(|source| Error::Malformed { origin: origin.to_owned(), source: Box::new(source) })?;
    check(origin, &file.images)?;
    Ok(file.images)
}

fn check(origin: &str, entries: &[Entry]) -> Result<(), Error> {
    for (index, entry) in entries.iter().enumerate() {
        let invalid = |field: &str, message: String| Error::Invalid {
            origin: origin.to_owned(),
            index,
            field: field.to_owned(),
            message,
        };
        if entry.name.is_empty() {
            return Err(invalid(".name", "must not be empty".into()));
        }
        let texts = [(".repository", &entry.repository), (".tag", &entry.tag), (".ref", &entry.r#ref)];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(String::is_empty)) {
            return Err(invalid(field, "must not be empty where it is given".into()));
        }
        if entry.r#ref.is_some() && (entry.repository.is_some() || entry.tag.is_some()) {
            return Err(invalid(".ref", "excludes repository and tag".into()));
        }
        let versions = [(".runtimeVersion", &entry.runtime_version), (".targetVersion", &entry.target_version)];
        for (field, version) in versions {
            if let Some(text) = version
                && Constraint::parse(text).is_none()
            {
                return Err(invalid(field, format!("{text:?} is not a version constraint")));
            }
        }
    }
    Ok(())
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
