//! Every command that the documentation has people type is one that there is.

mod messages;
mod names;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

/// Where people read what to type.
const TEXTS: [&str; 23] = [
    "CONTRIBUTING.md",
    "README.md",
    "docs/README.md",
    "docs/admission.md",
    "docs/alternatives.md",
    "docs/configuration.md",
    "docs/development.md",
    "docs/faq.md",
    "docs/finding-your-way.md",
    "docs/halt.md",
    "docs/installation.md",
    "docs/kubectl-resmgr.md",
    "docs/local-gardener.md",
    "docs/migration-from-the-go-extension.md",
    "docs/migration-to-nri.md",
    "docs/monitoring.md",
    "docs/node-trials.md",
    "docs/nri-plugins.md",
    "docs/operations.md",
    "docs/placement.md",
    "docs/provider-config.md",
    "docs/sizing.md",
    "docs/troubleshooting.md",
];
/// What stands for one of several things, and one of them.
const PLACEHOLDERS: [(&str, &str); 1] = [("…", "")];
/// Options of programs that are not ours.
const FOREIGN: [&str; 1] = ["--authfile"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A command as it stands in a text.
#[derive(Debug)]
struct TypedCommand {
    words: Vec<String>,
    /// It is there to be typed as it is; else a sentence speaks of it.
    whole: bool,
}

/// Lines of the fenced blocks for a shell, with continued lines joined; those after a prompt; and what stands in single back-ticks elsewhere.
fn commands(text: &str) -> Vec<TypedCommand> {
    let mut found = Vec::new();
    let mut add = |command: &str, whole| found.push(TypedCommand { words: words(command), whole });
    // The language of the block that the line is in.
    let mut block: Option<&str> = None;
    let mut continued = String::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
        } else if block == Some("console") {
            // What stands below was printed.
            line.strip_prefix("$ ").into_iter().for_each(|command| add(command, true));
        } else if block == Some("sh") {
            match line.split(" #").next().unwrap_or_default().trim_end().strip_suffix('\\') {
                Some(part) => continued.push_str(part),
                None => add(&format!("{}{line}", std::mem::take(&mut continued)), true),
            }
        } else if block.is_none() {
            line.split('`').skip(1).step_by(2).for_each(|command| add(command, false));
        }
    }
    found.retain(|command| !command.words.is_empty());
    found
}

/// The words of a command up to its comment, without quotes; assignments before it are left out.
fn words(command: &str) -> Vec<String> {
    let words = command.split_whitespace().take_while(|word| !word.starts_with('#') && *word != "|");
    let words = words.flat_map(|word| match PLACEHOLDERS.iter().find(|(placeholder, _)| word == *placeholder) {
        Some((_, instead)) => instead.split_whitespace().map(str::to_owned).collect(),
        None => vec![word.trim_matches('"').to_owned()],
    });
    words.skip_while(|word| word.contains('=') && !word.starts_with('-')).collect()
}

fn all_commands() -> Vec<(&'static str, TypedCommand)> {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    TEXTS.into_iter().flat_map(|name| commands(&read(name)).into_iter().map(move |command| (name, command))).collect()
}

/// Asking for help is no mistake; and a sentence may name a command without what it needs.
fn is_accepted(kind: ErrorKind, whole: bool) -> bool {
    let is_short = matches!(
        kind,
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    kind == ErrorKind::DisplayHelp || (is_short && !whole)
}

#[test]
fn every_documented_xtask_command_parses() {
    let mut parsed = 0;
    for (text, TypedCommand { words, whole }) in all_commands() {
        let [cargo, xtask, arguments @ ..] = words.as_slice() else { continue };
        if (cargo.as_str(), xtask.as_str()) != ("cargo", "xtask") {
            continue;
        }
        let outcome = crate::Command::try_parse_from(std::iter::once(xtask).chain(arguments));
        if let Err(error) = outcome
            && !is_accepted(error.kind(), whole)
        {
            panic!("{text}: {}: {error}", words.join(" "));
        }
        parsed += 1;
    }
    assert!(parsed > 30, "only {parsed} commands were found");
}

/// Pages on which each `kubectl` of a block is followed by what it printed on a bed (`e2e::printed`).
const SHOWING: [&str; 3] = ["docs/kubectl-resmgr.md", "docs/placement.md", "docs/troubleshooting.md"];
/// What prints nothing that a reader would look for.
const SILENT: [&str; 1] = ["kubectl resmgr --help"];

#[test]
fn usage_and_troubleshooting_show_what_commands_print() {
    let mut shown = 0;
    for page in SHOWING {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for block in e2e::printed::blocks(&text).unwrap() {
            for (asked, printed) in block.shown {
                assert!(
                    !printed.trim().is_empty(),
                    "{page}: nothing stands below ({asked}): `cargo xtask docs --renew`"
                );
                shown += 1;
            }
        }
        for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let silent = |line: &&str| line.starts_with("kubectl ") && !SILENT.contains(line);
            let found: Vec<&str> = block.lines().filter(silent).collect();
            assert!(found.is_empty(), "{page}: nothing stands below {found:?}");
        }
    }
    assert!(shown > 12, "only {shown} commands show what they print");
}

#[test]
fn every_documented_command_of_the_plugin_parses() {
    let mut parsed = 0;
    for (text, TypedCommand { words, whole }) in all_commands() {
        let [kubectl, resmgr, arguments @ ..] = words.as_slice() else { continue };
        if (kubectl.as_str(), resmgr.as_str()) != ("kubectl", "resmgr") {
            continue;
        }
        // What may be left out stands in brackets.
        let arguments = arguments.iter().map(|word| word.trim_matches(['[', ']']));
        let outcome = kubectl_resmgr::Cli::try_parse_from(std::iter::once("resmgr").chain(arguments));
        if let Err(error) = outcome
            && !is_accepted(error.kind(), whole)
        {
            panic!("{text}: {}: {error}", words.join(" "));
        }
        parsed += 1;
    }
    assert!(parsed > 10, "only {parsed} commands were found");
}

#[test]
fn every_documented_option_belongs_to_a_command() {
    let command = crate::Command::command();
    let known: Vec<String> = command
        .get_subcommands()
        .flat_map(|command| {
            command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments))
        })
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    let text = std::fs::read_to_string(root().join("docs/installation.md")).unwrap();
    let mut seen = 0;
    // In tables and sentences, where no command stands before them.
    for TypedCommand { words, .. } in commands(&text).into_iter().filter(|command| command.words[0].starts_with("--")) {
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(known.contains(option) || FOREIGN.contains(&option.as_str()), "no command has {option}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} options were found");
}

#[test]
fn every_documented_script_exists_and_knows_its_options() {
    let mut seen = 0;
    for (text, TypedCommand { words, .. }) in all_commands() {
        let Some(script) = words.first().filter(|word| word.starts_with("scripts/")) else { continue };
        let help = Command::new(root().join(script)).arg("--help").output().unwrap();
        let help = String::from_utf8_lossy(&help.stdout);
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option.as_str()), "{text}: {script} has no {option}");
        }
        seen += 1;
    }
    assert!(seen > 5, "only {seen} scripts were found");
}

#[test]
fn every_documented_file_exists() {
    let mut seen = 0;
    for (text, TypedCommand { words, .. }) in all_commands() {
        let files = words.iter().filter(|word| {
            ["examples/", "scripts/", "charts/", "deploy/", "docs/", "crates/"].iter().any(|top| word.starts_with(top))
        });
        for file in files.map(|file| file.trim_end_matches([',', ';', ')'])) {
            assert!(exists(file), "{text}: there is no {file}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} files were found");
}

/// One `*` stands for any one folder.
fn exists(file: &str) -> bool {
    let Some((before, after)) = file.split_once("/*/") else { return root().join(file).exists() };
    let folders: Vec<PathBuf> =
        std::fs::read_dir(root().join(before)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.iter().any(|folder| folder.join(after).exists())
}

#[test]
fn commands_are_found_in_blocks_and_in_sentences() {
    let text = "Say `cargo xtask a` or\n\n```sh\n# a comment\nX=1 cargo xtask b \\   # why\n    --c … # d\n```\n```yaml\ncargo: e\n```\n```console\n$ cargo xtask f | g\nf\n```\n";
    let found: Vec<_> = commands(text).into_iter().map(|command| (command.words.join(" "), command.whole)).collect();
    assert_eq!(
        found,
        [
            ("cargo xtask a".to_owned(), false),
            ("cargo xtask b --c".to_owned(), true),
            ("cargo xtask f".to_owned(), true)
        ]
    );
}
