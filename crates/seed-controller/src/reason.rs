//! Fixed words of Events, errors and metrics. People filter and alert by them, so none may change.

/// All nodes are as desired.
pub(crate) const NODES_AS_DESIRED: &str = "NodesAsDesired";
/// Nodes need somebody.
pub(crate) const NODES_NOT_AS_DESIRED: &str = "NodesNotAsDesired";
/// No node begins to switch any more.
pub(crate) const SWITCHES_HALTED: &str = "SwitchesHalted";
/// Nodes may switch again.
pub(crate) const SWITCHES_RESUMED: &str = "SwitchesResumed";
/// A removal does not wait for some nodes any more.
pub(crate) const NODES_NOT_AWAITED: &str = "NodesNotAwaited";
/// What was delivered stays as it is, because the new one was not accepted.
pub(crate) const CONFIGURATION_KEPT: &str = "ConfigurationKept";
/// The configuration took effect, and something about it should be checked.
pub(crate) const CONFIGURATION_WARNING: &str = "ConfigurationWarning";
/// These worker pools get no cri-resmgr.
pub(crate) const WORKER_POOLS_LEFT_ALONE: &str = "WorkerPoolsLeftAlone";
/// The operator's base configuration has faults.
pub(crate) const INVALID_BASE_CONFIG: &str = "InvalidBaseConfig";
/// The owner's configuration has faults.
pub(crate) const INVALID_PROVIDER_CONFIG: &str = "InvalidProviderConfig";
/// There is no image of the node agent for this shoot.
pub(crate) const NO_IMAGE: &str = "NoImage";
/// The check of a configuration took too long.
pub(crate) const CONFIGURATION_NOT_CHECKED: &str = "ConfigurationNotChecked";
/// The shoot's objects could not be rendered.
pub(crate) const RENDERING_FAILED: &str = "RenderingFailed";
