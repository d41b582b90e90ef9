//! The files that the agent's image carries.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use extension_config::names::node;
use host::{Checksum, Owner};
use node_plan::{Blob, Source};

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
            return Ok(Blob { sha256: String::new(), size: 0, architecture: "missing".to_owned() });
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
    Ok(Blob { sha256, size, architecture })
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
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        assert_eq!(blob(std::path::Path::new("/nonexistent/x")).unwrap().architecture, "missing");
        assert_eq!(architecture(&[0; 20]), "unknown");
    }
}
