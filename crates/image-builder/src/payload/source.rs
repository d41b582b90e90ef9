//! The payload built from the daemon's own Go module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::tree::{Node, Tree};
use crate::{Error, gzip, layout, program};

const MODULE: &str = "github.com/intel/cri-resource-manager";
/// Our part of the build: the pinned version, its hash, and what the module's archive lacks.
const RECIPE: &str = "deploy/testbed/cri-resource-manager";
/// Files of ours → where they belong in the module.
const ADDITIONS: [(&str, &str); 4] = [
    ("topology/go.mod", "pkg/topology/go.mod"),
    ("topology/topology.go", "pkg/topology/topology.go"),
    ("generated/programbytes_gendata.go", "pkg/avx/programbytes_gendata.go"),
    ("generated/assets_gendata.go", "pkg/cri/resource-manager/visualizer/bubbles/assets_gendata.go"),
];
/// Files of the module → where a release's archive has them.
const DOCUMENTS: [(&str, &str); 3] = [
    ("LICENSE", "opt/intel/share/doc/cri-resource-manager/LICENSE"),
    ("docs/security.md", "opt/intel/share/doc/cri-resource-manager/security.md"),
    ("cmd/cri-resmgr/fallback.cfg.sample", "etc/cri-resmgr/fallback.cfg.sample"),
];
/// Changes whenever the way of building does, so that an older result is not taken for it.
const RECIPE_VERSION: &[u8] = b"1";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
    sum: String,
}

/// Builds the daemon from the Go module that `deploy/testbed/cri-resource-manager/go.mod` pins and wraps it into an
/// archive of a release's layout, below `cache_dir`. A result of the same recipe and toolchain is used again.
/// Needs Go and, the first time, a module proxy. Takes some minutes then.
///
/// # Errors
/// [`Error::Payload`] when the module is not what our `go.sum` says;
/// [`Error::Start`] or [`Error::Program`] when Go is missing or fails.
pub fn payload_from_source(root: &Path, cache_dir: &Path) -> Result<PathBuf, Error> {
    let recipe = root.join(RECIPE);
    let pin = Pin::read(&recipe)?;
    let go_version = program::output(Command::new("go").current_dir(&recipe).arg("version"))?;
    let key = key(&recipe, &go_version)?;
    let folder = cache_dir.join(format!("cri-resource-manager-{key}"));
    let archive = folder.join(format!("cri-resource-manager-{}.x86_64.tar.gz", pin.version.trim_start_matches('v')));
    if archive.exists() {
        return Ok(archive);
    }
    let module = pin.download(&recipe)?;
    // Its own folder for each process: two builds at once must not mix their files.
    let work = cache_dir.join(format!("build-{}-{}", key, std::process::id()));
    let result = build(&recipe, &module, &work, &pin.version).and_then(|daemon| pack(&module, &daemon));
    let cleaned = fs::remove_dir_all(&work).map_err(Error::io("remove", &work));
    let packed = result?;
    cleaned?;
    layout::write_file(&archive, &packed)?;
    Ok(archive)
}

/// Directory of that module, as upstream publishes it.
///
/// # Errors
/// As [`payload_from_source`].
pub fn payload_module(root: &Path) -> Result<PathBuf, Error> {
    let recipe = root.join(RECIPE);
    Pin::read(&recipe)?.download(&recipe)
}

/// Version and hash of the module, from our `go.mod` and `go.sum`.
#[derive(Debug, PartialEq, Eq)]
struct Pin {
    version: String,
    sum: String,
}

impl Pin {
    fn read(recipe: &Path) -> Result<Self, Error> {
        let text = |name: &str| {
            let path = recipe.join(name);
            fs::read_to_string(&path).map_err(Error::io("read", path))
        };
        Self::parse(&text("go.mod")?, &text("go.sum")?)
            .map_err(|reason| Error::Payload { path: recipe.to_path_buf(), reason })
    }

    fn parse(go_mod: &str, go_sum: &str) -> Result<Self, String> {
        let version = go_mod
            .lines()
            .map(|line| line.trim().trim_start_matches("require ").trim_start())
            .find_map(|line| line.strip_prefix(MODULE)?.strip_prefix(' '))
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or_else(|| format!("go.mod does not require {MODULE}"))?;
        let sum = go_sum
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{MODULE} {version} ")))
            .ok_or_else(|| format!("go.sum has no hash of {MODULE} {version}"))?;
        Ok(Self { version: version.to_owned(), sum: sum.trim().to_owned() })
    }

    fn download(&self, recipe: &Path) -> Result<PathBuf, Error> {
        let wrong = |reason| Error::Payload { path: recipe.to_path_buf(), reason };
        let module = format!("{MODULE}@{}", self.version);
        let mut command = Command::new("go");
        command.current_dir(recipe).args(["mod", "download", "-json", &module]);
        let answer = program::output(&mut command)?;
        let answer: Downloaded =
            serde_json::from_slice(&answer).map_err(|error| wrong(format!("go mod download said: {error}")))?;
        if answer.sum != self.sum {
            return Err(wrong(format!("{module} has hash {}, go.sum says {}; refused", answer.sum, self.sum)));
        }
        Ok(answer.dir)
    }
}

/// Names a result.
fn key(recipe: &Path, go_version: &[u8]) -> Result<String, Error> {
    let files = ["go.mod", "go.sum"].into_iter().chain(ADDITIONS.map(|(from, _)| from));
    super::key(RECIPE_VERSION, go_version, recipe, files)
}

fn build(recipe: &Path, module: &Path, work: &Path, version: &str) -> Result<Vec<u8>, Error> {
    let source = work.join("source");
    copy_writable(module, &source)?;
    for (from, to) in ADDITIONS {
        let (from, to) = (recipe.join(from), source.join(to));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        copy_file(&from, &to)?;
    }
    let daemon = work.join("cri-resmgr");
    let stamp = format!("{MODULE}/pkg/version");
    program::run(
        Command::new("go")
            .current_dir(&source)
            .args(["build", "-tags", "noavx", "-trimpath", "-buildvcs=false", "-ldflags"])
            .arg(format!("-X={stamp}.Version={version} -X={stamp}.Build=testbed"))
            .arg("-o")
            .arg(&daemon)
            .arg("./cmd/cri-resmgr"),
    )?;
    fs::read(&daemon).map_err(Error::io("read", &daemon))
}

fn pack(module: &Path, daemon: &[u8]) -> Result<Vec<u8>, Error> {
    let mut tree = Tree::new();
    tree.insert(super::DAEMON, Node::File { mode: 0o755, content: daemon.to_vec() })?;
    for (from, to) in DOCUMENTS {
        let from = module.join(from);
        let content = fs::read(&from).map_err(Error::io("read", &from))?;
        tree.insert(to, Node::File { mode: 0o644, content })?;
    }
    gzip::compress(&tree.to_tar()?)
}

/// The module cache is read-only; the copy is not.
fn copy_writable(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::io("read", &path))?.is_dir() {
            copy_writable(&path, &target)?;
        } else {
            copy_file(&path, &target)?;
        }
    }
    Ok(())
}

/// Copies the content alone, not the mode.
fn copy_file(from: &Path, to: &Path) -> Result<(), Error> {
    let content = fs::read(from).map_err(Error::io("read", from))?;
    fs::write(to, content).map_err(Error::io("write", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_read_in_both_notations_of_go_mod() {
        let sum = format!("{MODULE} v0.9.2 h1:abc=\n{MODULE} v0.9.2/go.mod h1:def=\n");
        let expected = Ok(Pin { version: "v0.9.2".to_owned(), sum: "h1:abc=".to_owned() });
        assert_eq!(Pin::parse(&format!("module x\nrequire {MODULE} v0.9.2\n"), &sum), expected);
        assert_eq!(Pin::parse(&format!("require (\n\t{MODULE} v0.9.2 // indirect\n)\n"), &sum), expected);
    }

    #[test]
    fn an_unpinned_module_is_refused() {
        assert!(Pin::parse("module x\n", "").is_err());
        assert!(Pin::parse(&format!("require {MODULE} v0.9.2"), "").is_err());
        assert!(Pin::parse(&format!("require {MODULE}/pkg/topology v0.9.2"), "").is_err());
    }

    #[test]
    fn the_repository_has_a_pin() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(RECIPE);
        assert!(Pin::read(&recipe).unwrap().version.starts_with('v'));
        assert_eq!(key(&recipe, b"go1").unwrap(), key(&recipe, b"go1").unwrap());
        assert_ne!(key(&recipe, b"go1").unwrap(), key(&recipe, b"go2").unwrap());
    }
}
