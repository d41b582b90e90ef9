//! What the record of slots means to somebody who asks. Pure: clocks are parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{SlotResponse, SlotsConfig};

#[cfg(test)]
mod tests;

/// A holder that asks again within this part of a slot's duration needs no write.
const RENEW_AFTER: u32 = 4;
/// So many failures are remembered; more than any limit, less than what an annotation may hold.
const REMEMBERED: usize = 16;
/// So many hold slots at most: a tenth of the 5000 nodes that Kubernetes supports.
const HOLDER_LIMIT: usize = 500;
/// Longest name that is read, bytes: that of a Node.
const NAME_LIMIT: usize = 253;
/// Longest change that is read, bytes.
const CHANGE_LIMIT: usize = 64;
/// Longest record that is read, bytes: more than ours can get, less than all annotations of an object may have together (256 KiB).
const RECORD_LIMIT: usize = 192 * 1024;

/// The record. Its order is that of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    pub(super) holders: Vec<Holder>,
    pub(super) failures: Vec<Failure>,
}

/// Why a record is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Too long to be parsed.
    #[error("{0} bytes, at most {RECORD_LIMIT} are read")]
    TooLong(usize),
    /// No record's JSON.
    #[error("no record: line {line}, column {column}")]
    NoRecord {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// More entries than are ever written.
    #[error("{holders} holders and {failures} failures, at most {HOLDER_LIMIT} and {REMEMBERED} are read")]
    TooMany {
        /// Entries of those at work.
        holders: usize,
        /// Entries of failures.
        failures: usize,
    },
    /// A name or change longer than any.
    #[error("a name or change of {0} bytes, at most {NAME_LIMIT} and {CHANGE_LIMIT} are read")]
    LongName(usize),
}

impl Record {
    /// Reads what somebody may have forged: within limits, and each name holds one slot.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        if text.len() > RECORD_LIMIT {
            return Err(Unreadable::TooLong(text.len()));
        }
        // Not the error itself, which may repeat the text.
        let mut record: Self = serde_json::from_str(text)
            .map_err(|error| Unreadable::NoRecord { line: error.line(), column: error.column() })?;
        let (holders, failures) = (record.holders.len(), record.failures.len());
        if holders > HOLDER_LIMIT || failures > REMEMBERED {
            return Err(Unreadable::TooMany { holders, failures });
        }
        let names = record.holders.iter().map(|one| &one.name).chain(record.failures.iter().map(|one| &one.name));
        let changes = record.failures.iter().map(|one| &one.change);
        let too_long = names
            .filter(|name| name.len() > NAME_LIMIT)
            .chain(changes.filter(|change| change.len() > CHANGE_LIMIT))
            .next();
        if let Some(name) = too_long {
            return Err(Unreadable::LongName(name.len()));
        }
        let mut seen = BTreeSet::new();
        record.holders.retain(|holder| seen.insert(holder.name.clone()));
        Ok(record)
    }
}

/// Somebody who is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) name: String,
    /// By the holder's own clock; others only see that it changes.
    pub(super) renewed: Timestamp,
}

/// Somebody's work failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) name: String,
    /// Seconds since 1970 by its own clock: distinguishes two failures of one node.
    pub(super) at: u64,
    /// What it failed with.
    pub(super) change: String,
}

/// A request for a slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotRequest<'a> {
    /// Name of the node that asks.
    pub name: &'a str,
    /// What is to be done; failures count against the same change only.
    pub change: &'a str,
    /// A failure of this node with this change that may not be recorded yet: seconds since 1970. Reported twice it counts once.
    pub failed_at: Option<u64>,
    /// How many may be at work at the same time.
    pub slots: usize,
    /// Whether it may begin to work. Who holds a slot goes on in any case.
    pub may_begin: bool,
    /// Holders that are known to be no Nodes of the shoot: what they hold does not count.
    pub non_members: &'a BTreeSet<String>,
}

/// The decision about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotDecision {
    /// The slot is held.
    Held,
    /// Others hold all slots.
    Full,
    /// Too many failures with this change.
    Stopped,
    /// It was given back, or never held.
    Free,
}

/// Remembers since when each holder's entry looks as it does.
#[derive(Debug, Default)]
pub(super) struct Observer {
    seen: BTreeMap<String, (Timestamp, Instant)>,
}

impl Observer {
    /// The record with all that is due: the failure recorded, silent holders removed, and the slot taken if that may be. `now` is the own monotonic
    /// clock after the record was read; `wall` goes into the record.
    pub(super) fn take(
        &mut self,
        record: &Record,
        request: &SlotRequest<'_>,
        config: &SlotsConfig,
        now: Instant,
        wall: Timestamp,
    ) -> (Record, SlotResponse) {
        self.observe(record, now);
        let (mut next, stopped_now) = with_failure(record, request, config);
        let silent = |holder: &Holder| {
            self.seen.get(&holder.name).is_some_and(|(_, since)| now.duration_since(*since) >= config.duration)
        };
        let counts = |holder: &Holder| !silent(holder) && !request.non_members.contains(&holder.name);
        next.holders.retain(|holder| holder.name == request.name || counts(holder));
        let own = next.holders.iter().position(|holder| holder.name == request.name);
        let decision = if failures(&next, request.change) >= config.failure_limit {
            next.holders.retain(|holder| holder.name != request.name);
            SlotDecision::Stopped
        } else if let Some(own) = own {
            let holder = &mut next.holders[own];
            if !is_fresh(holder.renewed, wall, config.duration / RENEW_AFTER) {
                holder.renewed = wall;
            }
            SlotDecision::Held
        } else if !request.may_begin {
            SlotDecision::Free
        } else if next.holders.len() < request.slots.clamp(1, HOLDER_LIMIT) {
            next.holders.push(Holder { name: request.name.to_owned(), renewed: wall });
            SlotDecision::Held
        } else {
            SlotDecision::Full
        };
        let others =
            next.holders.iter().map(|holder| holder.name.clone()).filter(|name| name != request.name).collect();
        (next, SlotResponse { decision, stopped_now, others, unreadable: None })
    }

    fn observe(&mut self, record: &Record, now: Instant) {
        self.seen.retain(|name, _| record.holders.iter().any(|holder| holder.name == *name));
        for holder in &record.holders {
            let seen = self.seen.entry(holder.name.clone()).or_insert((holder.renewed, now));
            if seen.0 != holder.renewed {
                *seen = (holder.renewed, now);
            }
        }
    }
}

/// The record without the slot of the node that asks, and with its failure.
pub(super) fn give_back(record: &Record, request: &SlotRequest<'_>, config: &SlotsConfig) -> (Record, SlotResponse) {
    let (mut next, stopped_now) = with_failure(record, request, config);
    next.holders.retain(|holder| holder.name != request.name);
    (next, SlotResponse { decision: SlotDecision::Free, stopped_now, others: Vec::new(), unreadable: None })
}

/// The record with the failure, which counts once; whether it is the one that reaches the limit.
fn with_failure(record: &Record, request: &SlotRequest<'_>, config: &SlotsConfig) -> (Record, bool) {
    let mut next = record.clone();
    let Some(at) = request.failed_at else { return (next, false) };
    let before = failures(&next, request.change);
    // Past the limit more of them change nothing, and a large crowd would only make the record grow.
    if before >= config.failure_limit
        || next.failures.iter().any(|failure| failure.name == request.name && failure.at == at)
    {
        return (next, false);
    }
    next.failures.push(Failure { name: request.name.to_owned(), at, change: request.change.to_owned() });
    let surplus = next.failures.len().saturating_sub(REMEMBERED);
    next.failures.drain(..surplus);
    (next, before + 1 == config.failure_limit)
}

fn failures(record: &Record, change: &str) -> usize {
    record.failures.iter().filter(|failure| failure.change == change).count()
}

/// Both times are of the same clock; one that was set back makes the entry stale, which costs a write.
fn is_fresh(renewed: Timestamp, wall: Timestamp, limit: Duration) -> bool {
    Duration::try_from(wall.duration_since(renewed)).is_ok_and(|age| age < limit)
}
