//! What an image is made of: `deploy/images/*.yaml`.

use std::path::{Path, PathBuf};

use program_file::Program;
use serde::Deserialize;

use crate::Error;
use crate::payload::DAEMON;
use crate::platform::Platform;
use crate::tree::{Node, Tree};

/// One image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageDefinition {
    /// The image's name, without registry and tag.
    pub name: String,
    /// One line, for people.
    pub title: String,
    /// A sentence, for people.
    pub description: String,
    /// Numeric `uid:gid`: kubelet's `runAsNonRoot` cannot judge a name.
    pub user: String,
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a pod may replace.
    #[serde(default)]
    pub command: Vec<String>,
    /// The platforms it is built for.
    pub platforms: Vec<Platform>,
    /// From the one that changes least to the one that changes most.
    pub layers: Vec<LayerDefinition>,
}

/// One layer: files, the payload, or both.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LayerDefinition {
    /// Single files.
    #[serde(default)]
    pub files: Vec<FileDefinition>,
    /// The folder below which the whole payload archive is laid out.
    #[serde(default)]
    pub payload: Option<String>,
}

/// One file, from exactly one source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileDefinition {
    /// Its absolute path in the image.
    pub path: String,
    /// Permission bits as an octal text, such as `"0755"`.
    pub mode: String,
    /// The name of a binary of this workspace.
    #[serde(default)]
    pub binary: Option<String>,
    /// A file of this repository, relative to its root.
    #[serde(default)]
    pub file: Option<String>,
}

/// Where the sources of an image's files are found.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The repository.
    pub root: &'a Path,
    /// The folder of the built binaries.
    pub binaries: &'a Path,
    /// The payload's tree, where there is one.
    pub payload: Option<&'a Tree>,
}

impl ImageDefinition {
    /// Reads and checks the definition at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text).map_err(|reason| Error::Definition { path: path.to_path_buf(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let definition: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let numeric = |user: &str| {
            user.split_once(':').is_some_and(|(uid, gid)| uid.parse::<u32>().is_ok() && gid.parse::<u32>().is_ok())
        };
        if !numeric(&definition.user) {
            return Err(format!("user {:?} is not of the form uid:gid", definition.user));
        }
        if definition.platforms.is_empty() || definition.layers.is_empty() || definition.entrypoint.is_empty() {
            return Err("platforms, layers and entrypoint must not be empty".to_owned());
        }
        for file in definition.layers.iter().flat_map(|layer| &layer.files) {
            file.permissions()?;
            if file.binary.is_some() == file.file.is_some() {
                return Err(format!("{} needs exactly one of binary and file", file.path));
            }
        }
        Ok(definition)
    }

    /// All definitions of a folder (`*.yaml`), by name.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, Error> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let path = entry.map_err(Error::io("read", folder))?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Whether the payload is a part of it.
    #[must_use]
    pub fn needs_payload(&self) -> bool {
        self.layers.iter().any(|layer| layer.payload.is_some())
    }

    /// The workspace binaries that it holds.
    pub fn binaries(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().flat_map(|layer| &layer.files).filter_map(|file| file.binary.as_deref())
    }

    /// The layers' contents, for `platform`.
    ///
    /// # Errors
    /// [`Error::Io`] for a source that is missing, [`Error::Definition`] when the payload is needed and absent,
    /// [`Error::Unfit`] for a program that does not run on the platform, or not without files that no image of ours has.
    pub fn layers(&self, platform: Platform, inputs: Inputs<'_>) -> Result<Vec<Tree>, Error> {
        for path in self.binaries().map(|name| inputs.binaries.join(name)) {
            let content = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let program = Program::of_bytes(&content);
            let found = program.as_ref().and_then(Platform::of_program);
            let unfit = if found != Some(platform) {
                is_for(found)
            } else if program.is_some_and(|program| program.needs_loader) {
                "is no static program: an image without a file system cannot start it".to_owned()
            } else {
                continue;
            };
            return Err(Error::Unfit { path, reason: unfit, platform });
        }
        if let Some(content) = inputs.payload.filter(|_| self.needs_payload()).and_then(|tree| tree.file(DAEMON)) {
            let found = Program::of_bytes(content).as_ref().and_then(Platform::of_program);
            if found != Some(platform) {
                let path = Path::new("the payload's").join(DAEMON);
                return Err(Error::Unfit { path, reason: is_for(found), platform });
            }
        }
        self.layers.iter().map(|layer| self.layer(layer, inputs)).collect()
    }

    fn layer(&self, layer: &LayerDefinition, inputs: Inputs<'_>) -> Result<Tree, Error> {
        let wrong = |reason| Error::Definition { path: PathBuf::from(&self.name), reason };
        let mut tree = Tree::new();
        for file in &layer.files {
            let source = match (&file.binary, &file.file) {
                (Some(binary), _) => inputs.binaries.join(binary),
                (None, Some(path)) => inputs.root.join(path),
                (None, None) => return Err(wrong(format!("{} has no source", file.path))),
            };
            let content = std::fs::read(&source).map_err(Error::io("read", &source))?;
            let mode = file.permissions().map_err(wrong)?;
            tree.insert(&file.path, Node::File { mode, content })?;
        }
        if let Some(below) = &layer.payload {
            let payload = inputs.payload.ok_or_else(|| wrong("the payload is missing".to_owned()))?;
            tree.graft(below, payload)?;
        }
        Ok(tree)
    }
}

fn is_for(platform: Option<Platform>) -> String {
    platform.map_or_else(|| "is no program of a known platform".to_owned(), |platform| format!("is for {platform}"))
}

impl FileDefinition {
    fn permissions(&self) -> Result<u32, String> {
        u32::from_str_radix(&self.mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| format!("{}: {:?} is no octal mode", self.path, self.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name: image
title: Image
description: An image.
user: "65532:65532"
entrypoint: [/tool]
platforms: [linux/amd64]
layers:
- payload: /payload
- files:
  - {path: /tool, binary: tool, mode: "0755"}
"#;

    #[test]
    fn an_image_definition_is_read() {
        let definition = ImageDefinition::parse(GOOD).unwrap();
        assert!(definition.needs_payload());
        assert_eq!(definition.binaries().collect::<Vec<_>>(), ["tool"]);
        assert_eq!(definition.layers[1].files[0].permissions(), Ok(0o755));
    }

    #[test]
    fn mistakes_in_an_image_definition_are_refused() {
        for (from, to) in [
            (r#""65532:65532""#, "nobody"),
            (r#""0755""#, r#""0999""#),
            ("binary: tool, ", ""),
            ("binary: tool, ", "binary: tool, file: tool, "),
            ("linux/amd64", "plan9/amd64"),
            ("entrypoint: [/tool]", "entrypoint: []"),
            ("title: Image", "titel: Image"),
        ] {
            assert!(GOOD.contains(from));
            assert!(ImageDefinition::parse(&GOOD.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn a_missing_payload_is_an_error() {
        let definition = ImageDefinition::parse(&GOOD.replace("binary: tool", "file: tool")).unwrap();
        let here = Path::new(".");
        let error =
            definition.layers(Platform::LinuxAmd64, Inputs { root: here, binaries: here, payload: None }).unwrap_err();
        assert!(matches!(error, Error::Definition { .. }), "{error}");
    }
}
