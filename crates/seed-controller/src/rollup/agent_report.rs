//! An agent's report, as far as it is counted and shown. Its texts may be anybody's.

use extension_config::ReasonCode;
use extension_config::node_report::{CRI_RESMGR, NRI_PLUGINS, NodeReport, Stage};
use jiff::Timestamp;

use super::limits::{NAME, REASON, WORD};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentReport {
    pub(crate) stage: Stage,
    /// As the agent has it, if it is a time.
    pub(crate) since: Option<Timestamp>,
    /// Why it is not as desired: one line.
    pub(crate) message: String,
    pub(crate) awaits_slot: bool,
    /// It is held by a stop of all switches.
    pub(crate) is_halted: bool,
    /// One of the two words.
    pub(crate) backend: Option<String>,
    pub(crate) version: Option<String>,
    /// Hash of the desired state.
    pub(crate) desired: Option<String>,
}

impl AgentReport {
    /// Of a report's text, which is not longer than any report; `None`: it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let report: NodeReport = serde_json::from_str(text).ok()?;
        Some(Self {
            stage: report.stage,
            since: i64::try_from(report.since)
                .ok()
                .filter(|since| *since > 0)
                .and_then(|since| Timestamp::from_second(since).ok()),
            message: line(&report.message),
            awaits_slot: report.awaits_slot,
            is_halted: report.codes.iter().any(|code| code == ReasonCode::SwitchesHalted.as_str()),
            backend: report.backend.filter(|word| [CRI_RESMGR, NRI_PLUGINS].contains(&word.as_str())),
            version: report.version.filter(|word| is_word(word)),
            desired: Some(report.desired).filter(|word| is_word(word)),
        })
    }
}

/// Whether it can be the name of a Node.
pub(crate) fn valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// A version or a hash.
fn is_word(word: &str) -> bool {
    (1..=WORD).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.+_".contains(&byte))
}

/// The beginning of a text, in one line that shows as it is: without what moves a terminal's cursor, or turns the direction of what follows.
fn line(text: &str) -> String {
    let mut line = String::new();
    let mut shown = text.chars().map(|letter| if is_hidden(letter) { ' ' } else { letter });
    line.extend(shown.by_ref().take(REASON));
    if shown.next().is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
