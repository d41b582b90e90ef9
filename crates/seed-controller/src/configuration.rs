//! From an Extension and its Shoot to the configuration that takes effect.

pub(crate) mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use extension_config::{Effective, Facts, Halt, Problems, names};
use gardener_api::{Extension, LastOperationState, RawJson, Shoot};
use policy_convert::resolve;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use status::IN_EFFECT;

/// The operator's base configuration: data of a ConfigMap, `None` when there is none.
pub(crate) type Data = Option<BTreeMap<String, String>>;

/// Configurations that are checked at the same time, each on a thread of its own.
const CHECKS: usize = 2;
/// Longest wait for a check, those before it included. It takes some milliseconds; the thread itself ends by its bound on steps.
const DEADLINE: Duration = Duration::from_secs(10);

/// The base configuration as last seen, and the last one without faults; and where configurations are checked.
#[derive(Debug)]
pub(crate) struct BaseConfig {
    state: Mutex<State>,
    checks: Arc<Semaphore>,
    deadline: Duration,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// No node of any shoot is to begin to switch.
    halt: Option<Halt>,
    current: Arc<Data>,
    last_good: Arc<Data>,
}

impl Default for BaseConfig {
    fn default() -> Self {
        Self { state: Mutex::default(), checks: Arc::new(Semaphore::new(CHECKS)), deadline: DEADLINE }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error(transparent)]
    Faulty(#[from] Problems),
    #[error("the configuration could not be checked in time")]
    Late,
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
    /// Takes note of the operator's stop of all switches, or of its end. Returns whether it changed.
    pub(crate) fn set_halt(&self, halt: Option<Halt>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = state.halt != halt;
        state.halt = halt;
        changed
    }

    /// The stop of all switches that holds for a shoot: the operator's for all of them, or else its Extension's or its own.
    pub(crate) fn halt(&self, owner: &Owner) -> Option<Halt> {
        let of_all = self.state.lock().unwrap_or_else(PoisonError::into_inner).halt.clone();
        let of_extension = || owner.extension.metadata.annotations.as_ref().and_then(Halt::of);
        let of_shoot = || owner.shoot.as_ref().and_then(|shoot| Halt::of(&shoot.metadata.annotations));
        of_all.or_else(of_extension).or_else(of_shoot)
    }

    /// Takes note of the ConfigMap's data.
    pub(crate) async fn update(&self, data: Data) -> Change {
        let data = Arc::new(data);
        let checked = Arc::clone(&data);
        // Late or not, the data is taken: what is wrong with it is then found for each shoot.
        let check = move || resolve(checked.as_ref().as_ref(), None, &Facts::default()).err();
        let problems = self.off_the_loop(check).await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = state.current != data;
        if matches!(problems, Ok(None)) {
            state.last_good = Arc::clone(&data);
        }
        state.current = data;
        Change { changed, problems: problems.ok().flatten() }
    }

    /// The configuration for one shoot. A fault in the base configuration that concerns it makes us take the last good one; the
    /// error is the owner's fault only when it says so.
    pub(crate) async fn resolve(&self, own: Option<Value>, facts: Facts) -> Result<Resolved, Unresolved> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(self.off_the_loop(move || state.resolve(own.as_ref(), &facts)).await??)
    }

    /// What was seen last.
    #[cfg(test)]
    pub(crate) fn current(&self) -> Data {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).current.as_ref().clone()
    }

    /// Runs it on a thread, as soon as one of few is free. A thread cannot be cancelled: it keeps its place until it ends.
    async fn off_the_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unresolved> {
        let checks = Arc::clone(&self.checks);
        let done = async {
            let place = checks.acquire_owned().await.ok()?;
            let thread = tokio::task::spawn_blocking(move || {
                let done = work();
                drop(place);
                done
            });
            thread.await.ok()
        };
        tokio::time::timeout(self.deadline, done).await.ok().flatten().ok_or(Unresolved::Late)
    }
}

impl State {
    fn resolve(&self, provider_config: Option<&Value>, facts: &Facts) -> Result<Resolved, Problems> {
        let problems = match resolve(self.current.as_ref().as_ref(), provider_config, facts) {
            Ok(effective) => return Ok(Resolved { effective, base_problems: None }),
            Err(problems) if problems.blames_the_shoot() => return Err(problems),
            Err(problems) => problems,
        };
        let Some(last_good) = self.last_good.as_ref() else { return Err(problems) };
        let effective = resolve(Some(last_good), provider_config, facts)?;
        Ok(Resolved { effective, base_problems: Some(problems) })
    }
}

/// Where the owner's configuration stands.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) extension: Arc<Extension>,
    pub(crate) shoot: Option<Arc<Shoot>>,
}

impl Owner {
    pub(crate) fn provider_config(&self) -> Option<&RawJson> {
        provider_config(&self.extension, self.shoot.as_deref())
    }

    /// Names the configuration without showing it.
    pub(crate) fn hash(&self) -> String {
        hash(self.provider_config())
    }

    /// Whether exactly this configuration is in effect, although it would not be accepted now: by an earlier version, which had fewer
    /// limits. It stands in the providerStatus; a version that did not write it there has at least said that it was done with it.
    pub(crate) fn is_in_effect(&self) -> bool {
        let Some(status) = &self.extension.status else { return false };
        let reported = status::of(&self.extension);
        if let Some(reported) = reported.as_ref().and_then(|reported| reported.get(IN_EFFECT)?.as_str()) {
            return reported == self.hash();
        }
        let done = self.extension.last_operation().is_some_and(|last| last.state == LastOperationState::Succeeded);
        // A generation counts changes of the Extension, not of the Shoot.
        let same =
            status.observed_generation.is_some() && status.observed_generation == self.extension.metadata.generation;
        done && same && status.provider_status.is_some() && self.extension.spec.provider_config.is_some()
    }
}

/// Of the text: it may be one that is not read. The API server writes equal values alike.
fn hash(provider_config: Option<&RawJson>) -> String {
    let text = provider_config.map_or("null", RawJson::get);
    hex::encode(Sha256::digest(text.as_bytes()))[..16].to_owned()
}

/// The owner's configuration, as text. The Extension's copy counts: gardenlet writes it when the change is due, while the Shoot in the
/// Cluster may already show what is to come in the next maintenance window.
pub(crate) fn provider_config<'a>(extension: &'a Extension, shoot: Option<&'a Shoot>) -> Option<&'a RawJson> {
    let copy = extension.spec.provider_config.as_ref();
    copy.or_else(|| shoot?.extension(names::EXTENSION_TYPE)?.provider_config.as_ref())
}

#[cfg(test)]
mod tests;
