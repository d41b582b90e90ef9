//! The command `check`: reads files, judges them, prints what is found.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::documents::{base, judge, judge_node};
use crate::kind::Kind;
use crate::limits;
use crate::node_files::NodeFiles;
use crate::provider_config::Base;
use crate::render::{self, Checked};
use crate::report::{Judged, Status, Unreadable};

/// Says what controller and agent would say to files, before they are applied: a providerConfig, a Shoot, a configuration of the daemon, an
/// override of the image vector, the chart's values or a ControllerDeployment, or a node's kubelet (a directory with kubelet.service, its drop-ins and the files that these name).
///
/// Exit status: 0 when nothing is refused (there may be warnings), 1 when something is, 2 when a file cannot be read or nobody knows what it is.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// What to check; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The landscape's base configuration, over which providerConfigs and Shoots are judged: the chart's values, a ControllerDeployment, an Extension of
    /// the operator, or the ConfigMap in a seed.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// What the files are, where that cannot be seen.
    #[arg(long = "as", value_name = "KIND", value_enum)]
    kind: Option<Kind>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl CheckArgs {
    /// Checks all files, and writes the answer to standard output. That nobody reads it any more changes nothing.
    #[must_use]
    pub fn run(&self) -> Status {
        let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let base = match self.base.as_deref().map(|path| read(path).and_then(|text| base(&text))).transpose() {
            Ok(base) => base,
            Err(error) => return self.without_base(error),
        };
        let checked: Vec<_> = names
            .iter()
            .zip(&self.files)
            .map(|(name, path)| {
                let judged = self.check(path, base.as_ref());
                Checked { file: name, judged }
            })
            .collect();
        let status = |checked: &Checked<'_>| checked.judged.as_ref().map_or(Status::Unreadable, Judged::status);
        let worst = checked.iter().map(status).max().unwrap_or(Status::Fine);
        self.print(&checked, worst)
    }

    /// Nothing can be said without what everything is judged over.
    fn without_base(&self, error: Unreadable) -> Status {
        let file = self.base.as_deref().unwrap_or(Path::new("")).display().to_string();
        self.print(&[Checked { file: &file, judged: Err(error) }], Status::Unreadable)
    }

    fn print(&self, checked: &[Checked<'_>], status: Status) -> Status {
        let answer = match self.output {
            OutputFormat::Text => Ok(render::text(checked)),
            OutputFormat::Json => render::json(checked),
        };
        let written = answer.map_err(io::Error::from).and_then(|answer| {
            let mut out = io::stdout().lock();
            out.write_all(answer.as_bytes()).and_then(|()| out.flush())
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Status::Unreadable,
            _ => status,
        }
    }

    fn check(&self, path: &Path, base: Option<&Base>) -> Result<Judged, Unreadable> {
        if !path.is_dir() {
            return judge(&read(path)?, self.kind, base);
        }
        match self.kind {
            None | Some(Kind::Kubelet) => Ok(judge_node(&node_files(path)?)),
            Some(_) => Err(Unreadable::Directory),
        }
    }
}

fn read(path: &Path) -> Result<String, Unreadable> {
    if path.as_os_str() == "-" { text(io::stdin().lock()) } else { text(std::fs::File::open(path)?) }
}

/// Not more than the limit is read, whatever the file is.
fn text(from: impl Read) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limits::FILE_BYTES).unwrap_or(u64::MAX);
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limits::FILE_BYTES {
        return Err(Unreadable::too_large());
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

/// Regular files below a directory; links lead out of it, and are not followed.
fn node_files(top: &Path) -> Result<NodeFiles, Unreadable> {
    let mut files = Vec::new();
    let mut bytes = 0;
    let mut entries = 0;
    let mut waiting = vec![(top.to_owned(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            entries += 1;
            if entries > limits::NODE_ENTRIES {
                return Err(Unreadable::TooMuch { what: "entries", allowed: limits::NODE_ENTRIES });
            }
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                if depth == limits::NODE_DEPTH {
                    return Err(Unreadable::TooMuch { what: "levels", allowed: limits::NODE_DEPTH });
                }
                waiting.push((path, depth + 1));
            } else if kind.is_file() {
                if files.len() == limits::NODE_FILES {
                    return Err(Unreadable::TooMuch { what: "files", allowed: limits::NODE_FILES });
                }
                // Others' files may be binary; none that kubelet reads is.
                let text = match text(std::fs::File::open(&path)?) {
                    Err(Unreadable::NotText) => continue,
                    read => read?,
                };
                bytes += text.len();
                if bytes > limits::FILE_BYTES {
                    return Err(Unreadable::too_large());
                }
                let below = path.strip_prefix(top).unwrap_or(&path);
                files.push((below.to_string_lossy().into_owned(), text));
            }
        }
    }
    Ok(files.into_iter().collect())
}
