//! Settings of the engine.

use std::num::NonZeroUsize;
use std::time::Duration;

use gardener_api::Extension;
use gardener_api::constants::{FINALIZER_PREFIX, class};

/// What to watch and how to behave.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// Name of the controller: reporter of Events, field manager.
    pub name: String,
    /// `spec.type` of the Extensions to serve.
    pub extension_type: String,
    /// Name of the Extensions to serve, so that the API server gives no others; `None`: of any name. gardenlet names an Extension by its
    /// type. Whether one is served is decided by type and class all the same.
    pub extension_name: Option<String>,
    /// `spec.class` to serve; an absent class counts as `shoot`.
    pub classes: Vec<String>,
    /// The finalizer, whole.
    pub finalizer: String,
    /// Names of the ManagedResources that this extension makes in the namespaces of its Extensions. Any change of one leads to
    /// a call of the actuator when something is pending.
    pub managed_resources: Vec<String>,
    /// Extensions worked on at the same time.
    pub max_concurrent_reconciles: NonZeroUsize,
    /// How often a healthy Extension is reconciled without a request.
    pub resync: Duration,
    /// Longest time of one actuator call.
    pub operation_deadline: Duration,
    /// Time after which what is still pending is reported as an error too. Work goes on. One minute: gardenlet waits three
    /// for a deletion and shows the last error.
    pub overdue_after: Duration,
    /// Longest providerConfig that is read, in bytes of JSON. A longer one is its owner's mistake.
    pub provider_config_limit: usize,
    /// React to changes of the spec instead of to the operation annotation.
    pub ignore_operation_annotation: bool,
    /// Health of what the extension runs.
    pub health: HealthConfig,
    /// Looks at what is behind an Extension, where there is an observer.
    pub observation: ObservationConfig,
}

/// Settings of the observation of what is behind Extensions.
#[derive(Clone, Debug)]
pub struct ObservationConfig {
    /// Key of the providerStatus that is theirs. No actuator writes it, and nobody but they.
    pub key: String,
    /// Looks at a time, each at another Extension.
    pub at_a_time: NonZeroUsize,
    /// Until the next one while something is awaited, and after that. All times are cut by up to a fifth at random.
    pub progressing_interval: Duration,
    /// See `progressing_interval`. Longest wait after failures, too.
    pub steady_interval: Duration,
    /// Within this time those that a new process finds are observed for the first time.
    pub first: Duration,
    /// Shortest time from one observation to the next when the ManagedResources ask for it.
    pub spacing: Duration,
    /// How long observations fail before the status says that nothing is known any more.
    pub grace: Duration,
    /// The same where nothing was ever known: a shoot in the making.
    pub first_grace: Duration,
}

/// Settings of the health condition.
#[derive(Clone, Debug)]
pub struct HealthConfig {
    /// Type of the condition on the Extension.
    pub condition_type: String,
    /// ManagedResources that it is about; a subset of [`ControllerConfig::managed_resources`]. None = no health condition.
    pub managed_resources: Vec<String>,
    /// How often to check without an event.
    pub resync: Duration,
    /// `lastUpdateTime` is renewed when it is older, though nothing changed: gardenlet up to v1.57 takes a condition for stale
    /// after five minutes. `None` for newer ones, which read the heartbeat Lease.
    pub refresh_after: Option<Duration>,
    /// How long a roll-out may take before the condition turns from Progressing to False.
    pub progressing_threshold: Duration,
}

impl ControllerConfig {
    /// The usual settings for one extension type.
    #[must_use]
    pub fn new(name: impl Into<String>, extension_type: impl Into<String>) -> Self {
        let extension_type = extension_type.into();
        Self {
            name: name.into(),
            finalizer: format!("{FINALIZER_PREFIX}{extension_type}"),
            extension_name: Some(extension_type.clone()),
            extension_type,
            classes: vec![class::SHOOT.to_owned()],
            managed_resources: Vec::new(),
            max_concurrent_reconciles: const { NonZeroUsize::new(5).unwrap() },
            resync: Duration::from_secs(60 * 60),
            operation_deadline: Duration::from_secs(3 * 60),
            overdue_after: Duration::from_secs(60),
            provider_config_limit: 256 * 1024,
            ignore_operation_annotation: false,
            health: HealthConfig::default(),
            observation: ObservationConfig::default(),
        }
    }
}

impl ControllerConfig {
    /// Whether an Extension is ours to serve.
    pub(crate) fn serves(&self, extension: &Extension) -> bool {
        extension.spec.type_ == self.extension_type && self.classes.iter().any(|class| class == extension.class())
    }
}

impl Default for ObservationConfig {
    fn default() -> Self {
        Self {
            key: "nodes".to_owned(),
            at_a_time: const { NonZeroUsize::new(8).unwrap() },
            progressing_interval: Duration::from_secs(30),
            steady_interval: Duration::from_secs(10 * 60),
            first: Duration::from_secs(30),
            spacing: Duration::from_secs(10),
            grace: Duration::from_secs(60),
            first_grace: Duration::from_secs(5 * 60),
        }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            condition_type: gardener_api::constants::condition_type::SYSTEM_COMPONENTS_HEALTHY.to_owned(),
            managed_resources: Vec::new(),
            resync: Duration::from_secs(60),
            refresh_after: Some(Duration::from_secs(120)),
            progressing_threshold: Duration::from_secs(5 * 60),
        }
    }
}
