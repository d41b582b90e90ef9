//! Choosing one entry.

use super::constraint::{Constraint, normalized};
use super::{Entry, Error, ImageVector};

/// What an image is needed for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Name in the image vector.
    pub name: &'a str,
    /// Kubernetes version of the cluster in which it runs.
    pub runtime_version: Option<&'a str>,
    /// Kubernetes version of the cluster that it works for.
    pub target_version: Option<&'a str>,
    /// CPU architecture of the node.
    pub architecture: &'a str,
}

const BOTH: [&str; 2] = ["amd64", "arm64"];

impl ImageVector {
    /// The reference of the best entry; the first one among equals.
    pub fn find(&self, request: Request<'_>) -> Result<String, Error> {
        let mut best: Option<(u8, &Entry)> = None;
        for entry in self.0.iter().filter(|entry| entry.name == request.name) {
            if let Some(score) = score(entry, request)
                && best.is_none_or(|(highest, _)| score > highest)
            {
                best = Some((score, entry));
            }
        }
        best.and_then(|(_, entry)| reference(entry, request.target_version)).ok_or_else(|| Error::NotFound {
            name: request.name.to_owned(),
            runtime: request.runtime_version.unwrap_or_default().to_owned(),
            target: request.target_version.unwrap_or_default().to_owned(),
            architecture: request.architecture.to_owned(),
        })
    }
}

/// How well an entry fits; `None` when it does not.
fn score(entry: &Entry, request: Request<'_>) -> Option<u8> {
    let version = |constraint: Option<&str>, wanted: Option<&str>| -> Option<u8> {
        let (Some(text), Some(wanted)) = (constraint, wanted) else { return Some(0) };
        let fits = Constraint::parse(text)?.matches(normalized(wanted)?);
        fits.then(|| if Constraint::is_exact(text) { 2 } else { 1 })
    };
    let architectures =
        entry.architectures.as_ref().map_or(BOTH.to_vec(), |list| list.iter().map(String::as_str).collect());
    let architecture = match (architectures.contains(&request.architecture), architectures.len()) {
        (false, _) => return None,
        (true, 1) => 2,
        (true, _) => 1,
    };
    Some(
        version(entry.runtime_version.as_deref(), request.runtime_version)?
            + version(entry.target_version.as_deref(), request.target_version)?
            + architecture,
    )
}

fn reference(entry: &Entry, target_version: Option<&str>) -> Option<String> {
    if let Some(reference) = &entry.r#ref {
        return Some(reference.clone());
    }
    let repository = entry.repository.as_deref()?;
    let tag =
        entry.tag.clone().or_else(|| target_version.map(|version| format!("v{}", version.trim_start_matches('v'))));
    Some(match tag {
        None => repository.to_owned(),
        Some(tag) if tag.starts_with("sha256:") => format!("{repository}@{tag}"),
        Some(tag) => format!("{repository}:{tag}"),
    })
}
