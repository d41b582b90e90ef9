//! What has to be true before a version is released.

use std::path::Path;

use anyhow::Context as _;

use super::{changelog, chart_versions};
use crate::images::git;

/// What is known of the checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) version: String,
    /// Folder, version and application's version of each chart.
    pub(super) charts: Vec<(&'static str, String, String)>,
    /// The commit that is checked out.
    pub(super) revision: Option<String>,
    /// The commit of the tag `vVERSION`, where there is one.
    pub(super) tagged: Option<String>,
    /// Files that differ from the commit.
    pub(super) modified: Vec<String>,
    /// The changelog's section.
    pub(super) notes: Option<String>,
    /// The folder that the release would be written to is there.
    pub(super) has_folder: bool,
}

impl Facts {
    pub(super) fn read(root: &Path, version: &str, has_folder: bool) -> anyhow::Result<Self> {
        let changelog = std::fs::read_to_string(root.join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
        let tag = format!("refs/tags/v{version}^{{commit}}");
        let names = |arguments: &[&str]| git(root, arguments).unwrap_or_default();
        let modified =
            [names(&["diff", "--name-only", "HEAD"]), names(&["ls-files", "--others", "--exclude-standard"])]
                .iter()
                .flat_map(|names| names.lines().map(str::to_owned))
                .collect();
        Ok(Self {
            version: version.to_owned(),
            charts: chart_versions(root)?,
            revision: git(root, &["rev-parse", "--verify", "HEAD"]),
            tagged: git(root, &["rev-parse", "--verify", "--quiet", &tag]),
            modified,
            notes: changelog::section(&changelog, version),
            has_folder,
        })
    }
}

/// Each thing that is in the way, with what to do about it.
pub(super) fn obstacles(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let version = &facts.version;
    for (chart, own, application) in &facts.charts {
        for (what, is) in [("version", own), ("appVersion", application)] {
            if is != version {
                found.push(format!("{what} in {chart}/Chart.yaml is {is}, must be {version}"));
            }
        }
    }
    match &facts.notes {
        None => found.push(format!("CHANGELOG.md has no section `## {version}`")),
        Some(notes) if notes.trim().is_empty() => {
            found.push(format!("the section of {version} in CHANGELOG.md is empty"));
        }
        Some(_) => {}
    }
    match (&facts.revision, &facts.tagged) {
        (None, _) => found.push("this is no checkout of a commit".to_owned()),
        (Some(revision), Some(tagged)) if revision != tagged => {
            found.push(format!("the tag v{version} is at {tagged}, and {revision} is checked out"));
        }
        _ => {}
    }
    if let Some(first) = facts.modified.first() {
        found.push(format!("{} files differ from the commit, among them {first}", facts.modified.len()));
    }
    if facts.has_folder {
        found.push("the folder of the release exists; a release is made once, into an empty place".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Facts {
        Facts {
            version: "1.2.0".into(),
            charts: vec![("charts/a", "1.2.0".into(), "1.2.0".into())],
            revision: Some("abc".into()),
            notes: Some("- a\n".into()),
            ..Facts::default()
        }
    }

    #[test]
    fn each_obstacle_to_a_release_is_reported_by_itself() {
        assert_eq!(obstacles(&ready()), Vec::<String>::new());
        assert_eq!(obstacles(&Facts { tagged: Some("abc".into()), ..ready() }), Vec::<String>::new());
        for (facts, reported) in [
            (
                Facts { charts: vec![("charts/a", "1.1.0".into(), "1.2.0".into())], ..ready() },
                "version in charts/a/Chart.yaml is 1.1.0",
            ),
            (
                Facts { charts: vec![("charts/a", "1.2.0".into(), "1.1.0".into())], ..ready() },
                "appVersion in charts/a/Chart.yaml is 1.1.0",
            ),
            (Facts { notes: None, ..ready() }, "no section `## 1.2.0`"),
            (Facts { notes: Some("\n".into()), ..ready() }, "is empty"),
            (Facts { revision: None, ..ready() }, "no checkout"),
            (Facts { tagged: Some("def".into()), ..ready() }, "the tag v1.2.0 is at def"),
            (Facts { modified: vec!["a".into()], ..ready() }, "1 files differ from the commit, among them a"),
            (Facts { has_folder: true, ..ready() }, "the folder of the release exists"),
        ] {
            let found = obstacles(&facts);
            assert!(found.len() == 1 && found[0].contains(reported), "{reported}: {found:?}");
        }
    }
}
