//! From an Extension and its Shoot to the configuration that takes effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use extension_config::{Effective, Facts, Problems, WorkerFacts, names, resolve};
use gardener_api::{Extension, Shoot};
use serde_json::{Value, json};

/// The operator's base configuration: data of a ConfigMap, `None` when there is none.
type Data = Option<BTreeMap<String, String>>;

/// The base configuration as last seen, and the last one without faults.
#[derive(Debug, Default)]
pub(crate) struct BaseConfig(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    current: Data,
    last_good: Data,
}

/// What a change of the base configuration means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether it differs from what was known.
    pub(crate) changed: bool,
    /// Its faults.
    pub(crate) problems: Option<Problems>,
}

/// A configuration, and what is wrong with the operator's part of it although it works.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) effective: Effective,
    /// The base configuration is faulty; the last good one was taken.
    pub(crate) base_problems: Option<Problems>,
}

impl BaseConfig {
    /// Takes note of the ConfigMap's data.
    pub(crate) fn update(&self, data: Data) -> Change {
        let problems = resolve(data.as_ref(), None, &Facts::default()).err();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = state.current != data;
        if problems.is_none() {
            state.last_good.clone_from(&data);
        }
        state.current = data;
        Change { changed, problems }
    }

    /// The configuration for one shoot. A fault in the base configuration that concerns it makes us take the last good one; the
    /// error is the owner's fault only when it says so.
    pub(crate) fn resolve(&self, provider_config: Option<&Value>, facts: &Facts) -> Result<Resolved, Problems> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let problems = match resolve(state.current.as_ref(), provider_config, facts) {
            Ok(effective) => return Ok(Resolved { effective, base_problems: None }),
            Err(problems) if problems.blames_the_shoot() => return Err(problems),
            Err(problems) => problems,
        };
        let Some(last_good) = &state.last_good else { return Err(problems) };
        let effective = resolve(Some(last_good), provider_config, facts)?;
        Ok(Resolved { effective, base_problems: Some(problems) })
    }
}

/// The owner's configuration. The Extension's copy counts: gardenlet writes it when the change is due, while the Shoot in the
/// Cluster may already show what is to come in the next maintenance window.
pub(crate) fn provider_config<'a>(extension: &'a Extension, shoot: Option<&'a Shoot>) -> Option<&'a Value> {
    let copy = extension.spec.provider_config.as_ref();
    copy.or_else(|| shoot?.extension(names::EXTENSION_TYPE)?.provider_config.as_ref())
}

/// What the Shoot tells about its nodes.
pub(crate) fn facts(shoot: Option<&Shoot>) -> Facts {
    let Some(shoot) = shoot else { return Facts::default() };
    let workers = shoot.spec.provider.workers.iter().map(|worker| {
        let own = worker.kubernetes.as_ref().and_then(|kubernetes| kubernetes.version.as_deref());
        WorkerFacts {
            name: worker.name.clone(),
            cri: worker.cri.as_ref().map(|cri| cri.name.clone()).filter(|name| !name.is_empty()),
            kubernetes: minor(own.unwrap_or(&shoot.spec.kubernetes.version)),
        }
    });
    Facts { workers: workers.collect() }
}

fn minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What the owner can see of the result: which source won for each key, and warnings. No text of a configuration.
pub(crate) fn provider_status(effective: &Effective) -> Value {
    let warnings: Vec<String> = effective.warnings.iter().map(ToString::to_string).collect();
    json!({
        "apiVersion": extension_config::provider_config::API_VERSION,
        "kind": "CriResourceManagerStatus",
        "configs": effective.origins,
        "warnings": warnings,
    })
}

#[cfg(test)]
mod tests;
