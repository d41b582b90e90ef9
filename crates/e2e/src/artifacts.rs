//! What is under test: the static binary and the image that `cargo xtask images` made.

use std::path::PathBuf;

use anyhow::Context as _;

/// Environment variables by which `cargo xtask test --real` hands them to the tests.
const CONTROLLER: &str = "E2E_CONTROLLER";
const IMAGE_ARCHIVE: &str = "E2E_INSTALLATION_IMAGE";
const IMAGE_NAME: &str = "E2E_INSTALLATION_IMAGE_NAME";

/// Files under test.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The seed controller.
    pub controller: PathBuf,
    /// Archive of the installation image.
    pub image_archive: PathBuf,
    /// Name of the installation image, `registry/name:tag`.
    pub image_name: String,
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
        })
    }

    /// The variables for [`Self::from_env`].
    #[must_use]
    pub fn to_env(&self) -> [(&'static str, String); 3] {
        [
            (CONTROLLER, self.controller.display().to_string()),
            (IMAGE_ARCHIVE, self.image_archive.display().to_string()),
            (IMAGE_NAME, self.image_name.clone()),
        ]
    }
}
