//! What checks may cost, all of it. Whoever owns a shoot runs the server that answers.

use std::time::Duration;

/// Checks in progress at the same time; each has at most a page and the nodes' names in memory. More removals wait for their turn.
pub(super) const AT_A_TIME: usize = 16;
/// Longest check.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// Objects asked for at a time.
pub(super) const PAGE: u32 = 50;
/// The same of metadata alone.
pub(super) const METADATA_PAGE: u32 = 250;
/// Clients of shoots that are kept for the next roll-up. Each has some 100 KiB, and a connection for a minute and a half after its use: they are
/// for the shoots that are checked every half a minute.
pub(super) const CLIENTS: usize = 100;
/// Longest answer, in MiB. A server may take no notice of [`PAGE`].
pub(super) const PAGE_MIB: usize = 4;
/// All answers of a check together, in MiB.
pub(super) const CHECK_MIB: usize = 64;
/// Most objects of one kind: nodes, the agents' pods, their Leases.
pub(super) const OBJECTS: usize = 5_000;
/// Longest answer of a refusal that is read, in bytes.
pub(super) const REFUSAL: usize = 16 << 10;
/// Longest report of an agent, in bytes; a longer one is no report. Agents write some hundred.
pub(super) const REPORT: usize = 4 << 10;
/// Longest name of a node that there can be, in bytes (RFC 1123, as Kubernetes has it).
pub(super) const NAME: usize = 253;
/// Longest token for the next page that is sent back, in bytes; Kubernetes' are a few hundred.
pub(super) const TOKEN: usize = 4 << 10;
/// What is known of a removal that nobody asks about any more is forgotten after this time, and a client that nobody uses.
pub(super) const ABANDONED: Duration = Duration::from_secs(15 * 60);
