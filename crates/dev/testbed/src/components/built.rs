//! What has been built already.

use std::path::{Path, PathBuf};

use super::{Component, cache_dir, fingerprint, pins};

impl Component {
    /// The program as an earlier run has built it from what is pinned now; `None` where none has.
    ///
    /// # Errors
    /// When what is pinned cannot be read.
    pub fn built(self, root: &Path) -> anyhow::Result<Option<PathBuf>> {
        let module = pins(root).join(self.family);
        let folder = format!("{}-{}-{}", self.name, self.version(&module)?, fingerprint(&module)?);
        let program = cache_dir()?.join("bin").join(folder).join(self.name);
        Ok(program.is_file().then_some(program))
    }
}
