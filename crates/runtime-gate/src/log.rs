//! Lines for the journal.

use std::io::Write;

/// One line to stderr; in a service with systemd's level prefix for a notice, so that a unit may drop systemd's own chatter (level info) and
/// keep our lines. An unwritable stderr must not change what is decided, so its error is dropped.
pub(crate) fn line(text: &str) {
    let level = if std::env::var_os("JOURNAL_STREAM").is_some() { "<5>" } else { "" };
    drop(writeln!(std::io::stderr(), "{level}runtime-gate: {text}"));
}

/// One line to stdout.
pub(crate) fn answer(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
