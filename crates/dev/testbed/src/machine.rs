//! What a worker's machine is made of: the base file system, and for the new generation a containerd and a runc in the place
//! of Debian's.

use std::path::{Path, PathBuf};

use crate::components::{self, CONTAINERD, CONTAINERD_SHIM, CTR, RUNC};
use crate::{Generation, Progress, command, containerd_config, node_root};

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) base: PathBuf,
    pub(crate) boot_script: PathBuf,
    /// Program, and where it lies in the machine. Debian's own unit starts containerd.
    pub(crate) programs: Vec<(PathBuf, String)>,
    pub(crate) containerd_config: String,
}

impl Machine {
    /// Brings everything that is not there yet.
    ///
    /// # Errors
    /// When something cannot be built.
    pub(crate) async fn obtain(generation: Generation, root: &Path, progress: &Progress) -> anyhow::Result<Self> {
        let (base, boot_script) = (node_root(progress).await?, components::boot_script(root));
        let mut programs = Vec::new();
        let containerd_config = match generation {
            Generation::Old => containerd_config::of_debian(),
            Generation::New => {
                for (component, dir) in
                    [(CONTAINERD, "/usr/bin"), (CONTAINERD_SHIM, "/usr/bin"), (CTR, "/usr/bin"), (RUNC, "/usr/sbin")]
                {
                    programs.push((component.obtain(root, progress).await?, format!("{dir}/{}", component.name)));
                }
                let containerd = programs[0].0.display().to_string();
                containerd_config::patched(&command::run(&containerd, &["config", "default"]).await?)?
            }
        };
        Ok(Self { base, boot_script, programs, containerd_config })
    }
}
