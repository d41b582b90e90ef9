//! What the tests of plans do with a node in memory.

use std::collections::BTreeMap;

use crate::backend::{BackendSpec, ProxySpec};
use crate::blob::Blob;
use crate::desired::{Desired, Installation, Programs};
use crate::entry::Entry;
use crate::plan::{Plan, plan};
use crate::static_config::StaticConfig;
use crate::step::{Action, JournalAction, Restarts, Step};
use crate::testing::KUBELET_CONFIG;
pub(super) use crate::testing::NodeState;

/// Where an execution is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    BeforeEffect,
    AfterEffect,
    AfterStep,
}

pub(super) const CUTS: [Cut; 3] = [Cut::BeforeEffect, Cut::AfterEffect, Cut::AfterStep];

impl NodeState {
    pub(super) fn plan(&self, desired: &Desired) -> Plan {
        plan(&self.observe(), desired)
    }

    /// Files and directories.
    pub(super) fn tree(&self) -> BTreeMap<String, Entry> {
        self.entries.clone()
    }

    /// kubelet's configuration file says this.
    pub(super) fn configure_kubelet(&mut self, text: &str) {
        self.texts.insert(KUBELET_CONFIG.into(), text.into());
    }

    /// Carries out a step up to the cut; false when its proof fails.
    fn step(&mut self, step: &Step, cut: Cut) -> bool {
        self.record(&step.before);
        if cut == Cut::BeforeEffect {
            return true;
        }
        if !self.act(&step.action) {
            return false;
        }
        if cut == Cut::AfterStep && step.action != JournalAction::Forget.into() {
            self.record(&step.after);
        }
        true
    }

    /// Observes, plans and executes until nothing is left or a proof fails; the number of kubelet restarts.
    pub(super) fn converge(&mut self, desired: &Desired) -> Result<u32, Action> {
        let before = self.kubelet.starts;
        for _ in 0..6 {
            let steps = self.plan(desired).steps;
            if steps.is_empty() {
                return Ok(self.kubelet.starts - before);
            }
            for step in &steps {
                if !self.step(step, Cut::AfterStep) {
                    return Err(step.action.clone());
                }
            }
        }
        panic!("does not settle: {:?}", self.plan(desired).steps);
    }

    /// Executes the plan up to the cut of its `count`th step, as far as there are so many.
    pub(super) fn interrupt(&mut self, desired: &Desired, count: usize, cut: Cut) {
        let steps = self.plan(desired).steps;
        for (number, step) in steps.iter().enumerate().take(count + 1) {
            self.step(step, if number == count { cut } else { Cut::AfterStep });
        }
    }
}

/// A file of somebody else.
pub(super) fn unmarked() -> Entry {
    Entry::File { sha256: "x".into(), mode: 0o644, own: true, marked: false }
}

/// A program that somebody put on the host.
pub(super) fn file(content: &str) -> Entry {
    Entry::File { sha256: content.into(), mode: 0o755, own: true, marked: false }
}

/// Programs of an agent's image of this version.
pub(super) fn programs(version: &str) -> Programs {
    let policy = |name: &str| blob(&format!("{name} {version}"));
    Programs {
        daemon: blob(version),
        gate: blob("gate"),
        balloons: policy("balloons"),
        topology_aware: policy("topology-aware"),
    }
}

pub(super) fn blob(name: &str) -> Blob {
    Blob { sha256: name.into(), size: 40 << 20, architecture: "x86_64".into(), needs: None }
}

pub(super) fn installation(policy: &str, version: &str) -> Installation {
    let backend = BackendSpec::Proxy(ProxySpec {
        config: StaticConfig::Fallback(format!("policy:\n  Active: {policy}\n")),
        extra_options: String::new(),
        daemon: blob(version),
        daemon_is_kept: false,
    });
    Installation { backend, gate: blob("gate"), restart_request: None, handover: None }
}

pub(super) fn proxy(installation: &mut Installation) -> &mut ProxySpec {
    let BackendSpec::Proxy(proxy) = &mut installation.backend else { unreachable!() };
    proxy
}

pub(super) fn install(policy: &str, version: &str) -> Desired {
    Desired::Installed(Box::new(installation(policy, version)))
}

pub(super) fn remove() -> Desired {
    Desired::Clean { because: "off".into() }
}

pub(super) fn restarts(plan: &Plan, what: Restarts) -> usize {
    plan.steps.iter().filter(|step| step.action.restarts() == what).count()
}
