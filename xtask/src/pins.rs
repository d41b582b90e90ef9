//! `digests-TAG.txt`: what `cargo xtask images` has made, by content, for `cargo xtask controller-registration --digests` and for
//! whoever signs it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use image_builder::reference::Pinned;

/// Largest file that is read, in bytes: five lines have less than 2500.
const SIZE: u64 = 64 * 1024;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Chart,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Image, Self::Chart];

    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Chart => "chart",
        }
    }
}

/// Kind, reference and digest of each artefact; as text, a line for each: `image REPOSITORY:TAG@sha256:…`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins(Vec<(Kind, Pinned)>);

impl Pins {
    /// Where those of `tag` are kept.
    pub(crate) fn path(dir: &Path, tag: &str) -> PathBuf {
        dir.join(format!("digests-{tag}.txt"))
    }

    pub(crate) fn add(&mut self, kind: Kind, pinned: Pinned) {
        self.0.push((kind, pinned));
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        ensure!(size <= SIZE, "{} has {size} bytes, and is none of `cargo xtask images`", path.display());
        std::fs::read_to_string(path)?
            .parse()
            .with_context(|| format!("{} is none of `cargo xtask images`", path.display()))
    }

    /// All of a kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Pinned> {
        self.0.iter().filter(move |(its, _)| *its == kind).map(|(_, pinned)| pinned)
    }

    /// The one image of that name.
    pub(crate) fn image(&self, name: &str) -> anyhow::Result<&Pinned> {
        self.one(Kind::Image, |pinned| pinned.reference.base_name() == name)?
            .with_context(|| format!("there is no digest of {name}: was it built?"))
    }

    /// The chart of that name, which has a digest where it was pushed.
    pub(crate) fn chart(&self, name: &str) -> anyhow::Result<Option<&Pinned>> {
        self.one(Kind::Chart, |pinned| pinned.reference.base_name() == name)
    }

    fn one(&self, kind: Kind, wanted: impl Fn(&Pinned) -> bool) -> anyhow::Result<Option<&Pinned>> {
        let mut found = self.0.iter().filter(|(its, pinned)| *its == kind && wanted(pinned)).map(|(_, pinned)| pinned);
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => bail!("there are two digests: {one} and {other}"),
            (one, _) => Ok(one),
        }
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(kind, pinned)| writeln!(f, "{} {pinned}", kind.word()))
    }
}

impl FromStr for Pins {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(index, line): (usize, &str)| {
            let (word, pinned) = line.split_once(' ').unwrap_or_default();
            let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
            let kind = kind.with_context(|| format!("line {}: {word:?} is neither image nor chart", index + 1))?;
            Ok((kind, pinned.trim().parse().with_context(|| format!("line {}", index + 1))?))
        };
        Ok(Self(lines.map(read).collect::<anyhow::Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(text: &str, digit: &str) -> String {
        format!("{text}@sha256:{}", digit.repeat(64))
    }

    #[test]
    fn images_and_chart_are_found_by_kind_and_name() {
        // A chart may have an image's name, and a registry's path the folder of charts.
        let text = format!(
            "image {}\nimage {}\n\nchart {}\n",
            pinned("localhost:5001/charts/a:1", "a"),
            pinned("localhost:5001/charts/b:1", "b"),
            pinned("localhost:5001/charts/charts/a:2", "c")
        );
        let pins: Pins = text.parse().unwrap();
        assert_eq!(pins.image("a").unwrap().to_string(), pinned("localhost:5001/charts/a:1", "a"));
        assert_eq!(pins.image("b").unwrap().reference.tag(), "1");
        assert_eq!(pins.chart("a").unwrap().unwrap().reference.tag(), "2");
        assert_eq!(pins.to_string(), text.replace("\n\n", "\n"));
        assert!(pins.image("c").unwrap_err().to_string().contains("no digest of c"));
    }

    #[test]
    fn invalid_or_duplicate_pins_are_refused() {
        for bad in ["image", "image a:1", "layer a:1@sha256:00", &format!("other {}", pinned("a:1", "a"))] {
            assert!(bad.parse::<Pins>().is_err(), "{bad}");
        }
        let twice: Pins = format!("image {}\nimage {}\n", pinned("a:1", "a"), pinned("x/a:1", "b")).parse().unwrap();
        assert!(twice.image("a").unwrap_err().to_string().contains("two digests"));
        assert_eq!(twice.chart("a").unwrap(), None);
    }
}
