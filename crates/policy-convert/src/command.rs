//! The command `convert`: reads files, converts them, prints what becomes of them.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use extension_config::ConfigKey;

use crate::convert::{Conversion, convert};
use crate::input::TooMuch;
use crate::read::{Reading, Unreadable, read};
use crate::rule::Grade;
use crate::{limits, render};

/// Converts a configuration of cri-resmgr into policies of nri-plugins, and says of each key what becomes of it. Files are providerConfigs, Shoots,
/// ConfigMaps cri-resmgr-config.NAME, Adjustments, pods and what makes pods (for their annotations), or plain configurations of the daemon; all of them are
/// taken for those of one shoot.
///
/// Exit status: 0 when the configuration can be taken over as it is, or with what is accepted; 3 when something has another meaning or needs a decision; 4
/// when something is lost that is not accepted; 1 when a file cannot be read or an accepted id is none of the report; 2 when the command line is wrong.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// What to convert; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: ConvertOptions,
}

/// How it is converted, wherever it is from.
#[derive(Debug, Clone, Args)]
pub struct ConvertOptions {
    /// Which configuration a file is that does not say it: fallback, force, default, group.NAME or node.NAME.
    #[arg(long, value_name = "SLOT", default_value = "default", value_parser = slot)]
    slot: ConfigKey,
    /// The id of a change or loss that is taken; may be given several times.
    #[arg(long, value_name = "ID")]
    accept: Vec<String>,
    /// CPUs of the smallest node: whether the balloons have room on it.
    #[arg(long, value_name = "NUMBER")]
    node_cpus: Option<u64>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
}

/// Objects of other kinds that are named: a whole cluster may be among the files.
const SKIPPED: usize = 10;
/// Something has another meaning, or needs a decision.
const OPEN: u8 = 3;
/// Something is lost.
const LOST: u8 = 4;

fn slot(text: &str) -> Result<ConfigKey, String> {
    ConfigKey::parse(text)
        .filter(|slot| *slot != ConfigKey::ExtraOptions)
        .ok_or_else(|| "allowed: fallback, force, default, group.NAME, node.NAME".to_owned())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// A file is not what it should be.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// There is more than is converted at a time.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// Nothing that can be converted is in the files.
    #[error("there is nothing to convert: no configuration of cri-resmgr, no Adjustment, no annotation")]
    Nothing,
    /// What is accepted does not happen.
    #[error("--accept: is {0:?}, allowed: ids of what has changed or is lost, as the report has them")]
    UnknownId(String),
    /// The answer cannot be put into this form.
    #[error(transparent)]
    Render(#[from] render::Error),
    /// A file, or standard output.
    #[error("{place}: cannot be read or written")]
    Io {
        /// Which.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ConvertArgs {
    /// Converts, and writes the answer to standard output. That nobody reads it any more changes nothing. The exit status is one of those that the
    /// help names.
    ///
    /// # Errors
    /// What is wrong with a file or an option: file, field, value and what is allowed.
    pub fn run(&self) -> Result<u8, Failed> {
        self.options.run(&self.files, Reading::default())
    }
}

impl ConvertOptions {
    /// As [`ConvertArgs::run`], with what was read elsewhere beside the files.
    ///
    /// # Errors
    /// As there.
    pub fn run(&self, files: &[PathBuf], mut reading: Reading) -> Result<u8, Failed> {
        for file in files {
            read(&file.display().to_string(), &text_of(file)?, &self.slot, &mut reading)?;
        }
        tell_skipped(&reading.skipped);
        reading.input.node_cpus = self.node_cpus.or(reading.input.node_cpus);
        let is_empty = reading.input.documents.is_empty()
            && reading.input.adjustments.is_empty()
            && reading.input.annotations.is_empty();
        if is_empty {
            return Err(Failed::Nothing);
        }
        let conversion = convert(reading.input)?;
        let accepted: BTreeSet<String> = self.accept.iter().cloned().collect();
        if let Some(unknown) = conversion.report.unknown(&accepted).first() {
            return Err(Failed::UnknownId(unknown.to_string()));
        }
        let answer = match self.output {
            OutputFormat::Text => render::text(&conversion, &accepted)?,
            OutputFormat::Json => render::json(&conversion, &accepted)?,
            OutputFormat::Markdown => render::markdown(&conversion, &accepted)?,
        };
        match io::stdout().lock().write_all(answer.as_bytes()) {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failed::Io { place: "standard output".to_owned(), source })
            }
            _ => Ok(status(&conversion, &accepted)),
        }
    }
}

/// On standard error, for people; that it cannot be written is nobody's concern.
fn tell_skipped(skipped: &[String]) {
    let mut out = io::stderr().lock();
    for skipped in skipped.iter().take(SKIPPED) {
        drop(writeln!(out, "skipped: {skipped}"));
    }
    if let Some(more @ 1..) = skipped.len().checked_sub(SKIPPED) {
        drop(writeln!(out, "skipped: {more} more"));
    }
}

fn status(conversion: &Conversion, accepted: &BTreeSet<String>) -> u8 {
    let of = |grade| if grade == Grade::Lost { LOST } else { OPEN };
    conversion.report.open(accepted).map(|entry| of(entry.grade)).max().unwrap_or(0)
}

/// Not more than the limit is read, whatever the file is.
fn text_of(file: &Path) -> Result<String, Failed> {
    let most = u64::try_from(limits::FILE_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().lock().take(most + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most + 1).read_to_string(&mut text))
    };
    read.map_err(|source| Failed::Io { place: file.display().to_string(), source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(text: &str, accept: &[&str]) -> u8 {
        let mut reading = Reading::default();
        read("FILE", text, &ConfigKey::Default, &mut reading).unwrap();
        let conversion = convert(reading.input).unwrap();
        let accepted = accept.iter().map(|id| (*id).to_owned()).collect();
        assert!(conversion.report.unknown(&accepted).is_empty());
        status(&conversion, &accepted)
    }

    #[test]
    fn the_exit_status_is_that_of_the_worst_finding() {
        let same = "policy: {Active: topology-aware, ReservedResources: {CPU: 1}}";
        let changed =
            "policy: {Active: topology-aware, ReservedResources: {CPU: 1}, topology-aware: {PreferSharedCPUs: true}}";
        let lost = format!("{changed}\ndump: {{Debug: true}}\n");
        let (shared, dump) =
            ("prefer-shared-cpus:default/policy.topology-aware.PreferSharedCPUs", "dump:default/dump.Debug");
        assert_eq!(status_of(same, &[]), 0);
        assert_eq!(status_of(changed, &[]), OPEN);
        assert_eq!(status_of(changed, &[shared]), 0);
        assert_eq!(status_of(&lost, &[]), LOST);
        assert_eq!(status_of(&lost, &[dump]), OPEN);
        assert_eq!(status_of(&lost, &[dump, shared]), 0);
        assert_eq!(status_of("policy: {Active: static}", &[]), OPEN);
    }

    /// What the page shows is what the command writes.
    #[test]
    fn the_documented_example_is_the_real_answer() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut reading = Reading::default();
        let example = std::fs::read_to_string(root.join("examples/provider-config/balloons.yaml")).unwrap();
        read("balloons.yaml", &example, &ConfigKey::Default, &mut reading).unwrap();
        let conversion = convert(reading.input).unwrap();
        let answer = render::text(&conversion, &BTreeSet::new()).unwrap();
        let page = std::fs::read_to_string(root.join("docs/migration-to-nri.md")).unwrap();
        let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(shown, answer);
        assert_eq!(status(&conversion, &BTreeSet::new()), OPEN);
        let ids: BTreeSet<String> = conversion.report.open(&BTreeSet::new()).map(|entry| entry.id.clone()).collect();
        assert_eq!((ids.len(), status(&conversion, &ids)), (4, 0));
    }

    #[test]
    fn errors_name_file_field_value_and_what_is_allowed() {
        let error =
            |text: &str| read("FILE", text, &ConfigKey::Default, &mut Reading::default()).unwrap_err().to_string();
        for (text, expected) in [
            ("[", "FILE: is neither YAML nor JSON: "),
            ("a: 1", "FILE: has neither a kind nor a field by which it is known, allowed: a providerConfig, "),
            ("1", "FILE: is no map of fields, allowed: "),
            ("", "FILE: has no document, allowed: "),
            (
                "configs: {wrong: x}",
                "FILE: providerConfig: configs.wrong: there is no such configuration, allowed: fallback, force, ",
            ),
            ("configs: {default: '['}", "FILE: configs.default: is neither YAML nor JSON: "),
            (
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: cri-resmgr-config.x}}",
                "FILE: metadata.name: is \"cri-resmgr-config.x\", allowed: cri-resmgr-config.default, ",
            ),
            (
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: cri-resmgr-config.default}, data: {policy: 1}}",
                "FILE: data.policy: must be a text",
            ),
            (
                "policy: {}\n---\npolicy: {}",
                "FILE: the configuration default is given twice, also in FILE; allowed: once in all files",
            ),
        ] {
            let found = error(text);
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\npolicy: [*c, *c, *c, *c, *c, *c, *c]\n";
        for hostile in [bomb, &"[".repeat(100_000), &format!("policy: {}", "{a: ".repeat(5000))] {
            assert!(error(hostile).starts_with("FILE: is neither YAML nor JSON: "), "{}", &hostile[..40]);
        }
        assert!(error(&" ".repeat(limits::FILE_BYTES + 1)).ends_with("allowed: 4194304"));
        assert!(slot("group.a").is_ok() && slot("EXTRA_OPTIONS").is_err() && slot("x").is_err());
    }
}
