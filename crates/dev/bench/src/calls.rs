//! What was asked of the API server, counted in its audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::seed::User;

/// Calls by `VERB RESOURCE[/SUBRESOURCE] CODE`.
pub(crate) type Calls = BTreeMap<String, u64>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    user: Who,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct Who {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

/// How far the log is now.
pub(crate) fn position(log: &Path) -> anyhow::Result<u64> {
    match std::fs::metadata(log) {
        // Nobody has asked yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        found => Ok(found.with_context(|| format!("cannot read {}", log.display()))?.len()),
    }
}

/// What one user asked for from a position on.
pub(crate) fn since(log: &Path, position: u64, user: User) -> anyhow::Result<Calls> {
    let mut file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    file.seek(SeekFrom::Start(position))?;
    let mut calls = Calls::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        // The last one may be half written.
        let Ok(entry) = serde_json::from_str::<Entry>(&line) else { continue };
        if entry.user.username == user.name() {
            *calls.entry(entry.describe()).or_default() += 1;
        }
    }
    Ok(calls)
}

impl Entry {
    fn describe(&self) -> String {
        let Object { resource, subresource } = &self.object_ref;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {resource}{slash}{subresource} {}", self.verb, self.response_status.code)
    }
}

/// Those that were refused because somebody else had written in between.
pub(crate) fn conflicts(calls: &Calls) -> u64 {
    calls.iter().filter(|(call, _)| call.ends_with(" 409")).map(|(_, count)| count).sum()
}

/// Those about what an Extension is made of: neither watches and lists nor Leases.
pub(crate) fn of_extensions(calls: &Calls) -> u64 {
    let is_other =
        |call: &str| ["watch ", "list "].iter().any(|verb| call.starts_with(verb)) || call.contains(" leases ");
    calls.iter().filter(|(call, _)| !is_other(call)).map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_verb_resource_and_code_from_a_position_on() -> anyhow::Result<()> {
        let entry = |verb: &str, user: &str, subresource: &str, code: u16| {
            let object = serde_json::json!({ "resource": "extensions", "subresource": subresource });
            serde_json::json!({ "verb": verb, "user": { "username": user }, "objectRef": object, "responseStatus": { "code": code } })
                .to_string()
        };
        let file = tempfile::NamedTempFile::new()?;
        let first = entry("get", "floor", "", 200) + "\n";
        let rest = [
            entry("patch", "floor", "status", 409),
            entry("patch", "floor", "status", 409),
            entry("patch", "controller", "status", 200),
            entry("watch", "floor", "", 200),
            "{\"half".to_owned(),
        ];
        std::fs::write(file.path(), first.clone() + &rest.join("\n"))?;
        let calls = since(file.path(), first.len() as u64, User::Floor)?;
        let expected = [("patch extensions/status 409".to_owned(), 2), ("watch extensions 200".to_owned(), 1)];
        assert_eq!(calls, Calls::from(expected));
        assert_eq!((conflicts(&calls), of_extensions(&calls)), (2, 2));
        assert_eq!(position(Path::new("/nowhere"))?, 0);
        Ok(())
    }
}
