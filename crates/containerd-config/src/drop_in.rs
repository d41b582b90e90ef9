//! The file that switches NRI on, or changes its timeouts.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::{Table, Value};

use crate::assess::{Nri, Refusal, can_have, judge};
use crate::config::Config;
use crate::document::NRI;
use crate::duration;
use crate::imports::join;
use crate::limits::LONGEST_TIMEOUT;
use crate::table::{DISABLE, Node, REGISTRATION_TIMEOUT, REQUEST_TIMEOUT, Tree, plain};
use crate::version::Rules;

/// First words of the text, as of every text that we write on a host.
pub const MARKER: &str = "# Written by gardener-extension-cri-resmgr";
/// Name of the file: it comes after what people number.
pub const FILE_NAME: &str = "zz-gardener-extension-cri-resmgr.toml";

/// The timeouts that NRI has to have; `None` leaves the owner's, or containerd's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a plugin may take for one answer.
    pub request: Option<Duration>,
    /// How long a plugin may take to register.
    pub registration: Option<Duration>,
}

/// A file for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where it has to be.
    pub path: String,
    /// Its whole content.
    pub text: String,
}

/// The drop-in's path in the directory of drop-ins, `/etc/containerd/conf.d` on a node of Gardener's.
#[must_use]
pub fn drop_in_path(directory: &str) -> String {
    join(directory, FILE_NAME)
}

/// The drop-in with which NRI is usable and has these timeouts; `None` if it is so without one. What stands at `path` now counts for
/// nothing: whether it is ours is for the caller to know.
///
/// On 1.7 it has the whole table, because it replaces the one of the main file; from 2.0 on it has nothing but the timeouts that differ. Its
/// `version` is one that changes nothing for the other files. Read back with all the others, it has given what was wanted.
///
/// # Errors
/// Why NRI is to be left as it is.
pub fn drop_in(config: &Config, path: &str, wanted: &Timeouts) -> Result<Option<DropIn>, Refusal> {
    for (key, value) in [(REQUEST_TIMEOUT, wanted.request), (REGISTRATION_TIMEOUT, wanted.registration)] {
        if let Some(value) = value.filter(|value| !is_allowed(*value)) {
            return Err(Refusal::Timeout { key, value });
        }
    }
    let containerd = config.containerd();
    let owners = Config::read(containerd, &config.sources().without(path)?)?;
    let mut changes = Table::new();
    match judge(&owners, path)? {
        Nri::Usable { request_timeout, registration_timeout, .. } => {
            let found = [
                (REGISTRATION_TIMEOUT, wanted.registration, registration_timeout),
                (REQUEST_TIMEOUT, wanted.request, request_timeout),
            ];
            changes.extend(found.into_iter().filter_map(|(key, wanted, found)| {
                let wanted = wanted.filter(|wanted| *wanted != found)?;
                Some((key.to_owned(), Value::String(duration::text(wanted))))
            }));
            if changes.is_empty() {
                return Ok(None);
            }
        }
        Nri::Off { .. } => {
            changes.insert(DISABLE.to_owned(), Value::Boolean(false));
            for (key, wanted) in [(REGISTRATION_TIMEOUT, wanted.registration), (REQUEST_TIMEOUT, wanted.request)] {
                changes.extend(wanted.map(|wanted| (key.to_owned(), Value::String(duration::text(wanted)))));
            }
        }
        Nri::Refused { reason } => return Err(reason),
    }
    can_have(&owners, path)?;
    let table = if containerd.rules() == Rules::Replace {
        has_no_control_characters(owners.tree())?;
        let mut table: BTreeMap<String, Value> = plain(owners.tree()).into_iter().collect();
        table.extend(changes);
        table.into_iter().collect()
    } else {
        changes
    };
    let text = text(owners.neutral_version(), table);
    prove(&owners, path, &text, wanted)?;
    Ok(Some(DropIn { path: path.to_owned(), text }))
}

fn is_allowed(timeout: Duration) -> bool {
    let is_whole = timeout.subsec_nanos().is_multiple_of(1_000_000);
    is_whole && !timeout.is_zero() && timeout <= LONGEST_TIMEOUT
}

fn text(version: Option<i64>, table: Table) -> String {
    let mut head = Table::new();
    head.extend(version.map(|version| ("version".to_owned(), Value::Integer(version))));
    let plugins = Table::from_iter([(NRI.to_owned(), Value::Table(table))]);
    let body = Table::from_iter([("plugins".to_owned(), Value::Table(plugins))]);
    let separator = if head.is_empty() { "" } else { "\n" };
    format!(
        "{MARKER}: NRI, as its resource policy needs it. The node's agent replaces and removes it.\n{head}{separator}{body}"
    )
}

/// Reads the drop-in with all other files, as containerd will.
fn prove(owners: &Config, path: &str, text: &str, wanted: &Timeouts) -> Result<(), Refusal> {
    let main = owners.sources().main().to_owned();
    let Some(sources) = owners.sources().with(path, text)? else {
        return Err(Refusal::NotImported { main, path: path.to_owned() });
    };
    let with = Config::read(owners.containerd(), &sources)?;
    let is_as_wanted = match judge(&with, path)? {
        Nri::Usable { request_timeout, registration_timeout, .. } => {
            wanted.request.is_none_or(|wanted| wanted == request_timeout)
                && wanted.registration.is_none_or(|wanted| wanted == registration_timeout)
        }
        Nri::Off { .. } | Nri::Refused { .. } => false,
    };
    if is_as_wanted && with.version() == owners.version() {
        return Ok(());
    }
    let files = sources.walk()?;
    let last = files.iter().rev().find(|(file, document)| *file != path && document.nri.is_some());
    let later = last.map_or(main, |(file, _)| (*file).to_owned());
    Err(Refusal::Overridden { path: path.to_owned(), file: later })
}

/// The reader of 1.7 and our writer do not agree about all escapes.
fn has_no_control_characters(tree: &Tree) -> Result<(), Refusal> {
    for (key, node) in tree {
        match node {
            Node::Table(tree) => has_no_control_characters(tree)?,
            Node::Value(setting) if is_plain(&setting.value) => {}
            Node::Value(setting) => {
                return Err(Refusal::ControlCharacters { file: setting.file.clone(), key: key.clone() });
            }
        }
    }
    Ok(())
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.chars().any(char::is_control),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Table(table) => table.iter().all(|(key, value)| !key.chars().any(char::is_control) && is_plain(value)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => true,
    }
}
