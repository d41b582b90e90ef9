//! Marked blocks of a page: found, compared with what was printed, and written anew.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use anyhow::{Context as _, bail, ensure};

use super::normal::normal;

const MARK: &str = "<!-- printed on the bed: ";
const MARK_END: &str = " -->";
const FENCE: &str = "```";
const LANGUAGE: &str = "```console";
const PROMPT: &str = "$ ";

/// How things are on the bed when a command is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    /// The configuration of `docs/placement.md`, its pod, and a worker pool that is left alone.
    AsDesired,
    /// Then the configuration of `docs/troubleshooting.md`, which does not prove itself.
    RolledBack,
}

/// Where it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// With the shoot's kubeconfig.
    Shoot,
    /// With the seed's.
    Seed,
    /// In a shell on the node.
    Node,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// When.
    pub scene: Scene,
    /// Where.
    pub place: Location,
    /// The line after the prompt.
    pub command: String,
}

/// What each command has printed.
pub type Printed = BTreeMap<Asked, String>;

/// A marked block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its commands, each with what the page shows of it.
    pub shown: Vec<(Asked, String)>,
    /// Its lines between the fences, from 0.
    lines: Range<usize>,
}

impl Scene {
    /// All, in the order in which one leads to the next.
    pub const ALL: [Self; 2] = [Self::AsDesired, Self::RolledBack];

    const fn word(self) -> &'static str {
        match self {
            Self::AsDesired => "as desired",
            Self::RolledBack => "rolled back",
        }
    }
}

impl Location {
    const ALL: [Self; 3] = [Self::Shoot, Self::Seed, Self::Node];

    const fn word(self) -> &'static str {
        match self {
            Self::Shoot => "shoot",
            Self::Seed => "seed",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.scene.word(), self.place.word(), self.command)
    }
}

/// The marked blocks of a page.
///
/// # Errors
/// A mark that names no scene or place, or is not followed by a block of commands.
pub fn blocks(text: &str) -> anyhow::Result<Vec<Block>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(mark) = line.strip_prefix(MARK) else { continue };
        let block = block(&lines, number + 1, mark).with_context(|| format!("line {}: {line}", number + 1))?;
        found.push(block);
    }
    Ok(found)
}

/// The block whose first fence is the line `fence`.
fn block(lines: &[&str], fence: usize, mark: &str) -> anyhow::Result<Block> {
    let (scene, place) =
        mark.strip_suffix(MARK_END).and_then(|mark| mark.split_once(", ")).context("no `SCENE, PLACE -->`")?;
    let scene = Scene::ALL.into_iter().find(|one| one.word() == scene).with_context(|| format!("no scene {scene}"))?;
    let place =
        Location::ALL.into_iter().find(|one| one.word() == place).with_context(|| format!("no place {place}"))?;
    ensure!(lines.get(fence) == Some(&LANGUAGE), "the next line is not {LANGUAGE}");
    let first = fence + 1;
    let length = lines[first..].iter().position(|line| *line == FENCE).context("the block has no end")?;
    let mut shown: Vec<(Asked, String)> = Vec::new();
    for line in &lines[first..first + length] {
        if let Some(command) = line.strip_prefix(PROMPT) {
            shown.push((Asked { scene, place, command: command.to_owned() }, String::new()));
        } else {
            let Some((_, text)) = shown.last_mut() else { bail!("the block does not begin with a command") };
            *text += line;
            text.push('\n');
        }
    }
    ensure!(!shown.is_empty(), "the block has no command");
    Ok(Block { shown, lines: first..first + length })
}

fn answer<'a>(printed: &'a Printed, asked: &Asked) -> anyhow::Result<&'a str> {
    printed.get(asked).map(String::as_str).with_context(|| format!("nobody has asked ({asked})"))
}

/// Every command that prints something else than the page shows.
pub(super) fn stale(text: &str, printed: &Printed) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (asked, shown) in blocks(text)?.into_iter().flat_map(|block| block.shown) {
        let now = answer(printed, &asked)?;
        if is_other(&shown, now) {
            found.push(format!("({asked}) prints\n{now}where the page shows\n{shown}"));
        }
    }
    Ok(found)
}

/// Whether the two say something else, apart from what differs from run to run.
pub(super) fn is_other(shown: &str, printed: &str) -> bool {
    normal(shown) != normal(printed)
}

/// What the page shows is kept where the bed says the same.
pub(super) fn renewed(text: &str, printed: &Printed) -> anyhow::Result<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for Block { shown, lines: of_block } in blocks(text)? {
        out += &lines[done..of_block.start].concat();
        for (asked, shown) in shown {
            let now = answer(printed, &asked)?;
            out.extend([PROMPT, &asked.command, "\n"]);
            if is_other(&shown, now) {
                let now: Vec<&str> = now.trim_end().lines().map(str::trim_end).collect();
                ensure!(
                    !now.iter().any(|line| line.starts_with(PROMPT) || *line == FENCE),
                    "({asked}) prints what a page cannot show"
                );
                for line in now {
                    out.extend([line, "\n"]);
                }
            } else {
                out += &shown;
            }
        }
        done = of_block.end;
    }
    out += &lines[done..].concat();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n<!-- printed on the bed: as desired, shoot -->\n```console\n$ a b\nx 5s\n$ c\n```\n\nMore\n<!-- printed on the bed: rolled back, node -->\n```console\n$ a b\ny\n```\n";

    fn asked(scene: Scene, place: Location, command: &str) -> Asked {
        Asked { scene, place, command: command.to_owned() }
    }

    fn printed(texts: [&str; 3]) -> Printed {
        let asked = [
            asked(Scene::AsDesired, Location::Shoot, "a b"),
            asked(Scene::AsDesired, Location::Shoot, "c"),
            asked(Scene::RolledBack, Location::Node, "a b"),
        ];
        asked.into_iter().zip(texts.map(str::to_owned)).collect()
    }

    #[test]
    fn commands_are_found_with_what_the_page_shows() {
        let blocks = blocks(PAGE).unwrap();
        let shown: Vec<_> = blocks.iter().flat_map(|block| block.shown.clone()).collect();
        let expected = printed(["x 5s\n", "", "y\n"]);
        assert_eq!(shown, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_the_same_in_other_words_is_kept_and_what_is_not_is_written() {
        let same = printed(["x   12s\n", "", "y\n"]);
        assert_eq!(renewed(PAGE, &same).unwrap(), PAGE);
        assert!(stale(PAGE, &same).unwrap().is_empty());
        let other = printed(["x 12s\n", "new\n\nlines\n", "z  \n"]);
        let expected = PAGE.replace("$ c\n", "$ c\nnew\n\nlines\n").replace("\ny\n", "\nz\n");
        assert_eq!(renewed(PAGE, &other).unwrap(), expected);
        let stale = stale(PAGE, &other).unwrap();
        assert_eq!(stale.len(), 2, "{stale:?}");
        assert!(stale[1].contains("rolled back, node: a b") && stale[1].contains('z'), "{stale:?}");
        assert_eq!(renewed(&expected, &other).unwrap(), expected, "a second time changes nothing");
    }

    #[test]
    fn a_command_that_nobody_gave_is_an_error() {
        assert!(stale(PAGE, &Printed::new()).is_err());
        assert!(renewed(PAGE, &Printed::new()).is_err());
    }

    #[test]
    fn a_block_that_cannot_be_read_is_an_error() {
        for wrong in [
            PAGE.replace("as desired", "at sea"),
            PAGE.replace("node -->", "moon -->"),
            PAGE.replace("console", "text"),
            PAGE.replace("$ a b\nx", "x"),
            PAGE.replace("y\n```\n", "y\n"),
            PAGE.replace("$ a b\ny\n", ""),
            PAGE.replace(", shoot", ""),
        ] {
            assert!(blocks(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_would_end_the_block_is_not_written() {
        for text in ["$ rm\n", "```\n"] {
            assert!(renewed(PAGE, &printed(["x 1s\n", text, "y\n"])).is_err(), "{text}");
        }
    }
}
