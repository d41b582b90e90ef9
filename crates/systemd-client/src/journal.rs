//! Lines of the host's journal, by the host's own journalctl: what its files look like is a matter of its version, and so is where they are.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use zbus::{Fd, Variant};

use crate::error::SystemdError;
use crate::systemd::Systemd;
use crate::transient::{Ended, Properties, RunOnce};

/// Where journalctl is; every distribution with a merged `/usr` has it there.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// Most memory of journalctl, bytes. It maps the journal's files, which counts for little of it.
const MEMORY: u64 = 128 << 20;

/// What is asked of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalQuery {
    /// Name of the unit that runs journalctl, `….service`; no other unit has it.
    pub unit: String,
    /// journalctl's matches (journalctl(1)): `FIELD=value`, and `+` between alternatives.
    pub matches: Vec<String>,
    /// The newest lines, so many.
    pub lines: u32,
    /// And of those so many bytes, the newest.
    pub bytes: u64,
    /// It is ended after this time.
    pub limit: Duration,
}

/// What journalctl has printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLines {
    /// How it ended. By a signal where there was more than was asked for.
    pub ended: Ended,
    /// Lines with time, program and message, the oldest first.
    pub text: String,
}

impl Systemd {
    /// Lines of the host's journal. Neither a file nor a unit of it is left: journalctl, confined, writes into memory of ours.
    ///
    /// # Errors
    /// When the unit cannot be run, or its output not be read.
    pub async fn journal(&self, query: &JournalQuery) -> Result<JournalLines, SystemdError> {
        let unreadable = |error: std::io::Error| SystemdError::Output { what: query.unit.clone(), source: error };
        let output = memfd_create(c"journal", MFdFlags::MFD_CLOEXEC).map_err(|error| unreadable(error.into()))?;
        let run = RunOnce { unit: &query.unit, limit: query.limit, properties: query.properties(output.as_fd()) };
        let ended = self.run_once(run).await?;
        let mut file = File::from(output);
        let mut bytes = Vec::new();
        file.rewind().map_err(unreadable)?;
        file.take(query.bytes).read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(JournalLines { ended, text: oldest_first(&String::from_utf8_lossy(&bytes)) })
    }
}

impl JournalQuery {
    fn properties<'a>(&'a self, output: std::os::fd::BorrowedFd<'a>) -> Properties<'a> {
        let lines = format!("--lines={}", self.lines);
        let options = [JOURNALCTL, "--no-pager", "--quiet", "--utc", "--output=short-iso", "--reverse", &lines];
        let words: Vec<String> =
            options.iter().map(|word| (*word).to_owned()).chain(self.matches.iter().cloned()).collect();
        vec![
            ("Description", Variant::new("Read the journal for the agent of the cri-resmgr extension")),
            ("ExecStart", Variant::new(vec![(JOURNALCTL.to_owned(), words, false)])),
            ("StandardOutputFileDescriptor", Variant::new(Fd::from(output))),
            // What it says about itself is no line of the journal.
            ("StandardError", Variant::new("null")),
            ("LimitFSIZE", Variant::new(self.bytes)),
            // Its files belong to root; no capability is needed to read what is one's own.
            ("CapabilityBoundingSet", Variant::new(0_u64)),
            ("NoNewPrivileges", Variant::new(true)),
            ("PrivateNetwork", Variant::new(true)),
            ("ProtectSystem", Variant::new("strict")),
            ("ProtectHome", Variant::new("yes")),
            ("MemoryMax", Variant::new(MEMORY)),
        ]
    }
}

/// The newest come first, so that it is the oldest that a limit cuts. A line that the limit has cut is left out.
fn oldest_first(newest_first: &str) -> String {
    let whole = newest_first.rsplit_once('\n').map_or("", |(whole, _cut)| whole);
    whole.lines().rev().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::oldest_first;

    #[test]
    fn lines_come_oldest_first_and_one_that_was_cut_not_at_all() {
        for (printed, expected) in
            [("", ""), ("c\nb\na\n", "a\nb\nc\n"), ("c\nb\nhalf of a l", "b\nc\n"), ("no line", "")]
        {
            assert_eq!(oldest_first(printed), expected, "{printed:?}");
        }
    }
}
