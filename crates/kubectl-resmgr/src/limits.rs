//! How much of what others have written is read and shown. Reports, Events and logs come from nodes, where somebody may have become root.

use std::time::Duration;

/// Longest time for one call of the API server.
pub const CALL: Duration = Duration::from_secs(30);
/// Longest time for the agent's answer to `node`.
pub const EXEC: Duration = Duration::from_secs(45);

/// Objects of one page of a list.
pub const PAGE: u32 = 250;
/// Bytes of one page; a page with more is asked for again with fewer objects.
pub const PAGE_BYTES: usize = 32 << 20;
/// Objects of one kind that are checked: several times the 5000 nodes that Kubernetes supports.
pub const OBJECTS: usize = 25_000;
/// Bytes of a node report: its Lease's annotations together can have no more.
pub const REPORT_BYTES: usize = 256 << 10;
/// Bytes of what an agent answers to `node`, and of what it says about a failure.
pub const STATUS_BYTES: u64 = 1 << 20;

/// Characters of the name of an object: Kubernetes allows no more.
pub const OBJECT_NAME: usize = 253;
/// Characters of any other name.
pub const NAME: usize = 63;
/// Characters of a sentence in a table that is not written to a terminal.
pub const SENTENCE: usize = 200;
/// Characters of a sentence in an explanation or in JSON.
pub const PARAGRAPH: usize = 4000;
/// Names that one sentence lists.
pub const NAMES: usize = 10;
/// Reason codes, warnings, holds, steps and files of one node that are shown.
pub const ENTRIES: usize = 50;
/// Containers of one node that are shown.
pub const CONTAINERS: usize = 300;
/// Events that are shown, the last ones.
pub const EVENTS: usize = 500;

/// Shortest time between two pictures of `status --watch`.
pub const REDRAW: Duration = Duration::from_secs(2);
/// Longest time between two of them: ages change although nothing else does.
pub const REFRESH: Duration = Duration::from_secs(60);

/// Pods whose logs are gathered, those of nodes that are not as desired first.
pub const LOGS: usize = 50;
/// Bytes of one log, its last ones.
pub const LOG_BYTES: usize = 256 << 10;
/// Lines of one log that are asked for.
pub const LOG_LINES: i64 = 5000;
/// Lines of a node's own journal that are asked for.
pub const HOST_LOG_LINES: u32 = 1000;
/// Logs that are read at a time.
pub const LOGS_AT_A_TIME: usize = 8;
/// Bytes of one file of an archive.
pub const FILE_BYTES: usize = 8 << 20;
/// Bytes of an archive's files together; what comes after them is left out, and named.
pub const ARCHIVE_BYTES: usize = 96 << 20;
