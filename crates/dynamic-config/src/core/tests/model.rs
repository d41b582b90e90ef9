//! A node for tests: the core, a daemon with the quirks of the real one, and what the API server would show.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::cri_resmgr;
use serde_json::{Value, json};

use crate::adjustments::{Adjustment, Errors};
use crate::core::{Answer, Core, DaemonMode, Push};
use crate::memory::Memory;
use crate::selection::Data;

pub(super) const FALLBACK: &str = "policy: {Active: none}\n";

pub(super) fn serve() -> DaemonMode {
    DaemonMode::Serve { fallback: FALLBACK.to_owned() }
}

/// A ConfigMap with this document, valid or not.
pub(super) fn config(name: &str, text: &str) -> (String, Data) {
    let document: Value = match cri_resmgr::check(text) {
        Ok(good) => return (name.to_owned(), good.by_module()),
        Err(_) => json!({ "policy": text.trim_start_matches("policy: ") }),
    };
    let data = document.as_object().unwrap().iter().map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()));
    (name.to_owned(), data.collect())
}

pub(super) fn adjustment(name: &str, spec: Value) -> (String, Adjustment) {
    (name.to_owned(), Adjustment { spec, status: None, created: format!("2026-01-01T00:00:0{}Z", name.len()) })
}

/// The daemon.
#[derive(Debug, Default)]
pub(super) struct Daemon {
    /// Survives restarts.
    pub(super) cached: Option<Data>,
    pub(super) running_policy: String,
    /// What was pushed, with the name that the core gave it.
    pub(super) pushed: Vec<(String, Data)>,
    pub(super) adjusted: Vec<BTreeMap<String, Value>>,
    accepted: Option<String>,
    effective: Option<BTreeMap<String, Value>>,
    /// It refuses every configuration.
    pub(super) refuses: bool,
    /// It says that it accepts a configuration and cannot keep it.
    pub(super) cannot_cache: bool,
    /// Adjustments that it refuses by name.
    pub(super) bad: BTreeSet<String>,
    /// Two that hit one container.
    pub(super) conflict: Option<[String; 2]>,
}

impl Daemon {
    pub(super) fn config_name(&self) -> Option<&str> {
        self.accepted.as_deref()
    }

    pub(super) fn in_effect(&self) -> Vec<&str> {
        self.effective.iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    fn start(&mut self) {
        let text = self.cached.clone().unwrap_or_else(|| config("", FALLBACK).1);
        self.running_policy = cri_resmgr::check_modules(&text).unwrap().active;
        self.effective = None;
    }

    fn take(&mut self, push: &Push) -> Answer {
        let refused = |errors: &[(&str, &str)]| {
            Answer::Refused(errors.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
        };
        match push {
            Push::Config { source, data } => {
                assert!(data.values().any(|text| !text.trim().is_empty()), "an empty push");
                self.pushed.push((source.name.clone(), data.clone()));
                if self.refuses {
                    return refused(&[]);
                }
                if !self.cannot_cache {
                    self.cached = Some(data.clone());
                }
                self.accepted = Some(source.name.clone());
                Answer::Accepted
            }
            Push::Adjustments { set } => {
                self.adjusted.push(set.clone());
                let bad: Vec<(&str, &str)> =
                    set.keys().filter(|name| self.bad.contains(*name)).map(|name| (name.as_str(), "bad")).collect();
                if !bad.is_empty() {
                    return refused(&bad);
                }
                if self.conflict.as_ref().is_some_and(|two| two.iter().all(|name| set.contains_key(name))) {
                    return refused(&[("container-1", "two")]);
                }
                self.effective = Some(set.clone());
                Answer::Accepted
            }
        }
    }
}

/// The node.
pub(super) struct Node {
    pub(super) core: Core,
    pub(super) daemon: Daemon,
    pub(super) writes: usize,
    name: String,
    run: String,
    statuses: BTreeMap<String, Option<Errors>>,
    specs: BTreeMap<String, Value>,
}

impl Node {
    pub(super) fn new(name: &str) -> Self {
        Self {
            core: Core::new(name, Memory::default()),
            daemon: Daemon::default(),
            writes: 0,
            name: name.to_owned(),
            run: String::new(),
            statuses: BTreeMap::new(),
            specs: BTreeMap::new(),
        }
    }

    /// The daemon starts; also anew.
    pub(super) fn start(&mut self, run: &str) {
        self.daemon.start();
        self.run = run.to_owned();
        let cached = self.daemon.cached.clone();
        self.core.set_run(Some(run), || cached);
    }

    /// The daemon starts and dies before it answers anything.
    pub(super) fn crash(&mut self, run: &str) {
        let cached = self.daemon.cached.clone();
        self.core.set_run(Some(run), || cached);
        self.core.set_run(None, || None);
    }

    /// Everything of the daemon is deleted.
    pub(super) fn reset(&mut self) {
        self.daemon.cached = None;
    }

    /// A new agent finds the run that is up.
    pub(super) fn next_agent(&mut self) {
        let text = serde_json::to_string(self.core.memory()).unwrap();
        self.core = Core::new(self.name.clone(), serde_json::from_str(&text).unwrap());
        let cached = self.daemon.cached.clone();
        self.core.set_run(Some(&self.run), || cached);
    }

    /// Pushes until nothing is left.
    pub(super) fn run_until_idle(&mut self) {
        for _ in 0..1000 {
            let Some(push) = self.core.next_push() else { return };
            let answer = self.daemon.take(&push);
            self.core.answered(&push, &answer);
        }
        panic!("it does not settle");
    }

    /// Carries out the writes, and shows the outcome as the watch does.
    pub(super) fn write_statuses(&mut self) {
        for write in self.core.status_writes() {
            self.writes += 1;
            self.statuses.insert(write.name.clone(), write.entry.clone());
            self.core.wrote(&write);
            if let Some(spec) = self.spec(&write.name) {
                let live = self.live(&write.name, &spec);
                self.core.set_adjustment(&write.name, Some(live));
            }
        }
        assert_eq!(self.core.status_writes(), [], "a write is repeated");
    }

    fn spec(&self, name: &str) -> Option<Value> {
        self.specs.get(name).cloned().or_else(|| Some(self.core.adjustments.as_ref()?.get(name)?.spec.clone()))
    }

    /// Another specification of an Adjustment, with the status that it has.
    pub(super) fn respec(&mut self, name: &str, spec: Value) {
        let live = self.live(name, &spec);
        self.specs.insert(name.to_owned(), spec);
        self.core.set_adjustment(name, Some(live));
    }

    pub(super) fn live(&self, name: &str, spec: &Value) -> Adjustment {
        let status = self.statuses.get(name).cloned().flatten();
        Adjustment { status, ..adjustment(name, spec.clone()).1 }
    }

    /// Keys of the errors in the entry of this node.
    pub(super) fn errors(&self, name: &str) -> Option<Vec<String>> {
        self.statuses.get(name).cloned().flatten().map(|errors| errors.into_keys().collect())
    }
}
