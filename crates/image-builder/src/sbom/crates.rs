//! The crates that are linked into this workspace's programs: cargo says which, Cargo.lock with what hash.

use std::collections::BTreeMap;
use std::path::Path;

use cargo_lock::Lockfile;

use super::{Component, Kind, escape};
use crate::image::Platform;
use crate::{Error, binaries, program};

/// Fields of one line of cargo's answer, and what separates them; no name or licence has it.
const FORMAT: &str = "{p}\t{l}";

/// The parts of each program, by the program's name.
#[derive(Debug, Clone, Default)]
pub struct Packages(BTreeMap<&'static str, Vec<Component>>);

impl Packages {
    pub(super) fn of(&self, binary: &str) -> impl Iterator<Item = &Component> {
        self.0.get(binary).into_iter().flatten()
    }
}

/// Asks cargo what is linked into the programs that ship for `platform`. What only builds them (macros, build scripts)
/// or tests them is not part of them.
///
/// # Errors
/// When cargo fails or Cargo.lock cannot be read.
pub fn packages(root: &Path, platform: Platform) -> Result<Packages, Error> {
    let path = root.join("Cargo.lock");
    let lock = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let wrong = |reason| Error::Lock { path: path.clone(), reason };
    let lock: Lockfile = lock.parse().map_err(|error: cargo_lock::Error| wrong(error.to_string()))?;
    let mut packages = Packages::default();
    for (package, binary) in binaries::PROGRAMS {
        let mut command = binaries::cargo();
        command.current_dir(root).args(["tree", "--locked", "--prefix", "none", "--edges", "normal,no-proc-macro"]);
        command.args(["--package", package, "--target", platform.rust_target(), "--format", FORMAT]);
        let tree = program::output(&mut command)?;
        let parts = parse(&String::from_utf8_lossy(&tree), &lock).map_err(wrong)?;
        packages.0.insert(binary, parts);
    }
    Ok(packages)
}

/// The first line is the program itself.
fn parse(tree: &str, lock: &Lockfile) -> Result<Vec<Component>, String> {
    let mut parts: BTreeMap<(&str, &str), Component> = BTreeMap::new();
    for (number, line) in tree.lines().enumerate() {
        let (package, licence) = line.split_once('\t').ok_or_else(|| format!("cargo tree said {line:?}"))?;
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) else {
            return Err(format!("cargo tree said {line:?}"));
        };
        let locked = lock
            .packages
            .iter()
            .find(|locked| locked.name.as_str() == name && locked.version.to_string() == version)
            .ok_or_else(|| format!("it has no {name} {version}"))?;
        // A crate of this workspace is in no registry.
        let registry = locked.source.is_some();
        let licence = licence.trim_end_matches(" (*)").trim();
        parts.entry((name, version)).or_insert_with(|| Component {
            kind: if number == 0 { Kind::Application } else { Kind::Library },
            name: name.to_owned(),
            version: Some(version.to_owned()),
            purl: registry.then(|| format!("pkg:cargo/{name}@{}", escape(version))),
            // Old manifests separate alternatives by a slash.
            licence: (!licence.is_empty()).then(|| licence.replace(" / ", "/").replace('/', " OR ")),
            sha256: locked.checksum.as_ref().map(ToString::to_string),
        });
    }
    Ok(parts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "own"
version = "0.1.0"
dependencies = ["fnv"]

[[package]]
name = "fnv"
version = "1.0.7"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "3f9eec918d3f24069decb9af1554cad7c880e2da24a9afd88aca000531ab82c1"
"#;

    #[test]
    fn each_crate_is_listed_once_with_checksum_and_licence() {
        let tree =
            "own v0.1.0 (/somewhere/own)\tApache-2.0\nfnv v1.0.7\tApache-2.0 / MIT\nfnv v1.0.7\tApache-2.0 / MIT (*)\n";
        let parts = parse(tree, &LOCK.parse().unwrap()).unwrap();
        let [fnv, own] = &parts[..] else { panic!("two parts: {parts:?}") };
        assert_eq!((own.kind, &own.purl, &own.sha256), (Kind::Application, &None, &None));
        assert_eq!(fnv.purl.as_deref(), Some("pkg:cargo/fnv@1.0.7"));
        assert_eq!(fnv.licence.as_deref(), Some("Apache-2.0 OR MIT"));
        assert!(fnv.sha256.as_ref().unwrap().starts_with("3f9eec91"));
    }

    #[test]
    fn a_crate_that_is_not_locked_is_an_error() {
        let lock: Lockfile = LOCK.parse().unwrap();
        assert!(parse("serde v1.0.0\tMIT\n", &lock).unwrap_err().contains("serde 1.0.0"));
        assert!(parse("nonsense\n", &lock).is_err());
    }
}
