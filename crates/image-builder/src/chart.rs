//! A Helm chart's archive, made without Helm.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::tree::{Node, Tree};
use crate::{Error, gzip};

/// What of a chart's folder belongs into its archive, beside `Chart.yaml`; test values and the like do not.
const PARTS: [&str; 7] =
    ["Chart.lock", "values.yaml", "values.schema.json", "README.md", "templates", "crds", "charts"];
/// Mode of every file in it: a checkout's umask must not show.
const FILE_MODE: u32 = 0o644;

/// A packed chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its name, which is also the archive's top folder.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// `Chart.yaml` as it is in the archive.
    pub metadata: String,
    /// The gzipped tar.
    pub archive: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    version: String,
}

impl Chart {
    /// Packs the chart in `folder`. Only the parts that Helm reads are taken, sorted and with fixed modes.
    ///
    /// # Errors
    /// [`Error::Chart`] when `Chart.yaml` has no name or version or the folder holds something that is no plain file.
    pub fn pack(folder: &Path) -> Result<Self, Error> {
        Self::pack_with(folder, None)
    }

    /// The same for images of this tag, whose version takes the place of both in `Chart.yaml`, as by `helm package --version … --app-version …`:
    /// the tag itself where it is a version, with or without `v` before it, else the chart's own version with the tag behind it.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn pack_for(folder: &Path, tag: &str) -> Result<Self, Error> {
        Self::pack_with(folder, Some(tag))
    }

    fn pack_with(folder: &Path, tag: Option<&str>) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Chart { path: folder.to_path_buf(), reason };
        let path = folder.join("Chart.yaml");
        let mut text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let read = |text: &str| -> Result<Metadata, Error> {
            serde_saphyr::from_str(text).map_err(|error| wrong(format!("Chart.yaml: {error}")))
        };
        let Metadata { name, mut version } = read(&text)?;
        if let Some(tag) = tag {
            let wanted = version_for(&version, tag);
            text = with_version(&text, &wanted);
            version = read(&text)?.version;
            if version != wanted {
                return Err(wrong("Chart.yaml has its version in another form than `version: …`".to_owned()));
            }
        }
        let mut tree = Tree::new();
        for part in PARTS {
            let path = folder.join(part);
            if path.exists() {
                add(&mut tree, &format!("{name}/{part}"), &path)?;
            }
        }
        let file = Node::File { mode: FILE_MODE, content: text.clone().into_bytes() };
        tree.insert(&format!("{name}/Chart.yaml"), file)?;
        let archive = gzip::compress(&tree.to_tar()?)?;
        Ok(Self { name, version, metadata: text, archive })
    }

    /// The file name that `helm package` would give it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.name, self.version)
    }
}

/// The version of a chart for images of this tag; a chart must have a semantic one.
fn version_for(own: &str, tag: &str) -> String {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    if is_version(version) {
        return version.to_owned();
    }
    // One identifier that is no number, so that zeros may lead it.
    format!("{own}-tag-{}", tag.replace(['.', '_'], "-"))
}

/// `1.2.3` or `1.2.3-rc.1`; what tags cannot hold is not looked for.
fn is_version(text: &str) -> bool {
    let (numbers, rest) = text.split_once('-').map_or((text, None), |(numbers, rest)| (numbers, Some(rest)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leads_zeros = |part: &str| part.len() > 1 && part.starts_with('0');
    let identifier = |part: &str| {
        let allowed = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !part.is_empty() && allowed && !(digits(part) && leads_zeros(part))
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|part| digits(part) && !leads_zeros(part))
        && rest.is_none_or(|rest| rest.split('.').all(identifier))
}

/// `Chart.yaml` with this as version of the chart and of its application.
fn with_version(text: &str, version: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((key @ ("version" | "appVersion"), _)) => format!("{key}: {version}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn add(tree: &mut Tree, name: &str, path: &Path) -> Result<(), Error> {
    let kind = fs::symlink_metadata(path).map_err(Error::io("read", path))?.file_type();
    if kind.is_file() {
        let content = fs::read(path).map_err(Error::io("read", path))?;
        return tree.insert(name, Node::File { mode: FILE_MODE, content });
    }
    if !kind.is_dir() {
        return Err(Error::Chart { path: path.to_path_buf(), reason: "is neither file nor folder".to_owned() });
    }
    let mut children: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        children.push(entry.map_err(Error::io("read", path))?.path());
    }
    for child in children {
        let file_name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        add(tree, &format!("{name}/{file_name}"), &child)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(folder: &Path) {
        fs::create_dir_all(folder.join("templates")).unwrap();
        fs::create_dir_all(folder.join("ci")).unwrap();
        fs::write(folder.join("templates/a.yaml"), "a").unwrap();
        fs::write(folder.join("ci/some-values.yaml"), "b").unwrap();
        fs::write(folder.join("Chart.yaml"), "name: some\nversion: 1.2.3\n").unwrap();
    }

    #[test]
    fn equal_folders_give_equal_archives_without_test_values() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        chart(one.path());
        chart(other.path());
        let packed = Chart::pack(one.path()).unwrap();
        assert_eq!(packed.archive, Chart::pack(other.path()).unwrap().archive);
        assert_eq!(packed.file_name(), "some-1.2.3.tgz");
        let tree = Tree::from_tar(&gzip::decompress(&packed.archive, "chart").unwrap(), "chart").unwrap();
        assert_eq!(tree.file("some/templates/a.yaml"), Some(&b"a"[..]));
        assert!(tree.get("some/ci").is_none());
    }

    #[test]
    fn a_chart_has_the_version_of_its_images() {
        let folder = tempfile::tempdir().unwrap();
        chart(folder.path());
        let path = folder.path().join("Chart.yaml");
        fs::write(&path, "# version: of what\nname: some\nversion: 1.2.3\nappVersion: 1.2.2\n").unwrap();
        for (tag, version) in [
            ("2.0.0", "2.0.0"),
            ("v2.0.0-rc.1", "2.0.0-rc.1"),
            ("1.2.3", "1.2.3"),
            ("1.10", "1.2.3-tag-1-10"),
            ("01.2.3", "1.2.3-tag-01-2-3"),
            ("1.2.3-01", "1.2.3-tag-1-2-3-01"),
            ("7f9c2ba_dirty", "1.2.3-tag-7f9c2ba-dirty"),
        ] {
            assert!(is_version(version), "{version}");
            let packed = Chart::pack_for(folder.path(), tag).unwrap();
            assert_eq!(packed.file_name(), format!("some-{version}.tgz"));
            let tree = Tree::from_tar(&gzip::decompress(&packed.archive, "chart").unwrap(), "chart").unwrap();
            let inside = format!("# version: of what\nname: some\nversion: {version}\nappVersion: {version}\n");
            assert_eq!(tree.file("some/Chart.yaml"), Some(inside.as_bytes()), "{tag}");
            assert_eq!(packed.metadata, inside);
        }
        fs::write(&path, "name: some\n\"version\": 1.2.3\n").unwrap();
        assert!(Chart::pack(folder.path()).is_ok());
        assert!(Chart::pack_for(folder.path(), "2.0.0").is_err(), "it would say 1.2.3");
    }

    #[test]
    fn packing_a_folder_without_a_chart_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Chart::pack(folder.path()).is_err());
        chart(folder.path());
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("templates/link.yaml")).unwrap();
        assert!(Chart::pack(folder.path()).is_err());
    }
}
