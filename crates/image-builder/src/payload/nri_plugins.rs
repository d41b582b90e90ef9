//! The policies of nri-plugins, built from their Go module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::tree::{Node, Tree};
use crate::{Error, gzip, layout, program};

const MODULE: &str = "github.com/containers/nri-plugins";
/// The pinned version with all that it is built from, and our own `pkg/topology`, which no archive of the module has.
const RECIPE: &str = "deploy/testbed/nri-plugins";
/// Files of the recipe that decide what is built.
const INPUTS: [&str; 5] = ["go.mod", "go.sum", "topology/go.mod", "topology/topology.go", "topology/sysfs.go"];
/// Package below [`MODULE`] → the program's path in the payload. Upstream's names.
const PROGRAMS: [(&str, &str); 2] = [
    ("cmd/plugins/balloons", "opt/nri-plugins/bin/nri-resource-policy-balloons"),
    ("cmd/plugins/topology-aware", "opt/nri-plugins/bin/nri-resource-policy-topology-aware"),
];
/// Where the licences of all that is linked into them are.
const LICENCES: &str = "opt/nri-plugins/licenses";
/// What the names of licence texts begin with, in capitals.
const LICENCE_NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];
/// Changes whenever the way of building does, so that an older result is not taken for it.
const RECIPE_VERSION: &[u8] = b"1";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    path: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    main: bool,
    #[serde(default)]
    dir: PathBuf,
    replace: Option<Replacement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replacement {
    path: String,
}

/// Builds the programs that `deploy/testbed/nri-plugins/go.mod` pins, static and without symbols, and wraps them into an archive with the licences
/// of all modules that are linked into them, below `cache_dir`. A result of the same recipe and toolchain is used again. Needs Go and, the first
/// time, a module proxy. Takes some minutes then.
///
/// # Errors
/// [`Error::Payload`] when a linked module comes without a licence;
/// [`Error::Start`] or [`Error::Program`] when Go is missing or fails, also because a module is not what our `go.sum` says.
pub fn nri_plugins_from_source(root: &Path, cache_dir: &Path) -> Result<PathBuf, Error> {
    let recipe = root.join(RECIPE);
    let go_version = program::output(Command::new("go").current_dir(&recipe).arg("version"))?;
    let folder = cache_dir.join(format!("nri-plugins-{}", super::key(RECIPE_VERSION, &go_version, &recipe, INPUTS)?));
    let archive = folder.join("nri-plugins.x86_64.tar.gz");
    if archive.exists() {
        return Ok(archive);
    }
    let version = pinned(&recipe)?;
    // Its own folder for each process: two builds at once must not mix their files.
    let work = cache_dir.join(format!("build-nri-plugins-{}", std::process::id()));
    let tree = build(&recipe, &version, &work);
    let cleaned = fs::remove_dir_all(&work).map_err(Error::io("remove", &work));
    let packed = gzip::compress(&tree?.to_tar()?)?;
    cleaned?;
    layout::write_file(&archive, &packed)?;
    Ok(archive)
}

/// Reads such an archive.
///
/// # Errors
/// [`Error::Payload`] when a program is missing or is none, [`Error::Archive`] or [`Error::Path`] when the archive is damaged.
pub fn read_nri_plugins(path: &Path) -> Result<Tree, Error> {
    let tree = super::entries(&fs::read(path).map_err(Error::io("read", path))?, path)?;
    for (_, program) in PROGRAMS {
        super::ensure_program(&tree, program, path)?;
    }
    Ok(tree)
}

/// The version that go.mod requires.
fn pinned(recipe: &Path) -> Result<String, Error> {
    let path = recipe.join("go.mod");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let version = text.lines().find_map(|line| {
        let rest = line.trim().trim_start_matches("require ").trim_start().strip_prefix(MODULE)?.strip_prefix(' ')?;
        rest.split_whitespace().next().map(str::to_owned)
    });
    version.ok_or_else(|| Error::Payload { path, reason: format!("it does not require {MODULE}") })
}

fn build(recipe: &Path, version: &str, work: &Path) -> Result<Tree, Error> {
    fs::create_dir_all(work).map_err(Error::io("create", work))?;
    let mut tree = Tree::new();
    for (package, path) in PROGRAMS {
        let program = work.join("program");
        // As upstream's Makefile does it.
        let stamp = format!("{MODULE}/pkg/version");
        let flags = format!("-s -w -X={stamp}.Version={version} -X={stamp}.Build=testbed");
        let mut go = Command::new("go");
        go.current_dir(recipe).env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", "amd64");
        go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"]).arg(&program);
        program::run(go.arg(format!("{MODULE}/{package}")))?;
        let content = fs::read(&program).map_err(Error::io("read", &program))?;
        tree.insert(path, Node::File { mode: 0o755, content })?;
    }
    for module in linked(recipe)? {
        add_licences(&mut tree, &module, recipe)?;
    }
    Ok(tree)
}

/// The modules of all packages that are linked into the programs.
fn linked(recipe: &Path) -> Result<Vec<Module>, Error> {
    let mut go = Command::new("go");
    go.current_dir(recipe).env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", "amd64");
    go.args(["list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"]);
    let paths = program::output(go.args(PROGRAMS.map(|(package, _)| format!("{MODULE}/{package}"))))?;
    let paths = String::from_utf8_lossy(&paths).into_owned();
    let mut paths: Vec<&str> = paths.lines().filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut list = Command::new("go");
    let answer = program::output(list.current_dir(recipe).args(["list", "-m", "-json"]).args(&paths))?;
    let modules: Result<Vec<Module>, _> = serde_json::Deserializer::from_slice(&answer).into_iter().collect();
    modules.map_err(|source| Error::Json { what: "go list", source })
}

/// Puts the licence texts of a module into the tree. Our own stand under this project's licence.
fn add_licences(tree: &mut Tree, module: &Module, recipe: &Path) -> Result<(), Error> {
    let is_ours = module.main || module.replace.as_ref().is_some_and(|replacement| replacement.path.starts_with('.'));
    if is_ours {
        return Ok(());
    }
    let mut found = false;
    for entry in fs::read_dir(&module.dir).map_err(Error::io("read", &module.dir))? {
        let path = entry.map_err(Error::io("read", &module.dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_licence = LICENCE_NAMES.iter().any(|start| name.to_uppercase().starts_with(start));
        if is_licence && path.is_file() {
            let content = fs::read(&path).map_err(Error::io("read", &path))?;
            let place = format!("{LICENCES}/{}@{}/{name}", module.path, module.version);
            tree.insert(&place, Node::File { mode: 0o644, content })?;
            found |= !name.to_uppercase().starts_with("NOTICE");
        }
    }
    if found {
        return Ok(());
    }
    let reason = format!("module {} {} has no licence text", module.path, module.version);
    Err(Error::Payload { path: recipe.to_path_buf(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_pins_the_policies_and_all_that_they_are_built_from() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(RECIPE);
        assert_eq!(pinned(&recipe).unwrap(), "v0.14.0");
        let key = |go_version| super::super::key(RECIPE_VERSION, go_version, &recipe, INPUTS).unwrap();
        assert_ne!(key(b"go1"), key(b"go2"));
    }

    #[test]
    fn a_linked_module_without_a_licence_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let module = |replace| Module {
            path: "example.com/x".into(),
            version: "v1.0.0".into(),
            main: false,
            dir: folder.path().to_owned(),
            replace,
        };
        let licences = |module: &Module| {
            let mut tree = Tree::new();
            add_licences(&mut tree, module, Path::new("recipe")).map(|()| tree)
        };
        fs::write(folder.path().join("NOTICE"), "n").unwrap();
        let error = licences(&module(None)).err().unwrap().to_string();
        assert!(error.contains("module example.com/x v1.0.0 has no licence text"), "{error}");
        fs::write(folder.path().join("License.txt"), "l").unwrap();
        let tree = licences(&module(None)).unwrap();
        for name in ["NOTICE", "License.txt"] {
            assert!(tree.file(&format!("{LICENCES}/example.com/x@v1.0.0/{name}")).is_some(), "{name}");
        }
        let ours = licences(&module(Some(Replacement { path: "./topology".into() }))).unwrap();
        assert_eq!(ours.iter().count(), 0);
    }
}
