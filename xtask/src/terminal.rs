//! What a command shows the person who called it, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

/// Writes one line. That nobody reads it any more is no reason to stop.
pub(crate) fn say(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

/// The progress of one transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    bar: Option<ProgressBar>,
}

impl Transfer {
    /// Begins one; `what` names it.
    pub(crate) fn begin(what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            say(what);
            return Self { bar: None };
        }
        let bar = ProgressBar::new(0).with_message(what.to_owned());
        let template = "{msg} {bytes}/{total_bytes} {bar:30} {bytes_per_sec}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar: Some(bar) }
    }

    /// `done` of `total` bytes are there.
    pub(crate) fn at(&self, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
        }
    }

    /// Another `bytes` follow; they are named `what` where there is no bar.
    pub(crate) fn part(&self, what: &str, bytes: u64) {
        match &self.bar {
            Some(bar) => {
                bar.inc_length(bytes);
                bar.inc(bytes);
            }
            None => say(&format!("  {what} ({bytes} bytes)")),
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
