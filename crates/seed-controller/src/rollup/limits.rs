//! How much is said of a shoot's nodes in the seed, all of it: a status of some KiB, whatever the nodes report.

/// Nodes that are not as desired, one by one.
pub(super) const NAMED: usize = 20;
/// The same in the health condition, which is a sentence.
pub(super) const NAMED_IN_CONDITION: usize = 5;
/// Nodes that wait for a slot, by name.
pub(super) const NAMED_WAITING: usize = 10;
/// Different versions, and different configurations. There are two of each while one follows the other.
pub(super) const DISTINCT: usize = 5;
/// Longest reason of one node, characters.
pub(super) const REASON: usize = 160;
/// Longest version and configuration, bytes; longer ones are none of ours.
pub(super) const WORD: usize = 40;
/// Longest name of a node, bytes (RFC 1123, as Kubernetes has it).
pub(super) const NAME: usize = 253;
