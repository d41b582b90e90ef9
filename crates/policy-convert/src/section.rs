//! Reads a document by taking keys out of it: what nobody has taken is left over, and unknown.

use serde_json::{Map, Value};

use crate::key::Key;
use crate::limits;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;

impl Key {
    /// A map that has something in it, as a section; another value is noted.
    pub(crate) fn open(self, case: Case, report: &mut Report) -> Option<Section> {
        let Self { path, value, level } = self;
        match value {
            Value::Object(map) if !map.is_empty() && level < limits::DEPTH => {
                return Some(Section { path, map, level, case, taken: Vec::new() });
            }
            Value::Object(_) | Value::Null => report.no_effect(Self { path, value, level }, "is empty"),
            _ => report.invalid(Self { path, value, level }, "a map"),
        }
        None
    }
}

/// How a map's keys are compared (pkg/config/config.go of cri-resource-manager v0.9.2: modules exactly, what Go's decoder reads without
/// regard to letter case).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Exact,
    Any,
}

/// A map of which keys are taken.
#[must_use]
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) path: String,
    map: Map<String, Value>,
    level: usize,
    case: Case,
    taken: Vec<&'static str>,
}

impl Section {
    /// One that nobody wrote.
    pub(crate) fn absent(path: &str) -> Self {
        Self { path: path.to_owned(), map: Map::new(), level: 1, case: Case::Exact, taken: Vec::new() }
    }

    /// Takes a key.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Key> {
        let spelling = if self.map.contains_key(name) {
            name.to_owned()
        } else if self.case == Case::Any {
            self.map.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone()
        } else {
            return None;
        };
        let value = self.map.remove(&spelling)?;
        self.taken.push(name);
        Some(self.key(&spelling, value))
    }

    fn key(&self, name: &str, value: Value) -> Key {
        Key { path: path::below(&self.path, name), value, level: self.level + 1 }
    }

    /// Takes a key that is a map.
    pub(crate) fn section(&mut self, name: &'static str, case: Case, report: &mut Report) -> Option<Section> {
        self.take(name)?.open(case, report)
    }

    /// Takes all keys that are left, with their names.
    pub(crate) fn rest(&mut self) -> Vec<(String, Key)> {
        let map = std::mem::take(&mut self.map);
        map.into_iter()
            .map(|(name, value)| {
                let key = self.key(&name, value);
                (name, key)
            })
            .collect()
    }

    /// Notes what nobody has taken.
    pub(crate) fn finish(mut self, report: &mut Report) {
        for (name, key) in self.rest() {
            let is_other_spelling = |taken: &&&str| self.case == Case::Any && taken.eq_ignore_ascii_case(&name);
            match self.taken.iter().find(is_other_spelling) {
                Some(taken) => {
                    let text = format!("stands beside {taken} in another letter case: cri-resmgr takes one of the two");
                    report.key(key, Rule::GivenTwice, None, &text);
                }
                None => report.key(key, Rule::UnknownKey, None, UNKNOWN),
            }
        }
    }
}

const UNKNOWN: &str =
    "cri-resmgr does not know this key and did nothing for it; take it out, or write the key that is meant";

/// Puts dotted top-level keys (`policy.balloons`) where they belong (pkg/config/config.go). What would be there twice is left out and
/// returned.
pub(crate) fn nest(document: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    /// Names in a dotted key: more than any key of cri-resmgr has.
    const MOST_NAMES: usize = 8;
    let (mut tree, dotted): (Map<_, _>, Map<_, _>) = document.into_iter().partition(|(key, _)| !key.contains('.'));
    let mut twice = Map::new();
    for (key, value) in dotted {
        let names: Vec<&str> = key.split('.').take(MOST_NAMES + 1).collect();
        let is_free = names.len() <= MOST_NAMES && is_free(&tree, &names);
        if !is_free {
            twice.insert(key.clone(), value);
            continue;
        }
        let Some((last, parents)) = names.split_last() else { continue };
        let mut at = Some(&mut tree);
        for name in parents {
            at = at.and_then(|map| map.entry(*name).or_insert_with(|| Value::Object(Map::new())).as_object_mut());
        }
        if let Some(map) = at {
            map.insert((*last).to_owned(), value);
        }
    }
    (tree, twice)
}

/// Whether something can be put there.
fn is_free(tree: &Map<String, Value>, names: &[&str]) -> bool {
    let mut at = tree;
    let Some((last, parents)) = names.split_last() else { return false };
    for name in parents {
        match at.get(*name) {
            None => return true,
            Some(Value::Object(map)) => at = map,
            Some(_) => return false,
        }
    }
    !at.contains_key(*last)
}
