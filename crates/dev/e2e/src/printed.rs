//! What commands print on a bed, as pages show it.
//!
//! A page marks a block by a comment on the line before it, `<!-- printed on the bed: SCENE, PLACE -->`. In the block, whose language is `console`,
//! stand commands after `$ `, each with what it printed. `cargo xtask docs --renew` writes what is no longer so; a test on real components fails of it.

mod blocks;
mod normal;
mod scenes;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

pub use blocks::{Asked, Block, Location, Printed, Scene, blocks};
pub use scenes::print;

/// A page with blocks of this kind.
#[derive(Debug, Clone)]
pub struct Page {
    /// The file, from the repository's root.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// All pages in `docs/` that have such blocks.
///
/// # Errors
/// A page that cannot be read, or whose blocks cannot.
pub fn pages(root: &Path) -> anyhow::Result<Vec<Page>> {
    let mut pages = Vec::new();
    let folder = root.join("docs");
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = Path::new("docs").join(entry?.file_name());
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.display().to_string())?;
            if !blocks(&text).with_context(|| path.display().to_string())?.is_empty() {
                pages.push(Page { path, text });
            }
        }
    }
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(pages)
}

/// Every difference between what the pages show and what was printed, for people.
///
/// # Errors
/// Something that a page shows was not asked for.
pub fn stale(pages: &[Page], printed: &Printed) -> anyhow::Result<Vec<String>> {
    ensure!(!pages.is_empty(), "no page has a block of what a bed prints");
    let mut found = Vec::new();
    for page in pages {
        for difference in blocks::stale(&page.text, printed)? {
            found.push(format!("{}: {difference}", page.path.display()));
        }
    }
    Ok(found)
}

/// The page's text with what was printed, where that differs from what it shows.
///
/// # Errors
/// Something that the page shows was not asked for.
pub fn renewed(page: &Page, printed: &Printed) -> anyhow::Result<String> {
    blocks::renewed(&page.text, printed)
}
