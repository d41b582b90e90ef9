//! A Helm chart's archive, made without Helm.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::tree::{Node, Tree};
use crate::{Error, gzip};

/// What of a chart's folder belongs into its archive; test values and the like do not.
const PARTS: [&str; 8] =
    ["Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json", "README.md", "templates", "crds", "charts"];
/// Mode of every file in it: a checkout's umask must not show.
const FILE_MODE: u32 = 0o644;

/// A packed chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its name, which is also the archive's top folder.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// `Chart.yaml` as it is.
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
        let wrong = |reason: String| Error::Chart { path: folder.to_path_buf(), reason };
        let path = folder.join("Chart.yaml");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let Metadata { name, version } =
            serde_saphyr::from_str(&text).map_err(|error| wrong(format!("Chart.yaml: {error}")))?;
        let mut tree = Tree::new();
        for part in PARTS {
            let path = folder.join(part);
            if path.exists() {
                add(&mut tree, &format!("{name}/{part}"), &path)?;
            }
        }
        let archive = gzip::compress(&tree.to_tar()?)?;
        Ok(Self { name, version, metadata: text, archive })
    }

    /// The file name that `helm package` would give it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.name, self.version)
    }
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
    fn packing_a_folder_without_a_chart_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Chart::pack(folder.path()).is_err());
        chart(folder.path());
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("templates/link.yaml")).unwrap();
        assert!(Chart::pack(folder.path()).is_err());
    }
}
