//! The daemon's further command line options.

mod environment;

use crate::{cri_resmgr, limits};

/// Options that belong to us: with another value the daemon would not sit where the node agent and the gate look for it.
const OURS: [&str; 9] = [
    "runtime-socket",
    "image-socket",
    "relay-socket",
    "relay-dir",
    "agent-socket",
    "config-socket",
    "fallback-config",
    "force-config",
    "pid-file",
];
/// Options with which the daemon prints something and ends, or drops its state and ends.
const ENDING: [&str; 7] = ["reset-policy", "reset-config", "print-config", "list-policies", "version", "help", "h"];
/// Options without a value.
const SWITCHES: [&str; 9] = [
    "disable-policy-switch",
    "allow-untested-runtimes",
    "disable-ui",
    "add_dir_header",
    "alsologtostderr",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
];
/// An option with another value: what of it is handed on, and what that is called.
type Valued = (&'static str, fn(&str) -> bool, &'static str);

const VALUES: [Valued; 6] = [
    ("metrics-interval", is_interval, INTERVAL),
    ("rebalance-interval", is_interval, INTERVAL),
    ("v", is_level, "a whole number of at least 0"),
    ("vmodule", cri_resmgr::is_vmodule, "a list such as policy=5,cache=3"),
    ("stderrthreshold", cri_resmgr::is_stderr_threshold, "one of INFO, WARNING, ERROR, FATAL"),
    ("force-config-signal", is_signal, "one of SIGHUP, SIGUSR1, SIGUSR2"),
];
const INTERVAL: &str = "0, or a time from 100ms to 8760h";
/// Options with which the daemon would use other files and folders, as root, than those that it has to.
const FILES: [&str; 11] = [
    "host-root",
    "external-visualizers",
    "cgroup-mount",
    "cgroup-v2-dir",
    "cgroup-path",
    "kubelet-cgroup-root",
    "bpf-install-path",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
];

/// Options that the daemon may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Words as they were written, separated by single blanks.
    pub text: String,
    /// What the daemon is not given, and why.
    pub left_out: Vec<String>,
}

/// Reads options word by word, as such or from an environment file (`EXTRA_OPTIONS="…"`, as the original extension documents it).
///
/// Gives the one text for what they say, without those that reach files, and without values that would end the daemon. The canonical form of
/// a canonical text is the text itself.
///
/// # Errors
/// What is wrong. Every error names the word and what is allowed.
pub fn canonical(text: &str) -> Result<Options, Vec<String>> {
    if text.len() > limits::EXTRA_OPTIONS_BYTES {
        return Err(vec![format!("has {} bytes, allowed: {}", text.len(), limits::EXTRA_OPTIONS_BYTES)]);
    }
    // Some editors put it at the beginning of a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = if environment::is_one(text) {
        environment::options(text).map_err(|message| vec![message])?
    } else {
        text.to_owned()
    };
    let text = value.trim();
    if let Some(bad) = text.chars().find(|c| !is_plain(*c) && !is_between(*c)) {
        // The text stands in an environment file of systemd, which has quoting rules of its own.
        return Err(vec![format!("{bad:?} is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%")]);
    }
    let mut problems = Vec::new();
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    let mut words = text.split(is_between).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            problems.push(format!("{:?} is not an option", shown(word)));
            continue;
        };
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        if OURS.contains(&name) {
            problems.push(format!("--{name} is set by the extension"));
        } else if ENDING.contains(&name) {
            problems.push(format!("--{name} makes the daemon end"));
        } else if SWITCHES.contains(&name) {
            match value {
                Some("false") if name == "logtostderr" => {
                    left_out.push(format!("--{name} is left out: {}", cri_resmgr::TO_FILES));
                }
                None | Some("true" | "false") => kept.push(word.to_owned()),
                Some(_) => problems.push(format!("--{name} takes true or false")),
            }
        } else if let Some(known) = VALUES.iter().map(|(known, ..)| known).chain(&FILES).find(|known| **known == name) {
            let (written, value) = match (value, words.peek()) {
                (Some(value), _) => (word.to_owned(), value),
                (None, Some(next)) if !next.starts_with('-') => {
                    (format!("{word} {next}"), words.next().unwrap_or_default())
                }
                (None, _) => {
                    problems.push(format!("--{name} needs a value"));
                    continue;
                }
            };
            match VALUES.iter().find(|(name, ..)| name == known) {
                None => left_out.push(format!("--{name} is left out: the daemon would use other files by it, as root")),
                Some((_, passes, _)) if passes(value) => kept.push(written),
                Some((_, _, allowed)) if is_interval_of_old(name, value) => {
                    problems.push(format!("--{name}: {:?} is not a duration, allowed: {allowed}", shown(value)));
                }
                Some((_, _, allowed)) => {
                    left_out.push(format!(
                        "--{name} is left out: {:?} would end the daemon or be of no use, allowed: {allowed}",
                        shown(value)
                    ));
                }
            }
        } else {
            problems.push(format!("there is no option --{}, allowed: --{}", shown(name), allowed()));
        }
        if OURS.contains(&name) && value.is_none() {
            words.next_if(|next| !next.starts_with('-'));
        }
    }
    if problems.is_empty() {
        return Ok(Options { text: kept.join(" "), left_out: first(left_out, limits::WARNINGS) });
    }
    Err(first(problems, limits::FINDINGS))
}

/// What was never accepted is refused as ever.
fn is_interval_of_old(name: &str, value: &str) -> bool {
    name.ends_with("-interval") && !cri_resmgr::is_duration(value)
}

fn first(mut all: Vec<String>, most: usize) -> Vec<String> {
    let more = all.len().saturating_sub(most);
    all.truncate(most);
    all.extend((more > 0).then(|| format!("and {more} more")));
    all
}

fn shown(word: &str) -> String {
    limits::cut(word, 60)
}

fn allowed() -> String {
    let values = VALUES.iter().map(|(name, ..)| *name);
    SWITCHES.into_iter().chain(values).collect::<Vec<_>>().join(", --")
}

fn is_interval(value: &str) -> bool {
    cri_resmgr::nanoseconds(value).is_some_and(|time| time == 0.0 || (1e8..=8760.0 * 3600e9).contains(&time))
}

fn is_level(value: &str) -> bool {
    value.parse::<i32>().is_ok_and(|level| level >= 0)
}

fn is_signal(value: &str) -> bool {
    matches!(value, "SIGHUP" | "SIGUSR1" | "SIGUSR2")
}

/// What may stand between words, in a text of several lines, too.
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " -_=.,:/+@%".contains(c)
}

#[cfg(test)]
mod tests;
