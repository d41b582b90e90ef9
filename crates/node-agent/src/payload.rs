//! The files that the agent's image carries.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use extension_config::names::node;
use host::{Checksum, Owner};
use node_plan::{Blob, Source};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::ReadCache;
use object::read::elf::FileHeader as _;

use crate::effects::{EffectError, Result};

/// The daemon and the gate.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    daemon_path: PathBuf,
    gate_path: PathBuf,
    /// The daemon.
    pub(crate) daemon: Blob,
    /// The gate.
    pub(crate) gate: Blob,
    /// Who we are: the owner of what we write.
    pub(crate) owner: Owner,
}

impl Images {
    /// Reads them once. A missing file becomes a blob of the architecture `missing`, which the planner refuses with a clear reason.
    pub(crate) fn load(payload: &Path, gate: &Path) -> Result<Self> {
        let daemon_path = payload.join(node::DAEMON.trim_start_matches('/'));
        let own = std::fs::metadata("/proc/self").map_err(|source| unreadable(Path::new("/proc/self"), source))?;
        Ok(Self {
            daemon: blob(&daemon_path)?,
            gate: blob(gate)?,
            daemon_path,
            gate_path: gate.to_owned(),
            owner: Owner { uid: own.uid(), gid: own.gid() },
        })
    }

    /// Opens one of them.
    pub(crate) fn open(&self, source: &Source) -> Result<File> {
        let path = if *source == Source::Daemon { &self.daemon_path } else { &self.gate_path };
        File::open(path).map_err(|source| unreadable(path, source))
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> EffectError {
    EffectError::Payload { path: path.display().to_string(), source }
}

fn blob(path: &Path) -> Result<Blob> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Blob { sha256: String::new(), size: 0, architecture: "missing".to_owned(), needs: None });
        }
        Err(error) => return Err(unreadable(path, error)),
    };
    let mut head = [0; 20];
    let mut known = 0;
    while known < head.len() {
        match file.read(&mut head[known..]).map_err(|source| unreadable(path, source))? {
            0 => break,
            count => known += count,
        }
    }
    let architecture = architecture(&head).to_owned();
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let size = file.metadata().map_err(|source| unreadable(path, source))?.len();
    let sum = Checksum::of_reader(&mut std::io::BufReader::with_capacity(1 << 16, file));
    let sha256 = sum.map_err(|source| unreadable(path, source))?.to_string();
    let needs = File::open(path).ok().and_then(newest_glibc);
    Ok(Blob { sha256, size, architecture, needs })
}

/// The newest of the versions of glibc among those that a program asks for; `None` for one that asks for none, or is no ELF file.
fn newest_glibc(file: File) -> Option<String> {
    let data = ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(&data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, &data).ok()?;
    let (mut libraries, link) = sections.gnu_verneed(endian, &data).ok()??;
    let strings = sections.strings(endian, &data, link).ok()?;
    let mut newest: Option<(Vec<u32>, String)> = None;
    while let Ok(Some((_, mut versions))) = libraries.next() {
        while let Ok(Some(version)) = versions.next() {
            let Some(name) = version.name(endian, strings).ok().and_then(|name| std::str::from_utf8(name).ok()) else {
                continue;
            };
            let Some(number) = name.strip_prefix("GLIBC_") else { continue };
            let Ok(number) = number.split('.').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>() else {
                continue;
            };
            newest = newest.max(Some((number, name.to_owned())));
        }
    }
    newest.map(|(_, name)| name)
}

/// Rust's name of the machine that a 64-bit little-endian ELF file is for.
fn architecture(head: &[u8; 20]) -> &'static str {
    match head {
        [0x7f, b'E', b'L', b'F', 2, 1, .., 62, 0] => "x86_64",
        [0x7f, b'E', b'L', b'F', 2, 1, .., 183, 0] => "aarch64",
        // A script runs anywhere; stand-ins in tests are scripts.
        [b'#', b'!', ..] => std::env::consts::ARCH,
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::{architecture, blob};

    #[test]
    fn this_test_is_for_this_machine() {
        let own = std::env::current_exe().unwrap();
        let found = blob(&own).unwrap();
        assert_eq!(found.architecture, std::env::consts::ARCH);
        assert_eq!(found.size, std::fs::metadata(own).unwrap().len());
        if cfg!(target_env = "gnu") {
            let needs = found.needs.unwrap();
            assert!(needs.starts_with("GLIBC_2."), "{needs}");
        }
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        assert_eq!(blob(std::path::Path::new("/nonexistent/x")).unwrap().architecture, "missing");
        assert_eq!(architecture(&[0; 20]), "unknown");
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "#!/bin/sh\n").unwrap();
        assert_eq!(blob(script.path()).unwrap().needs, None);
    }
}
