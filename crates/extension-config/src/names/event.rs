//! Reasons of the Events on a Node. People filter and alert by them, so none may change.

/// The node was put back after a failure.
pub const ROLLED_BACK: &str = "CriResmgrRolledBack";
/// Something keeps the node from becoming as desired.
pub const BLOCKED: &str = "CriResmgrBlocked";
/// kubelet runs through the daemon.
pub const INSTALLED: &str = "CriResmgrInstalled";
/// Nothing of ours is left.
pub const REMOVED: &str = "CriResmgrRemoved";
/// After too many roll-backs no further node switches.
pub const SWITCHES_STOPPED: &str = "CriResmgrSwitchesStopped";
/// The record of switch slots is none of ours.
pub const SWITCHES_UNREADABLE: &str = "CriResmgrSwitchesUnreadable";
/// A slot of somebody who is no Node does not count.
pub const SLOT_IGNORED: &str = "CriResmgrSlotIgnored";
/// A dynamic configuration is wrong and is not handed to the daemon.
pub const CONFIG_INVALID: &str = "CriResmgrConfigInvalid";
/// The daemon refused a dynamic configuration, or did not start with it.
pub const CONFIG_REFUSED: &str = "CriResmgrConfigRefused";
/// A dynamic configuration would need one restart of the daemon after the other.
pub const CONFIG_UNSETTLED: &str = "CriResmgrConfigUnsettled";
/// Nothing can be handed to the daemon.
pub const CONFIG_UNDELIVERED: &str = "CriResmgrConfigUndelivered";
/// A configuration is in effect, but its owner should know something about it.
pub const CONFIG_WARNING: &str = "CriResmgrConfigWarning";
