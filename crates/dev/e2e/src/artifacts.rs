//! What is under test: the static binary and the image that `cargo xtask images` made.

use std::path::PathBuf;

use anyhow::Context as _;

/// Environment variables by which `cargo xtask test --real` hands them to the tests.
const CONTROLLER: &str = "E2E_CONTROLLER";
const IMAGE_ARCHIVE: &str = "E2E_INSTALLATION_IMAGE";
const IMAGE_NAME: &str = "E2E_INSTALLATION_IMAGE_NAME";
const AGENT: &str = "E2E_AGENT";
const GATE: &str = "E2E_GATE";
const DAEMON: &str = "E2E_DAEMON";
const XTASK: &str = "E2E_XTASK";

/// Files under test.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The seed controller.
    pub controller: PathBuf,
    /// Archive of the installation image.
    pub image_archive: PathBuf,
    /// Name of the installation image, `registry/name:tag`.
    pub image_name: String,
    /// The node agent, as it is in the image.
    pub agent: PathBuf,
    /// The gate, as it is in the image.
    pub gate: PathBuf,
    /// cri-resmgr, as it is in the image's payload.
    pub daemon: PathBuf,
    /// The program behind `cargo xtask`, for tests of what it makes.
    pub xtask: PathBuf,
}

impl Artifacts {
    /// What the calling command has built.
    ///
    /// # Errors
    /// When a variable is not set: the tests are run by `cargo xtask test --real`.
    pub fn from_env() -> anyhow::Result<Self> {
        let get = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set: run the tests with `cargo xtask test --real`"))
        };
        Ok(Self {
            controller: get(CONTROLLER)?.into(),
            image_archive: get(IMAGE_ARCHIVE)?.into(),
            image_name: get(IMAGE_NAME)?,
            agent: get(AGENT)?.into(),
            gate: get(GATE)?.into(),
            daemon: get(DAEMON)?.into(),
            xtask: get(XTASK)?.into(),
        })
    }

    /// The variables for [`Self::from_env`].
    #[must_use]
    pub fn to_env(&self) -> [(&'static str, String); 7] {
        let path = |path: &std::path::Path| path.display().to_string();
        [
            (CONTROLLER, path(&self.controller)),
            (IMAGE_ARCHIVE, path(&self.image_archive)),
            (IMAGE_NAME, self.image_name.clone()),
            (AGENT, path(&self.agent)),
            (GATE, path(&self.gate)),
            (DAEMON, path(&self.daemon)),
            (XTASK, path(&self.xtask)),
        ]
    }
}
