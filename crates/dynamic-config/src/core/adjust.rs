//! Adjustments.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, Core, DaemonMode, Push};
use crate::adjustments::{self, StatusWrite};
use crate::memory::Fault;

/// The search for the adjustment that spoils a set whose errors name none: one after the other is added to those that are fine.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// Hash of the whole set that is searched.
    set: String,
    good: Vec<String>,
    queue: Vec<String>,
}

/// What a daemon is to be sent of one Adjustment.
struct Wanted {
    spec: Value,
    hash: String,
    created: String,
}

impl Core {
    /// All Adjustments that are for this node; `None`: not known yet.
    fn in_scope(&self) -> Option<BTreeMap<String, Wanted>> {
        let matching = self.adjustments.as_ref()?.iter().filter_map(|(name, adjustment)| {
            let spec = adjustment.for_node(&self.node)?;
            let hash = adjustments::hash(&spec);
            Some((name.clone(), Wanted { spec, hash, created: adjustment.created.clone() }))
        });
        Some(matching.collect())
    }

    /// Names of all Adjustments that are for this node; `None`: not known yet.
    pub(super) fn names_in_scope(&self) -> Option<Vec<String>> {
        let matching =
            self.adjustments.as_ref()?.iter().filter(|(_, adjustment)| adjustment.for_node(&self.node).is_some());
        Some(matching.map(|(name, _)| name.clone()).collect())
    }

    pub(super) fn next_adjustments(&mut self) -> Option<Push> {
        let all = self.in_scope()?;
        let run = self.memory.run.as_mut()?;
        let set = hash_of_all(&all);
        run.faults.retain(|name, fault| {
            all.get(name).is_some_and(|wanted| wanted.hash == fault.spec)
                && fault.set.as_ref().is_none_or(|faulty| *faulty == set)
        });
        if self.probe.as_ref().is_some_and(|probe| probe.set != set || probe.queue.is_empty()) {
            self.probe = None;
        }
        let healthy: BTreeMap<&String, &Wanted> =
            all.iter().filter(|(name, _)| !run.faults.contains_key(*name)).collect();
        let chosen: BTreeMap<&String, &Wanted> = match &self.probe {
            None => healthy,
            Some(probe) => {
                let names: Vec<&String> = probe.good.iter().chain(probe.queue.first()).collect();
                healthy.into_iter().filter(|(name, _)| names.contains(name)).collect()
            }
        };
        let hashes: BTreeMap<String, String> =
            chosen.iter().map(|(name, wanted)| ((*name).clone(), wanted.hash.clone())).collect();
        if self.probe.is_none() && run.adjustments.as_ref() == Some(&hashes) {
            return None;
        }
        let set = chosen.into_iter().map(|(name, wanted)| (name.clone(), wanted.spec.clone())).collect();
        Some(Push::Adjustments { set })
    }

    pub(super) fn adjustments_answered(&mut self, set: &BTreeMap<String, Value>, answer: &Answer) {
        let all = self.in_scope().unwrap_or_default();
        let Some(run) = self.memory.run.as_mut() else { return };
        let next = self.probe.as_mut().filter(|probe| !probe.queue.is_empty()).map(|probe| probe.queue.remove(0));
        let errors = match answer {
            Answer::Accepted => {
                run.adjustments =
                    Some(set.iter().map(|(name, spec)| (name.clone(), adjustments::hash(spec))).collect());
                if let (Some(probe), Some(name)) = (&mut self.probe, next) {
                    probe.good.push(name);
                }
                return;
            }
            Answer::Refused(errors) => errors,
        };
        let mut blame = |name: &str, errors: BTreeMap<String, String>, set_hash: Option<String>| {
            if let Some(spec) = set.get(name) {
                let fault = Fault { spec: adjustments::hash(spec), set: set_hash, errors };
                run.faults.insert(name.to_owned(), fault);
            }
        };
        let own: Vec<(&String, &String)> = errors.iter().filter(|(key, _)| set.contains_key(*key)).collect();
        if !own.is_empty() {
            // The daemon says whose fault it is.
            for (name, text) in own {
                blame(name, BTreeMap::from([(name.clone(), text.clone())]), None);
            }
            return;
        }
        // Errors of containers, or of the daemon as such: they depend on all that was sent.
        let whole = hash_of_all(&all);
        let only = if set.len() == 1 { set.keys().next().cloned() } else { None };
        if let Some(name) = next.or(only) {
            blame(&name, errors.clone(), Some(whole));
            return;
        }
        let mut queue: Vec<(String, String)> = set
            .keys()
            .map(|name| (all.get(name).map(|wanted| wanted.created.clone()).unwrap_or_default(), name.clone()))
            .collect();
        queue.sort();
        self.probe =
            Some(Probe { set: whole, good: Vec::new(), queue: queue.into_iter().map(|(_, name)| name).collect() });
    }

    /// What has to be written into the status of Adjustments: entries of this node that say something else than what is so.
    #[must_use]
    pub fn status_writes(&self) -> Vec<StatusWrite> {
        let (Some(all), Some(scoped)) = (&self.adjustments, self.in_scope()) else { return Vec::new() };
        let run = match &self.daemon_mode {
            DaemonMode::Off => None,
            DaemonMode::Serve { .. } if self.running && self.probe.is_none() => self.memory.run.as_ref(),
            _ => return Vec::new(),
        };
        let mut writes = Vec::new();
        for (name, adjustment) in all {
            let entry = match (run, scoped.get(name)) {
                (None, _) | (_, None) => None,
                (Some(run), Some(wanted)) => {
                    let fault = run.faults.get(name).filter(|fault| fault.spec == wanted.hash);
                    let in_effect = run.adjustments.as_ref().and_then(|set| set.get(name)) == Some(&wanted.hash);
                    match fault {
                        Some(fault) => Some(fault.errors.clone()),
                        None if in_effect => Some(BTreeMap::new()),
                        None => continue,
                    }
                }
            };
            if adjustment.status != entry && self.written.get(name) != Some(&entry) {
                writes.push(StatusWrite::new(name, &self.node, adjustment.status.as_ref(), entry));
            }
        }
        writes
    }

    /// A write that was carried out: it is not repeated before the watch shows it.
    pub fn wrote(&mut self, write: &StatusWrite) {
        self.written.insert(write.name.clone(), write.entry.clone());
    }
}

fn hash_of_all(all: &BTreeMap<String, Wanted>) -> String {
    adjustments::hash_of_set(&all.iter().map(|(name, wanted)| (name.clone(), wanted.hash.clone())).collect())
}
