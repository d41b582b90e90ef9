//! `cargo xtask spelling`: the pages' words, by hunspell's British dictionary and a list of the field's own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::terminal::say;

/// What Debian has it in.
pub(crate) const PACKAGES: [(&str, &str); 2] = [("hunspell", "hunspell"), ("hunspell", "hunspell-en-gb")];
const DICTIONARY: &str = "en_GB";
/// Words that no dictionary has, one a line.
const OWN: &str = "docs/spelling.txt";

/// Looks for words in the pages that neither the dictionary nor docs/spelling.txt has.
#[derive(Debug, Args)]
pub(crate) struct SpellingArgs {}

/// Runs the command in the repository at `root`. All findings are shown before it fails.
pub(crate) fn run(_: &SpellingArgs, root: &Path) -> anyhow::Result<()> {
    let own = std::fs::read_to_string(root.join(OWN)).context(OWN)?;
    let own: BTreeSet<&str> = own.lines().filter(|line| !line.is_empty()).collect();
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for page in crate::tidy::files(root)?.into_iter().filter(|path| is_page(path)) {
        let text = std::fs::read_to_string(root.join(&page)).with_context(|| page.display().to_string())?;
        for (line, word) in prose(&text) {
            words.entry(word).or_insert_with(|| format!("{}:{line}", page.display()));
        }
    }
    let unknown = unknown(words.keys())?;
    let mut findings: Vec<String> = Vec::new();
    for word in unknown.iter().filter(|word| !own.contains(word.as_str())) {
        let place = words.get(word).map_or("", String::as_str);
        findings.push(format!("{place}: {word} is no word that the dictionary or {OWN} has"));
    }
    // What nobody writes, or the dictionary has by now, would let a slip of the pen through.
    findings
        .extend(own.iter().filter(|word| !unknown.contains(**word)).map(|word| format!("{OWN}: {word} is not needed")));
    for finding in &findings {
        say(finding);
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    say(&format!("{} words are spelt right", words.len()));
    Ok(())
}

/// Whether the dictionary is here.
pub(crate) fn is_here() -> bool {
    // Without input it ends at once, and fails without its dictionary.
    let started = Command::new("hunspell").args(["-d", DICTIONARY, "-l"]).stdin(Stdio::null()).output();
    started.is_ok_and(|output| output.status.success())
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Those that the dictionary does not have.
fn unknown<'a>(words: impl Iterator<Item = &'a String>) -> anyhow::Result<BTreeSet<String>> {
    let arguments = ["-d", DICTIONARY, "-i", "utf-8", "-l"];
    let mut child = Command::new("hunspell")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start hunspell")?;
    let mut input = child.stdin.take().context("hunspell's input is piped")?;
    let text: String = words.flat_map(|word| [word, "\n"]).collect();
    // It answers while it reads.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("writing to hunspell panicked"))??;
    ensure!(output.status.success(), "hunspell ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Words of sentences with their lines: nothing of code, links' targets and addresses, and no word that is a name for sure (with digits, in
/// capitals, or with capitals inside).
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let sentences: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
            let sentences = without(&without(&sentences, "](", ')'), "<", '>');
            let pieces = sentences.split_whitespace().filter(|word| !word.contains("://"));
            let words =
                pieces.flat_map(|piece| piece.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '_')));
            found.extend(words.filter_map(word).map(|word| (number, word)));
        }
    }
    found
}

/// The line without what stands between these, each with a blank instead.
fn without(line: &str, begin: &str, end: char) -> String {
    let mut parts = line.split(begin);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push(' ');
        out += part.split_once(end).map_or(part, |(_, after)| after);
    }
    out
}

fn word(piece: &str) -> Option<String> {
    let word = piece.trim_matches(['\'', '’', '_']);
    let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word);
    let is_name = word.chars().any(|c| c.is_numeric() || c == '_') || word.chars().skip(1).any(char::is_uppercase);
    (word.chars().count() > 1 && !is_name).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_sentences_are_looked_at() {
        let text = "# The *first* word's\n`cod` and [shown](targt.md), <htm> https://adress.example/x\n```sh\nsudo\n```\nCPUs NRI v2 snake_case CriResmgr don't\n";
        let words: Vec<_> = prose(text).into_iter().map(|(line, word)| format!("{line} {word}")).collect();
        assert_eq!(words, ["1 The", "1 first", "1 word", "2 and", "2 shown", "6 don't"]);
    }

    /// By the dictionary itself, where it is.
    #[test]
    fn a_slip_of_the_pen_is_found() {
        if !is_here() {
            // Past libtest, which keeps what `println!` writes.
            writeln!(
                std::io::stdout(),
                "\nNOT CHECKED: a slip of the pen: hunspell is not here; `cargo xtask test --real` installs it"
            )
            .unwrap();
            return;
        }
        let words = ["colour", "recieve", "licence"].map(str::to_owned);
        assert_eq!(unknown(words.iter()).unwrap(), ["recieve".to_owned()].into());
    }
}
