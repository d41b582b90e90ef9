//! The files that the agent's image carries.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use extension_config::names::node;
use host::{Checksum, Owner};
use node_plan::{Blob, Programs, Source};
use nri_policy::Kind;
use program_file::{Machine, Program};

use crate::effects::{EffectError, Result};

/// What a script begins with.
const SHEBANG: &[u8] = b"#!";

/// The programs that the agent's image carries for the host.
#[derive(Debug, Clone)]
pub(crate) struct PayloadBinaries {
    payload: PathBuf,
    daemon_path: PathBuf,
    gate_path: PathBuf,
    /// What they are.
    pub(crate) programs: Programs,
    /// Who we are: the owner of what we write.
    pub(crate) owner: Owner,
}

impl PayloadBinaries {
    /// Reads them once. A missing file becomes a blob of the architecture `missing`, which the planner refuses with a clear reason: an image need not
    /// carry the programs of both backends.
    pub(crate) fn load(payload: &Path, gate: &Path) -> Result<Self> {
        let daemon_path = payload.join(node::DAEMON.trim_start_matches('/'));
        let policy = |kind| blob(&payload.join(policy_program(kind)));
        let own = std::fs::metadata("/proc/self").map_err(|source| unreadable(Path::new("/proc/self"), source))?;
        Ok(Self {
            programs: Programs {
                daemon: blob(&daemon_path)?,
                gate: blob(gate)?,
                balloons: policy(Kind::BalloonsPolicy)?,
                topology_aware: policy(Kind::TopologyAwarePolicy)?,
            },
            payload: payload.to_owned(),
            daemon_path,
            gate_path: gate.to_owned(),
            owner: Owner { uid: own.uid(), gid: own.gid() },
        })
    }

    /// Opens one of them.
    pub(crate) fn open(&self, source: &Source) -> Result<File> {
        let policy;
        let path = match source {
            Source::Daemon => &self.daemon_path,
            Source::Policy(kind) => {
                policy = self.payload.join(policy_program(*kind));
                &policy
            }
            Source::Gate | Source::Text(_) | Source::Host(_) => &self.gate_path,
        };
        File::open(path).map_err(|source| unreadable(path, source))
    }
}

/// Where a policy's program is below the payload: its name is upstream's.
fn policy_program(kind: Kind) -> &'static str {
    match kind {
        Kind::BalloonsPolicy => "opt/nri-plugins/bin/nri-resource-policy-balloons",
        Kind::TopologyAwarePolicy => "opt/nri-plugins/bin/nri-resource-policy-topology-aware",
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
    let mut start = Vec::new();
    file.by_ref().take(SHEBANG.len() as u64).read_to_end(&mut start).map_err(|source| unreadable(path, source))?;
    let program = Program::of_file(file);
    let architecture = match &program {
        Some(program) => program.machine.map_or("unknown", Machine::rust_name),
        // A script runs anywhere; stand-ins in tests are scripts.
        None if start == SHEBANG => std::env::consts::ARCH,
        None => "unknown",
    };
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let size = file.metadata().map_err(|source| unreadable(path, source))?.len();
    let sum = Checksum::of_reader(&mut std::io::BufReader::with_capacity(1 << 16, file));
    let sha256 = sum.map_err(|source| unreadable(path, source))?.to_string();
    let needs = program.and_then(|program| program.newest_glibc);
    Ok(Blob { sha256, size, architecture: architecture.to_owned(), needs })
}

#[cfg(test)]
mod tests {
    use super::blob;

    #[test]
    fn a_program_of_this_machine_has_its_architecture_size_and_glibc() {
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
    fn a_missing_or_foreign_program_file_has_an_architecture_that_is_refused() {
        assert_eq!(blob(std::path::Path::new("/nonexistent/x")).unwrap().architecture, "missing");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, architecture) in [("", "unknown"), ("#", "unknown"), ("#!/bin/sh\n", std::env::consts::ARCH)] {
            std::fs::write(file.path(), content).unwrap();
            let found = blob(file.path()).unwrap();
            assert_eq!((found.architecture.as_str(), found.needs), (architecture, None), "{content:?}");
        }
    }
}
